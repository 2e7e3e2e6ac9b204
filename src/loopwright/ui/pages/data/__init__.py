"""Datasets, their versions and what differs between two."""
