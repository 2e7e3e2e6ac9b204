"""Answering: from the body of a request to a model's matrix, its answer, and what is logged of it."""
