"""What a need is: something that needs a person, and what answers it."""

from typing import Any, Literal

import msgspec

NeedKind = Literal[
    "approval",
    "background",
    "blobs",
    "database",
    "disk",
    "feed",
    "fill",
    "gateway",
    "import",
    "incident",
    "job",
    "pipeline",
    "quarantine",
    "release",
    "worker",
]
NEED_KINDS: tuple[NeedKind, ...] = (
    *("approval", "background", "blobs", "database", "disk", "feed", "fill", "gateway"),
    *("import", "incident", "job", "pipeline", "quarantine", "release", "worker"),
)
Severity = Literal["critical", "warning"]
SEVERITIES: tuple[Severity, ...] = ("critical", "warning")
"""Most urgent first."""


class Answer(msgspec.Struct, frozen=True):
    """A verb that answers a need, with its arguments but for the reason."""

    verb: str
    args: dict[str, Any]


class Need(msgspec.Struct, frozen=True):
    """Something that needs a person.

    Args:
        kind: What sort of thing it is.
        ref: What it is about.
        severity: ``critical`` where answers are wrong or missing now.
        sentence: What is the matter.
        event_at: Since when, in the project's time (microseconds UTC); None where only the wall clock knows.
        recorded_at: Since when on the wall clock; None where only the project's clock knows.
        next_step: What a person does about it, in a few words.
        command: What to type; empty where no command answers it.
        answers: Verbs that answer it, the likeliest first.
        owner: Who looks after it; empty for nobody yet.
        incident_id: The incident that tells of it; empty where none does.
        count: How many things it tells of; more than one where there are too many to tell each.
    """

    kind: NeedKind
    ref: str
    severity: Severity
    sentence: str
    event_at: int | None
    recorded_at: int | None
    next_step: str
    command: str = ""
    answers: list[Answer] = []
    owner: str = ""
    incident_id: str = ""
    count: int = 1

    @property
    def line(self) -> str:
        """The need as one line: how urgent, what, and what to type."""
        return f"{self.severity}: {self.sentence}" + (f" ({self.command})" if self.command else "")

    @property
    def shown_at(self) -> str:
        """Ref of what a page tells of it: an incident that stands alone, else what it is about."""
        return f"incident:{self.incident_id}" if self.kind == "incident" else self.ref
