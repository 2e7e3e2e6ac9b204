"""What reads every room: the overview and the search."""
