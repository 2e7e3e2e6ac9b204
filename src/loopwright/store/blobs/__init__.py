"""Blob stores: immutable bytes named by their SHA-256."""

from loopwright.store.blobs.base import BlobStore, open_blob_store

__all__ = ["BlobStore", "open_blob_store"]
