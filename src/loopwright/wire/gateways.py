"""What servers and workers ask of a gateway."""

from typing import Any

from loopwright.kernel.documents import from_json, to_json
from loopwright.kernel.errors import LoopwrightError, Unavailable
from loopwright.store.types import Streams
from loopwright.wire.credentials import control_secret
from loopwright.wire.endpoints import LookedUp, deployment_path, read_looked_up
from loopwright.wire.line import TIMEOUT_S, ServiceLine


def seal_gateway(line: ServiceLine, key: str, address: str, streams: Streams, *, timeout_s: float = TIMEOUT_S) -> None:
    """Ask one gateway to seal streams of its spool.

    It is asked with a secret that only the gateway at that address takes.

    Args:
        line: Carries the call.
        key: A worker's credential.
        address: The gateway's.
        streams: Which.
        timeout_s: Its longest silence.

    Raises:
        Unavailable: It did not, so the log is known to be incomplete; where nobody listens at its address the cause is
            ``ConnectionRefusedError``. What was killed is back before its lease ends, or no longer asked.
    """
    try:
        headers = {"authorization": f"Bearer {control_secret(key, address)}"}
        line.post(f"{address.rstrip('/')}/internal/seal", to_json(streams), headers=headers, timeout_s=timeout_s)
    except LoopwrightError as error:
        raise Unavailable(
            "a gateway has not sealed its spool, so its newest rows cannot be read yet",
            value=f"{address}: {error}",
            next_step="try again; loopwright logs gateway says why",
        ) from error.__cause__


def features_of(
    line: ServiceLine, key: str, address: str, project: str, deployment: str, document: dict[str, Any]
) -> list[LookedUp]:
    """Ask one gateway what predictions for some rows would be given.

    Whoever calls this has made sure that the caller may see the project: the gateway takes its secret for all of them.

    Args:
        line: Carries the call.
        key: A worker's credential.
        address: The gateway's.
        project: Whose.
        deployment: Which of its deployments.
        document: ``rows``, and ``at`` where a moment is meant.

    Raises:
        LoopwrightError: What the gateway answered; Unavailable if it did not.
    """
    headers = {"authorization": f"Bearer {control_secret(key, address)}"}
    url = f"{address.rstrip('/')}{deployment_path(project, deployment)}/features"
    return read_looked_up(
        from_json(line.post(url, to_json(document), headers=headers, timeout_s=TIMEOUT_S), dict[str, Any])
    )
