"""Blob stores: immutable bytes named by their SHA-256."""

from loopwright.store.blobs.base import BlobStore, open_blob_store, try_out

__all__ = ["BlobStore", "open_blob_store", "try_out"]
