"""Events of the registry: versions, aliases, gates."""

from loopwright.kernel.events import Facts, event
from loopwright.registry.types import Verdict


@event("registry.version_registered")
class VersionRegistered(Facts, frozen=True):
    """A model has another version; ``files_digest`` is that of its list of files (missing in older events)."""

    model: str
    version: int
    digest: str
    source: str
    refit_of: int | None
    metrics: dict[str, float]
    files_digest: str = ""


@event("registry.model_imported")
class ModelImported(Facts, frozen=True):
    """A version was trained elsewhere; the reason says where it comes from."""

    digest: str


@event("registry.alias_set")
class AliasSet(Facts, frozen=True):
    """An alias names another version than ``before``."""

    model: str
    alias: str
    version: int
    before: int | None


@event("registry.alias_removed")
class AliasRemoved(Facts, frozen=True):
    """An alias names no version any more."""

    model: str
    alias: str
    before: int


class GateFacts(Facts, frozen=True):
    """What a gate report says: ``verdicts`` by place and kind, such as ``1 at_least``."""

    model: str
    version: int
    report_id: str
    passed: bool
    is_forced: bool
    verdicts: dict[str, Verdict]


@event("registry.gates_evaluated")
class GatesEvaluated(GateFacts, frozen=True):
    """The gates of a version were run over its evidence."""


@event("registry.gates_forced")
class GatesForced(GateFacts, frozen=True):
    """A person let a version through whatever its gates said."""
