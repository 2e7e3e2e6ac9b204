"""Making a declaration so: upload the code, show the plan, apply exactly that plan."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec

from loopwright.client.caller import HttpCaller
from loopwright.client.finding import find_caller
from loopwright.governance import SYSTEM
from loopwright.kernel.documents import to_builtins
from loopwright.kernel.errors import NotFound
from loopwright.loop import Plan

if TYPE_CHECKING:
    from loopwright.client.project import Project


class Applied(msgspec.Struct, frozen=True):
    """A plan and whether it was carried out."""

    plan: Plan
    is_applied: bool


def apply_project(
    project: "Project", confirm: Callable[[Plan], bool] | None = None, caller: HttpCaller | None = None
) -> Applied:
    """Send a project's spec; ``confirm`` sees the plan and may refuse it.

    Raises:
        InvalidInput: The spec breaks a rule; names the field.
        Conflict: The project changed between plan and apply.
    """
    caller = caller or find_caller()
    spec, packed = project.draft.to_spec()
    head = {
        "name": spec.name,
        "owner": spec.owner,
        "risk": spec.risk,
        "clock": spec.clock,
        "clock_at": spec.clock_at,
    }
    _create_project(caller, head)
    if packed:
        caller.put_blob(spec.name, packed)
    document = to_builtins(spec)
    plan: Plan = caller.call("loop.plan", {"spec": document}, spec.name)
    if confirm is not None and not confirm(plan):
        return Applied(plan, False)
    caller.call("loop.apply", {"spec": document, "plan_digest": plan.digest}, spec.name)
    return Applied(plan, True)


def _create_project(caller: HttpCaller, head: dict[str, Any]) -> None:
    """Create the project, or change its head; where neither is needed, an editor may apply."""
    try:
        found = caller.call("projects.get", {"name": head["name"]}, head["name"])
    except NotFound:
        found = None
    if found is None or any(getattr(found, name) != head[name] for name in ("owner", "risk", "clock")):
        caller.call("projects.create", head, SYSTEM)
