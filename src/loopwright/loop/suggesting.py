"""Suggesting checks of a dataset, by the profile of its newest version."""

from loopwright import data
from loopwright.data import Suggestion
from loopwright.kernel.errors import NotFound
from loopwright.kernel.verbs import Role, operation
from loopwright.loop.engine.operations import OperationContext


@operation("data.suggest_checks", role=Role.VIEWER)
def suggest_checks(context: OperationContext, *, dataset: str, version: int | None = None) -> list[Suggestion]:
    """Return checks that the rows of a version would have passed and that are not declared, and personal columns.

    Args:
        context: Reads rows and blobs.
        dataset: Which.
        version: None for the newest that may be used.

    Raises:
        NotFound: It has no version.
    """
    spec = context.read(lambda tx: data.get(tx, dataset=dataset)).spec
    found = context.read(lambda tx: data.get_version(tx, dataset=dataset, version=version))
    profile = data.read.read_profile(found, context.blobs)
    if profile is None:
        raise NotFound(f"version {found.version} of {dataset} has no profile", field="version", value=found.version)
    return data.suggestions.suggest(spec, found, profile)
