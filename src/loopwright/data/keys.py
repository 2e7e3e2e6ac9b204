"""Which fragments may hold the keys of new rows: the hashes of every fragment's keys, kept in one file a dataset.

A key names one row whatever its event time, so an append must look through every fragment, not only through those
whose times overlap: a flight that was moved to another day is the same flight. Reading the key columns of a year would
cost more than the import; 8 bytes a row are read at once.

The file is a cache of the worker. Fragments never change, so neither do their hashes; what is missing, cut off or
damaged is read from the fragments.
"""

import struct
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from tempfile import NamedTemporaryFile

import msgspec
import numpy as np
import polars as pl

from loopwright.data import read
from loopwright.data.fingerprints import Hashes, row_hashes
from loopwright.data.types import DatasetVersion, Fragment
from loopwright.store.blobs import BlobStore

_HEAD = struct.Struct("<32sII")
"""Before the hashes of a fragment: its digest, how many they are, and their CRC-32."""
_HASH_BYTES = 8


class KeyIndex:
    """Hashes of the keys of a dataset's fragments.

    Args:
        key: Columns that name a row.
        file: Where the hashes are kept; None keeps nothing.
    """

    def __init__(self, key: Sequence[str], file: Path | None = None) -> None:
        self._key, self._file = list(key), file
        body = file.read_bytes() if file is not None and file.is_file() else b""
        self._hashes = dict(_records(body))
        self._stored = set(self._hashes)
        self._is_whole = len(body) == sum(_HEAD.size + hashes.nbytes for hashes in self._hashes.values())

    def fragments_with(self, keys: Hashes, version: DatasetVersion, blobs: BlobStore) -> list[Fragment]:
        """Return the fragments of a version that hold one of these keys; a hash alike may add one that does not.

        Args:
            keys: uint64 (n,), hashes of the new rows' keys.
            version: With all its fragments.
            blobs: Where they are stored.
        """
        whole = [fragment for fragment in version.fragments if fragment.kind == "rows"]
        if unknown := [fragment for fragment in whole if fragment.digest not in self._hashes]:
            rows = read.scan(msgspec.structs.replace(version, fragments=unknown), blobs, self._key)
            self.remember(unknown, row_hashes(rows.collect()))
        parts = [self._hashes[fragment.digest] for fragment in whole]
        if not parts:
            return []
        hits = pl.Series(np.concatenate(parts)).is_in(pl.Series(keys).implode()).arg_true().to_numpy()
        stops = np.cumsum([len(part) for part in parts])
        return [whole[index] for index in np.unique(np.searchsorted(stops, hits, side="right"))]

    def remember(self, fragments: Sequence[Fragment], keys: Hashes) -> None:
        """Add fragments whose rows, one fragment after the other, have these hashes of keys: uint64 (n,)."""
        start = 0
        for fragment in fragments:
            self._hashes[fragment.digest] = keys[start : start + fragment.rows]
            start += fragment.rows

    def save(self, fragments: Iterable[Fragment]) -> None:
        """Write what is known of these fragments and not written yet; if others are in the file, write it anew."""
        wanted = {fragment.digest for fragment in fragments} & self._hashes.keys()
        if self._file is None or wanted == self._stored:
            return
        self._file.parent.mkdir(parents=True, exist_ok=True)
        if self._is_whole and self._stored <= wanted:
            # An append adds a few kilobytes, whatever the dataset has grown to.
            with self._file.open("ab") as file:
                file.write(self._records_of(wanted - self._stored))
            return
        # What a replacement left behind, or a crash cut off, goes with a whole new file: nobody reads half of one.
        with NamedTemporaryFile(dir=self._file.parent, delete=False) as draft:
            draft.write(self._records_of(wanted))
        Path(draft.name).replace(self._file)

    def _records_of(self, digests: Iterable[str]) -> bytes:
        parts = []
        for digest in digests:
            body = self._hashes[digest].astype("<u8").tobytes()
            parts += [_HEAD.pack(bytes.fromhex(digest), len(body) // _HASH_BYTES, zlib.crc32(body)), body]
        return b"".join(parts)


def _records(body: bytes) -> Iterator[tuple[str, Hashes]]:
    """Yield digests and hashes up to the first record that is cut or damaged."""
    start = 0
    while start + _HEAD.size <= len(body):
        digest, rows, checksum = _HEAD.unpack_from(body, start)
        start += _HEAD.size
        hashes = body[start : start + rows * _HASH_BYTES]
        if zlib.crc32(hashes) != checksum or len(hashes) < rows * _HASH_BYTES:
            return
        yield digest.hex(), np.frombuffer(hashes, "<u8").astype(np.uint64, copy=False)
        start += len(hashes)
