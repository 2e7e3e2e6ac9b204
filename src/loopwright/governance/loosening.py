"""Loosening: who may take a rule away that binds others as well.

Declaring is an editor's right, so a rule that an editor could drop, use the gap and put back would bind nobody. What of
a declaration is a rule, and when it is looser, the ``strictness.py`` of its room says; what follows is said here.
"""

import msgspec

from loopwright.governance import approvals
from loopwright.governance.dispatch import has_role
from loopwright.governance.types import Approval
from loopwright.kernel.bounds import first_few
from loopwright.kernel.documents import digest_of
from loopwright.kernel.errors import InvalidInput, PermissionDenied, shorten
from loopwright.kernel.verbs import Role
from loopwright.store.tx import Tx

_SHOWN = 500
"""Letters of what one rule was and would be."""


class Weaker(msgspec.Struct, frozen=True):
    """One rule that a declaration would loosen: its field, and in words what it was and would be."""

    field: str
    told: str


class Loosening(msgspec.Struct, frozen=True):
    """What a declaration would loosen.

    Args:
        subject: Ref of what is declared.
        name: The same in a sentence.
        weaker: Rules that fall away or get weaker.
        digest: Name of the change, from what to what, so that an approval counts for no other. What was declared again
            since is another thing, also where it says the same: an approval counts once.
        asked_by: The verb that asks for an approval.
    """

    subject: str
    name: str
    weaker: list[Weaker]
    digest: str
    asked_by: str

    @property
    def told(self) -> str:
        """All of it in words, each rule shortened: an approver is told of every one."""
        return "; ".join(shorten(one.told, _SHOWN) for one in self.weaker)


def changed(field: str, before: object, after: object) -> Weaker:
    """Return a rule that has another value."""
    return Weaker(field, f"{field}: {before} -> {after}")


def change_digest(before: object, declared_at: int | None, after: object) -> str:
    """Return the name of a change of what was declared at some moment; see ``Loosening``."""
    return digest_of([None if declared_at is None else [before, declared_at], after])


def is_allowed(tx: Tx, loosening: Loosening) -> bool:
    """Say whether the caller may loosen so: nothing gets looser, it is an approver, or there is an approval."""
    if not loosening.weaker or has_role(tx, Role.APPROVER):
        return True
    approved = approvals.list_approvals(tx, state="approved", subject=loosening.subject)
    return any(approval.digest == loosening.digest for approval in approved)


def require_allowed(tx: Tx, loosening: Loosening) -> None:
    """Refuse what loosens a rule to whoever may not.

    Raises:
        PermissionDenied: It would, and the caller is no approver and has no approval of this very change.
    """
    if is_allowed(tx, loosening):
        return
    raise PermissionDenied(
        f"this declaration loosens the rules of {loosening.name}: {first_few([one.told for one in loosening.weaker])}",
        field=loosening.weaker[0].field,
        value=tx.actor,
        rule="what loosens a rule is declared by an approver, or with an approval of this very change",
        next_step=f"have an approver declare it, or ask for it with {loosening.asked_by}",
    )


def ask(tx: Tx, loosening: Loosening, reason: str, *, allows_own: bool = False) -> Approval:
    """Ask an approver to let a declaration pass; asking again while it waits is once.

    Raises:
        InvalidInput: It loosens nothing, or says no reason.
    """
    if not reason.strip():
        raise InvalidInput("asking needs a reason", field="reason", rule="at least one word")
    if not loosening.weaker:
        raise InvalidInput("this declaration loosens nothing", field="spec", next_step="declare it")
    question = f"Loosen the rules of {loosening.name}: {loosening.told}? {reason}"
    excluded = [] if allows_own else [tx.actor]
    return approvals.ask(tx, loosening.subject, question, loosening.digest, excluded=excluded)
