"""Taking rows: labels, predictions made elsewhere, and rows of datasets as they become known."""
