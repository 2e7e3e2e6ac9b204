"""HTTP routes: verbs, blobs, the clock."""
