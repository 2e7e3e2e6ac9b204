"""One file a page, in the folder of the room it shows; each page answers one question on real rows."""
