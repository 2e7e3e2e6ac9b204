"""One file a page; each page answers one question on real rows."""
