"""Verbs of aliases: movable names of versions."""

from loopwright.governance import require_role
from loopwright.kernel.errors import NotFound
from loopwright.kernel.refs import check_name
from loopwright.kernel.verbs import Role, query, verb
from loopwright.registry import sql
from loopwright.registry.events import AliasRemoved, AliasSet
from loopwright.registry.types import Alias
from loopwright.registry.versions import get_version
from loopwright.store.tx import Tx

CHAMPION = "champion"
"""The version that answers; only approvers and the platform itself move this alias."""


@verb("registry.set_alias", changes=Alias)
def set_alias(tx: Tx, *, model: str, alias: str, version: int, reason: str = "") -> Alias:
    """Point an alias to a version, at once. Setting it where it is already changes nothing.

    Raises:
        NotFound: No such version.
        PermissionDenied: The alias is ``champion`` and the actor is no approver.
    """
    check_name(alias, "alias")
    _check_role(tx, alias)
    get_version(tx, model=model, version=version)
    before = sql.find_alias(tx, model, alias)
    after = Alias(model, alias, version)
    if before != after:
        sql.upsert_alias(tx, after)
        facts = AliasSet(model=model, alias=alias, version=version, before=None if before is None else before.version)
        tx.emit(facts, tx.ref("model", model, version), reason=reason)
    return after


@verb("registry.remove_alias", changes=Alias)
def remove_alias(tx: Tx, *, model: str, alias: str, reason: str = "") -> None:
    """Drop an alias.

    Raises:
        NotFound: The model has no such alias.
    """
    _check_role(tx, alias)
    before = sql.find_alias(tx, model, alias)
    if before is None:
        raise NotFound(f"{model} has no alias {alias}", field="alias", value=alias)
    sql.delete_alias(tx, model, alias)
    facts = AliasRemoved(model=model, alias=alias, before=before.version)
    tx.emit(facts, tx.ref("model", model, before.version), reason=reason)


@query("registry.aliases")
def list_aliases(tx: Tx, *, model: str) -> list[Alias]:
    """Return the aliases of a model by name."""
    return sql.list_aliases(tx, model)


def _check_role(tx: Tx, alias: str) -> None:
    if alias == CHAMPION:
        require_role(tx, Role.APPROVER, "move the alias champion")
