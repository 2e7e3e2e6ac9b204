"""Checkpoints: how far the event log had come, signed, and kept where who writes the database does not write.

The chain of hashes proves that nothing inside the log was changed; it cannot prove that its end is still there, for a
shorter chain is a chain too. A checkpoint names a position and the hash there, so a log that holds it holds everything
up to it. Each is a small document of its own, written whole and never changed: several servers may write to one place,
a kill leaves nothing torn, and an object store that lets nothing be removed does as well as a folder.

A database that was put back by hand, or from a backup, is older than what was signed meanwhile. Whoever puts it back
says so by a checkpoint of its own, which gives those up by name.
"""

import hmac
import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

import msgspec

from loopwright.kernel.clock import MINUTE_US, format_moment
from loopwright.kernel.documents import digest_bytes, from_json, to_json
from loopwright.kernel.errors import InvalidInput, LoopwrightError, NotFound
from loopwright.store.sealing import LogEnd
from loopwright.store.shelves import Shelf

EVERY_EVENTS, EVERY_US = 1_000, MINUTE_US
"""A checkpoint is due after so many events, or so long after the last one if there were any at all."""
MISSING_EVENTS, MISSING_US = 100, 10 * MINUTE_US
"""More events than these, recorded over more time than this, without a checkpoint: somebody is to look."""
MOST_KEPT = 1024
"""Checkpoints of a place. Beyond that every second one of the older half goes: the others tell as well."""

_ENDS = {"reached": ".json", "put_back": ".put-back.json"}

log = logging.getLogger("loopwright.checkpoints")


class Checkpoint(msgspec.Struct, frozen=True):
    """One signed word about the log.

    Positions have no gap, so ``position`` says how many events there were, too. ``recorded_at`` is wall time,
    microseconds UTC. ``kind`` is ``put_back`` where somebody put an older log in place of a newer: ``given_up`` names
    the checkpoints that it does not hold, ``reason`` says why. ``key_id`` names the key, ``signature`` is its
    HMAC-SHA256 over everything else.
    """

    position: int
    chain: str
    recorded_at: int
    kind: Literal["reached", "put_back"] = "reached"
    reason: str = ""
    given_up: list[str] = []
    key_id: str = ""
    signature: str = ""

    @property
    def name(self) -> str:
        """Its name in its place: by position, and no other word takes it."""
        return f"{self.position:015}-{digest_bytes(self._signed())[:16]}{_ENDS[self.kind]}"

    def _signed(self) -> bytes:
        return to_json(msgspec.structs.replace(self, signature=""))

    def signed_with(self, key: bytes) -> "Checkpoint":
        """Return it, signed."""
        named = msgspec.structs.replace(self, key_id=key_id(key), signature="")
        return msgspec.structs.replace(named, signature=_sign(key, named._signed()))

    def is_signed_with(self, key: bytes) -> bool:
        """Say whether this key made its signature."""
        return hmac.compare_digest(self.signature, _sign(key, self._signed()))


def key_id(key: bytes) -> str:
    """Return the public name of a key."""
    return hmac.digest(key, b"key id", "sha256").hex()[:16]


def _sign(key: bytes, body: bytes) -> str:
    return hmac.digest(key, body, "sha256").hex()


def read_keys(text: str, field: str) -> list[bytes]:
    """Return the keys of a key file, one a line: the first signs, all are known.

    Raises:
        InvalidInput: There is none, or one is short enough to be guessed.
    """
    keys = [line.strip().encode() for line in text.splitlines() if line.strip()]
    if not keys or min(map(len, keys)) < 32:
        rule = "one key a line, each of at least 32 characters; the first signs"
        next_step = "python -c 'import secrets; print(secrets.token_urlsafe(32))' makes one"
        raise InvalidInput("this file holds no keys", field=field, rule=rule, next_step=next_step)
    return keys


class Checkpoints:
    """The checkpoints of one place.

    Args:
        shelf: Where they are.
        keys: The first signs, all are known; none where this process may only read.
        where: Names the place to a person.
    """

    def __init__(self, shelf: Shelf, keys: Sequence[bytes], where: str) -> None:
        self._shelf, self._keys, self.where = shelf, list(keys), where

    @property
    def can_sign(self) -> bool:
        """Whether there is a key to sign with."""
        return bool(self._keys)

    @staticmethod
    def positions(names: Iterable[str]) -> set[int]:
        """Return the positions at which the log's hash is asked for."""
        return {int(name[:15]) for name in names if name[:15].isdecimal()}

    def names(self) -> list[str]:
        """Return the names of all, those of the earliest positions first."""
        return sorted(name for name in self._shelf.names() if name.endswith(".json"))

    def newest(self) -> Checkpoint | None:
        """Return the one of the furthest position that was not given up; None where there is none."""
        names = self.names()
        given_up = self._given_up(names)
        read = (self._read(name) for name in reversed(names) if name not in given_up)
        return next((checkpoint for checkpoint in read if checkpoint is not None), None)

    def _given_up(self, names: Iterable[str]) -> set[str]:
        read = (self._read(name) for name in names if name.endswith(_ENDS["put_back"]))
        return {
            lost
            for checkpoint in read
            if checkpoint is not None and self._holds(checkpoint)
            for lost in checkpoint.given_up
        }

    def reach(self, end: LogEnd, wall_us: int) -> None:
        """Sign that the log has come so far.

        Raises:
            Unavailable: The place cannot be written.
        """
        self._put(Checkpoint(end.position, end.chain, wall_us))

    def not_held_by(self, chains: Mapping[int, str]) -> list[str]:
        """Return the names of those that a log does not hold, by its hashes at their positions.

        What was signed with a key that is not known here is among them: a platform that was set up anew has another.
        """
        return [
            name
            for name in self.names()
            if (checkpoint := self._read(name)) is None
            or not self._holds(checkpoint)
            or chains.get(checkpoint.position) != checkpoint.chain
        ]

    def put_back(self, end: LogEnd, given_up: list[str], wall_us: int, reason: str) -> None:
        """Sign that this log is in the place of another.

        Args:
            end: Of the log that was put back.
            given_up: Names of the checkpoints that it does not hold.
            wall_us: Now.
            reason: Why, in a sentence.

        Raises:
            Unavailable: The place cannot be written.
        """
        self._put(Checkpoint(end.position, end.chain, wall_us, "put_back", reason, given_up))

    def thin(self) -> int:
        """Remove every second of the older half where there are more than ``MOST_KEPT``; return how many.

        Those that put a log back stay, and so does the first.
        """
        names = self.names()
        if len(names) <= MOST_KEPT:
            return 0
        older = names[: MOST_KEPT // 2]
        leaving = [name for name in older[1::2] if not name.endswith(_ENDS["put_back"])]
        for name in leaving:
            self._shelf.delete(name)
        return len(leaving)

    def problems(self, chains: Mapping[int, str], names: Sequence[str], end: LogEnd, first_at: int) -> list[str]:
        """Return what is wrong with the log as the checkpoints know it, and what to do about each.

        Args:
            chains: Hashes of the log by position, at least at the positions of the checkpoints.
            names: The checkpoints as they were before the log was read: it may have grown since.
            end: The newest event of the log.
            first_at: When its oldest event was recorded.
        """
        told = []
        covered = LogEnd(0, "", first_at)
        for name in sorted(set(names) - self._given_up(names)):
            if (checkpoint := self._read(name)) is None:
                continue
            problem = self._problem(name, checkpoint, chains, end)
            if problem is None:
                covered = max(covered, LogEnd(checkpoint.position, checkpoint.chain, checkpoint.recorded_at))
            else:
                told.append(problem)
        return _shortened(told) + self._missing(covered, end)

    def _problem(self, name: str, checkpoint: Checkpoint, chains: Mapping[int, str], end: LogEnd) -> str | None:
        at = f"the checkpoint {name} of {format_moment(checkpoint.recorded_at)}"
        if not any(checkpoint.key_id == key_id(key) for key in self._keys):
            known = ", ".join(map(key_id, self._keys)) or "none"
            return (
                f"{at} is signed with key {checkpoint.key_id}, which is not known here (known: {known}); set "
                "LOOPWRIGHT_SERVICE_TOKEN, or LOOPWRIGHT_CHECKPOINT_KEY with the keys of then beside that of now"
            )
        if not self._holds(checkpoint):
            return f"{at} was changed after it was signed, or is forged; find out who writes to {self.where}"
        if checkpoint.position > end.position:
            gone = checkpoint.position - end.position
            return (
                f"the event log ends at position {end.position}, but {at} was signed at {checkpoint.position}: "
                f"the last {gone} events are gone; {_ADVICE}"
            )
        if chains.get(checkpoint.position) != checkpoint.chain:
            changed = f"event {checkpoint.position} or one before it was replaced"
            return f"the event log is another than at {at}: {changed}; {_ADVICE}"
        return None

    def _missing(self, covered: LogEnd, end: LogEnd) -> list[str]:
        events, us = end.position - covered.position, end.recorded_at - covered.recorded_at
        if events < MISSING_EVENTS or us < MISSING_US:
            return []
        after = f"after position {covered.position}" if covered.position else "at all"
        return [
            f"there is no checkpoint {after} in {self.where}, though the event log has {events} more events, recorded "
            f"over {us // MINUTE_US} minutes; if servers write checkpoints elsewhere, set LOOPWRIGHT_CHECKPOINTS as "
            "there; if they cannot write, their log says why; else somebody removed them: compare with a backup"
        ]

    def _holds(self, checkpoint: Checkpoint) -> bool:
        return any(checkpoint.is_signed_with(key) for key in self._keys)

    def _put(self, checkpoint: Checkpoint) -> None:
        signed = checkpoint.signed_with(self._keys[0])
        self._shelf.put(signed.name, to_json(signed))

    def _read(self, name: str) -> Checkpoint | None:
        """Return a checkpoint; None where it was thinned out meanwhile. One that cannot be read is as one forged."""
        try:
            return from_json(self._shelf.get(name), Checkpoint, name)
        except NotFound:
            return None
        except InvalidInput:
            return Checkpoint(position=0, chain="", recorded_at=0, key_id=key_id(self._keys[0]) if self._keys else "")


_ADVICE = (
    "keep this database for whoever looks into it and restore the newest backup that holds; "
    "if you put an older database in place yourself, say so: loopwright verify --put-back REASON"
)
_MOST_TOLD = 3


def _shortened(told: list[str]) -> list[str]:
    """Return the first and the last, where an attack breaks hundreds of checkpoints at once."""
    if len(told) <= _MOST_TOLD:
        return told
    return [*told[: _MOST_TOLD - 1], f"and {len(told) - _MOST_TOLD} more checkpoints alike", told[-1]]


class Pacemaker:
    """Decides when a checkpoint is due, and writes it.

    Args:
        checkpoints: Their place.
    """

    def __init__(self, checkpoints: Checkpoints) -> None:
        self._checkpoints = checkpoints
        self._last: Checkpoint | None = None
        self._is_looked_up = False
        self._since_thinned = 0

    def keep_pace(self, end: LogEnd | None, wall_us: int, *, is_last: bool = False) -> bool:
        """Write a checkpoint where one is due; say whether it was.

        Args:
            end: The newest event; None in an empty log.
            wall_us: Now.
            is_last: True where the process ends: then every event is to be under one.

        Raises:
            Unavailable: The place cannot be written; the next call tries again.
        """
        if end is None or not self._checkpoints.can_sign:
            return False
        # Looked up again where the log is shorter than it was: somebody may have put an older one back, and signed it.
        if not self._is_looked_up or (self._last is not None and end.position < self._last.position):
            self._last, self._is_looked_up = self._checkpoints.newest(), True
        if not self._is_due(end, wall_us, is_last=is_last):
            return False
        self._checkpoints.reach(end, wall_us)
        self._last = Checkpoint(end.position, end.chain, wall_us)
        self._thin()
        return True

    def _is_due(self, end: LogEnd, wall_us: int, *, is_last: bool) -> bool:
        if self._last is None:
            return True
        more = end.position - self._last.position
        if more <= 0 and end.chain == self._last.chain:
            return False
        if more < 0:  # the log is shorter than it was: what is signed stands, and whoever verifies is told
            return False
        return is_last or more >= EVERY_EVENTS or wall_us - self._last.recorded_at >= EVERY_US

    def _thin(self) -> None:
        self._since_thinned += 1
        if self._since_thinned % (MOST_KEPT // 8) != 1:
            return
        try:
            self._checkpoints.thin()
        except LoopwrightError as error:  # a place that lets nothing be removed is as good, only larger
            log.info("old checkpoints stay: %s", error)
