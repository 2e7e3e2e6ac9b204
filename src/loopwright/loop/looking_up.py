"""Looking features up by key for a person or program that talks to the server: a live gateway is asked."""

from typing import Any

from loopwright import serving
from loopwright.governance import SERVICE_ACTOR, projects
from loopwright.kernel.errors import Unavailable
from loopwright.kernel.verbs import Role, operation
from loopwright.loop.engine.operations import OperationContext
from loopwright.wire.credentials import worker_token
from loopwright.wire.endpoints import LookedUp
from loopwright.wire.gateways import features_of
from loopwright.wire.line import ServiceLine


@operation("features.look_up", role=Role.VIEWER)
def look_up(
    context: OperationContext, *, deployment: str, rows: list[dict[str, Any]], at: int | str | None = None
) -> list[LookedUp]:
    """Return what predictions of a deployment would be given for these rows, with ages and reasons; nothing is logged.

    Args:
        context: Knows the gateways.
        deployment: Which.
        rows: Keys of views, and fields that on-request functions read.
        at: The moment, ISO 8601 or microseconds UTC; default now, by the project's clock.

    Raises:
        NotFound: No such deployment is live.
        Conflict: It looks no features up.
        InvalidInput: A row names nothing that features are looked up by, or a value is of another kind.
        Unavailable: No gateway is live, or none can be reached.
    """
    project = context.read(lambda tx: projects.get(tx, name=context.project))
    if at is None and project.clock == "replay":
        at = project.clock_at
    document = {"rows": rows} if at is None else {"rows": rows, "at": at}
    line, key = ServiceLine(), worker_token(context.service_token)
    try:
        for gateway in context.dispatcher.read(context.project, SERVICE_ACTOR, serving.list_gateways):
            found = _ask(line, key, gateway.address, context.project, deployment, document)
            if found is not None:
                return found
    finally:
        line.close()
    raise Unavailable("no gateway is live that could look features up", next_step="loopwright up, or loopwright status")


def _ask(
    line: ServiceLine, key: str, address: str, project: str, deployment: str, document: dict[str, Any]
) -> list[LookedUp] | None:
    """Return what one gateway answers, None where nobody listens at its address any more."""
    try:
        return features_of(line, key, address, project, deployment, document)
    except Unavailable as error:
        if not isinstance(error.__cause__, ConnectionRefusedError):
            raise
        return None
