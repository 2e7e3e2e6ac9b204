"""The one error tree. Each error names the field, the value, the rule and the next step."""

import json
from typing import Any, ClassVar

from loopwright.kernel.plain import plain_lines
from loopwright.kernel.storable import storable

_MOST_LETTERS_OF_DETAILS = 100_000
"""Of one text: the end of a step's log may be among them."""
_MOST_BYTES_OF_DETAILS = 1_000_000
"""As JSON: what is longer than a call may be would keep the whole error from being told."""


class LoopwrightError(Exception):
    """Base of every error that is raised on purpose.

    Args:
        message: One sentence a user understands.
        field: Dotted path of the offending input, such as ``rows[3].distance``.
        value: The offending value; shown shortened.
        rule: The rule that was broken.
        next_step: What to do now.
        details: Further JSON-able facts.
    """

    code: ClassVar[str] = "error"
    http_status: ClassVar[int] = 400

    def __init__(
        self,
        message: str,
        *,
        field: str | None = None,
        value: object = None,
        rule: str | None = None,
        next_step: str | None = None,
        details: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.field = field
        self.value = None if value is None else shorten(value)
        self.rule = rule
        self.next_step = next_step
        self.details = details or {}

    def __str__(self) -> str:
        return "; ".join([self.message, *self._parts()])

    def explain(self) -> str:
        """Return it as lines for a person; further lines of a part, which may be others' words, are set in."""
        lines = (f"error: {self.message}", *(f"  {part}" for part in self._parts()))
        return "".join(plain_lines(line).replace("\n", "\n    ") + "\n" for line in lines)

    def _parts(self) -> list[str]:
        parts = (("field", self.field), ("value", self.value), ("rule", self.rule), ("next", self.next_step))
        return [f"{name}: {text}" for name, text in parts if text is not None]

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form that travels over HTTP and can be stored, whatever the words of others in it hold."""
        fields = {
            "code": self.code,
            "message": self.message,
            "field": self.field,
            "value": self.value,
            "rule": self.rule,
            "next_step": self.next_step,
        }
        told = {name: storable(value) for name, value in fields.items() if value is not None}
        if not self.details:
            return told
        details = storable(self.details, _MOST_LETTERS_OF_DETAILS)
        size = len(json.dumps(details))
        return {**told, "details": details if size <= _MOST_BYTES_OF_DETAILS else {"left_out": f"{size:,} bytes"}}


class InvalidInput(LoopwrightError):
    """The request breaks a rule; the same request will fail again."""

    code = "invalid_input"
    http_status = 422


class NotFound(LoopwrightError):
    """The named thing does not exist in this project."""

    code = "not_found"
    http_status = 404


class Conflict(LoopwrightError):
    """The change does not fit the present state."""

    code = "conflict"
    http_status = 409


class Quarantined(Conflict):
    """The dataset version failed a blocking check and may not be used."""

    code = "quarantined"


class Unauthenticated(LoopwrightError):
    """No valid token came with the request."""

    code = "unauthenticated"
    http_status = 401


class PermissionDenied(LoopwrightError):
    """The actor's role does not allow this verb in this project."""

    code = "permission_denied"
    http_status = 403


class TooLarge(LoopwrightError):
    """The body or value exceeds a stated limit."""

    code = "too_large"
    http_status = 413


class TooBusy(LoopwrightError):
    """More requests are under way than may wait; this one was turned away, and may be sent again."""

    code = "too_busy"
    http_status = 429


class Unavailable(LoopwrightError):
    """A needed part is down or not ready; trying again later may work."""

    code = "unavailable"
    http_status = 503


class StorageFull(Unavailable):
    """The disk or bucket takes no more bytes."""

    code = "storage_full"
    http_status = 507


class Corrupt(LoopwrightError):
    """Stored bytes do not match their digest or shape."""

    code = "corrupt"
    http_status = 500


class StepFailed(LoopwrightError):
    """User code in a pipeline step raised or ran out of time."""

    code = "step_failed"
    http_status = 409


def shorten(value: object, limit: int = 120) -> str:
    """Return ``repr(value)`` cut to ``limit`` characters."""
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _tree(root: type[LoopwrightError]) -> dict[str, type[LoopwrightError]]:
    """Return the errors by code; a room's own kind of one, which has no code of its own, never stands for it."""
    by_code = {root.code: root} if "code" in vars(root) else {}
    for child in root.__subclasses__():
        by_code.update(_tree(child))
    return by_code


def error_from_dict(document: dict[str, Any]) -> LoopwrightError:
    """Rebuild an error from its JSON form; unknown codes become the base class."""
    kind = _tree(LoopwrightError).get(str(document.get("code")), LoopwrightError)
    return kind(
        str(document.get("message", "unknown error")),
        field=document.get("field"),
        value=document.get("value"),
        rule=document.get("rule"),
        next_step=document.get("next_step"),
        details=document.get("details"),
    )
