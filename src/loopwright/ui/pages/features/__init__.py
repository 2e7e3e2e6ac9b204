"""Feature views, services and requests."""
