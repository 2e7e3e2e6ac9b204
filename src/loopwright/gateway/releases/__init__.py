"""Releases at a gateway: learned, fetched, tried, loaded, swapped, and let go of."""
