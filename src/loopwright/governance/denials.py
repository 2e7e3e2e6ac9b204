"""Calls that a gateway refused. It asks no server before it answers, so it tells of them afterwards."""

from dataclasses import replace

from loopwright.governance import sql
from loopwright.governance.events import CallDenied
from loopwright.governance.types import RefusedCall
from loopwright.kernel.errors import InvalidInput
from loopwright.kernel.verbs import verb
from loopwright.store.tx import Tx

STRANGER = "stranger"
"""Who called with a secret that opens nothing, or with none; no actor can be named so."""
MOST_CALLS = 64
"""How many refused calls are told at once."""


@verb("access.note_refused", changes=RefusedCall, internal=True, parts=("gateway",), lasts="closed")
def note_refused(tx: Tx, *, calls: list[RefusedCall]) -> None:
    """Record calls that a gateway refused, each in the name of whoever has the token that it came with.

    Args:
        calls: Those in this project; in ``_system`` those in no project that there is. Which are told, and how many,
            is the gateway's to say.

    Raises:
        InvalidInput: They are too many.
    """
    if len(calls) > MOST_CALLS:
        raise InvalidInput(
            "too many refused calls at once", field="calls", value=len(calls), rule=f"at most {MOST_CALLS}"
        )
    gateway = "" if tx.bounds is None else tx.bounds.address
    for call in calls:
        token = None if call.token_id is None else sql.token_of_id(tx, call.token_id)
        actor, token_id = (STRANGER, None) if token is None else (token.actor, token.token_id)
        facts = CallDenied(call.verb, call.project, call.client, gateway, call.refused_at)
        tried = replace(tx, actor=actor, token_id=token_id, client=call.client or None)
        tried.emit(facts, tx.ref("project", tx.project))
