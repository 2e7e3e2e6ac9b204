"""Events of features: declarations, frozen plans and training sets, fills of the online store."""

from loopwright.kernel.events import Facts, event


class _DeclarationFacts(Facts, frozen=True):
    digest: str
    before: str | None


@event("features.view_declared")
class ViewDeclared(_DeclarationFacts, frozen=True):
    """A view was declared or changed; ``before`` is the digest of what it was."""

    dataset: str


@event("features.request_declared")
class RequestDeclared(_DeclarationFacts, frozen=True):
    """An on-request function was declared or changed; ``before`` is the digest of what it was."""


@event("features.service_declared")
class ServiceDeclared(_DeclarationFacts, frozen=True):
    """A feature service was declared or changed; ``before`` is the digest of what it was."""


@event("features.plan_frozen")
class PlanFrozen(Facts, frozen=True):
    """What a service means was frozen under a digest."""

    digest: str
    columns: list[str]


@event("features.materialize_started")
class MaterializeStarted(Facts, frozen=True):
    """A fill of the online store was asked for."""

    job_id: str
    dataset: str
    dataset_version: int
    reset: bool


@event("features.materialized")
class Materialized(Facts, frozen=True):
    """The online store holds a view's rows of a dataset version."""

    dataset: str
    dataset_version: int
    view_key: str
    rows: int
    entities: int


@event("features.training_set_recorded")
class TrainingSetRecorded(Facts, frozen=True, omit_defaults=True):
    """A training set was frozen; the part of another one does not tell how many keys had no label."""

    rows: int
    digest: str
    plan_digest: str
    unlabelled_rows: int | None = None
