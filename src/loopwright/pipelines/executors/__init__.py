"""Executors: where user code runs. For now in warm child processes of the worker."""
