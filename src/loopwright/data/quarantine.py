"""Quarantine: which check results hold a version back, and how to say so."""

from collections.abc import Sequence

from loopwright.data.types import CheckResult, DatasetVersion
from loopwright.kernel.errors import Conflict, Quarantined


def blocking(checks: Sequence[CheckResult]) -> list[CheckResult]:
    """Return the failed checks that keep a version from use."""
    return [result for result in checks if not result.passed and result.check.severity == "block"]


def explain_quarantine(version: DatasetVersion) -> str:
    """Return why a version is quarantined, in a sentence."""
    why = "; ".join(result.message for result in blocking(version.checks))
    return f"dataset {version.dataset} version {version.version} is quarantined: {why}"


def check_usable(version: DatasetVersion) -> DatasetVersion:
    """Return a version that may be used.

    Raises:
        Quarantined: It failed a blocking check and nobody released it.
        Conflict: It is not ready.
    """
    if version.state == "quarantined":
        raise Quarantined(
            explain_quarantine(version),
            field="version",
            value=version.version,
            rule="only ready versions may be used",
            next_step="correct the source and import again, or an approver releases it (data.release_quarantine)",
        )
    if version.state != "ready":
        raise Conflict(f"dataset {version.dataset} version {version.version} is {version.state}", field="version")
    return version
