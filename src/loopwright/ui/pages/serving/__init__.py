"""Deployments and the predictions they answered."""
