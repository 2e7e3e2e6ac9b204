"""The log of a gateway: rows in a file before the answer leaves, and chunks that the server knows of later."""
