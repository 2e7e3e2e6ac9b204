"""Every statement of governance."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Row, Table, bindparam, delete, insert, select, text, update

from loopwright.governance.tables import approvals, lineage, projects, sessions, tokens
from loopwright.governance.types import Approval, LineageEdge, Project, Token
from loopwright.kernel.verbs import Role
from loopwright.store.rows import read_row, row_of
from loopwright.store.sql import update_as_read, upsert
from loopwright.store.statements import Statement
from loopwright.store.tx import Tx

_find_project = Statement(select(projects).where(projects.c.project_id == bindparam("name")))


def find_project(connection: Connection, name: str) -> Project | None:
    """Return one project."""
    row = _find_project.first(connection, name=name)
    return None if row is None else _project(row)


def list_projects(connection: Connection) -> list[Project]:
    """Return every project by name."""
    return [_project(row) for row in connection.execute(select(projects).order_by(projects.c.project_id))]


def insert_project(tx: Tx, project: Project) -> None:
    """Add a project."""
    # A project is made from above it, so the row is of the project that comes to be, not of the caller's.
    tx.execute(insert(projects), {**row_of(tx, projects, project), "project_id": project.name})


def update_project(tx: Tx, name: str, **values: Any) -> None:
    """Change columns of a project."""
    tx.execute(update(projects).where(projects.c.project_id == name).values(**values))


_move_clock = Statement(
    update(projects)
    .where(projects.c.project_id == bindparam("name"), projects.c.clock == "replay")
    .where(projects.c.clock_at <= bindparam("to"))
    .values(clock_at=bindparam("to"))
    .returning(projects)
)


def move_clock(tx: Tx, to: int) -> Project | None:
    """Move a replay clock forward; None where it is not one, or stands later already."""
    row = _move_clock.first(tx.connection, name=tx.project, to=to)
    return None if row is None else _project(row)


def _project(row: Row[Any]) -> Project:
    # Read by every call of a verb, as tokens are: by hand it costs a third of read_row.
    return Project(
        row.project_id,
        row.owner,
        row.risk,
        row.clock,
        row.clock_at,
        row.created_at,
        row.closed_at,
        row.deleted_at,
    )


def insert_token(tx: Tx, token: Token, secret_digest: str) -> None:
    """Add a token by the digest of its secret."""
    row = row_of(tx, tokens, token, role=token.role.value, secret_digest=secret_digest)
    tx.execute(insert(tokens), {**row, "project_id": token.project})


_find_token = Statement(select(tokens).where(tokens.c.secret_digest == bindparam("digest")))


def find_token(tx: Tx, secret_digest: str) -> Token | None:
    """Return the token whose secret has this digest."""
    row = _find_token.first(tx.connection, digest=secret_digest)
    return None if row is None else _token(row)


def token_of_id(tx: Tx, token_id: str) -> Token | None:
    """Return a token of any project by its id, ended or not."""
    row = tx.execute(select(tokens).where(tokens.c.token_id == token_id)).first()
    return None if row is None else _token(row)


def list_tokens(tx: Tx, projects: list[str]) -> list[Token]:
    """Return the tokens of some projects, newest first."""
    statement = select(tokens).where(tokens.c.project_id.in_(projects)).order_by(tokens.c.token_id.desc())
    return [_token(row) for row in tx.execute(statement)]


def revoke_token(tx: Tx, projects: list[str], token_id: str, at_us: int) -> int:
    """Mark a token as revoked; return how many rows changed."""
    statement = update(tokens).where(
        tokens.c.project_id.in_(projects), tokens.c.token_id == token_id, tokens.c.revoked_at.is_(None)
    )
    return int(tx.execute(statement.values(revoked_at=at_us)).rowcount)


def live_token_digests(tx: Tx, wall_us: int) -> list[tuple[str, Token]]:
    """Return (secret digest, token) of every token that is neither revoked nor expired, for the gateways."""
    rows = tx.execute(select(tokens).where(tokens.c.revoked_at.is_(None)))
    unrevoked = [(row.secret_digest, _token(row)) for row in rows]
    return [(digest, token) for digest, token in unrevoked if token.expires_at is None or token.expires_at > wall_us]


def live_tokens_of(connection: Connection, actor: str, wall_us: int) -> list[Token]:
    """Return the tokens of an actor, in every project, that are neither revoked nor expired."""
    rows = connection.execute(select(tokens).where(tokens.c.actor == actor, tokens.c.revoked_at.is_(None)))
    return [token for token in map(_token, rows) if token.expires_at is None or token.expires_at > wall_us]


def insert_session(
    tx: Tx, project: str, secret_digest: str, token_digest: str, created_at: int, expires_at: int
) -> None:
    """Add a session by the digests of its own secret and of its token."""
    row = {"project_id": project, "secret_digest": secret_digest, "token_digest": token_digest}
    tx.execute(insert(sessions), {**row, "created_at": created_at, "expires_at": expires_at})


def find_session(tx: Tx, secret_digest: str, wall_us: int) -> Token | None:
    """Return the token of a session that is not over."""
    statement = select(tokens).join(sessions, sessions.c.token_digest == tokens.c.secret_digest)
    row = tx.execute(
        statement.where(sessions.c.secret_digest == secret_digest, sessions.c.expires_at > wall_us)
    ).first()
    return None if row is None else _token(row)


def delete_session(tx: Tx, secret_digest: str) -> None:
    """Drop a session."""
    tx.execute(delete(sessions).where(sessions.c.secret_digest == secret_digest))


def delete_oldest_sessions(tx: Tx, token_digest: str, *, keep: int) -> int:
    """Drop all sessions of a token but the newest; return how many went."""
    own = select(sessions.c.secret_digest).where(sessions.c.token_digest == token_digest)
    newest = own.order_by(sessions.c.created_at.desc(), sessions.c.secret_digest).limit(keep)
    kept = [row.secret_digest for row in tx.execute(newest)]
    older = (sessions.c.token_digest == token_digest, sessions.c.secret_digest.not_in(kept))
    return int(tx.execute(delete(sessions).where(*older)).rowcount)


def delete_sessions_before(tx: Tx, wall_us: int) -> None:
    """Drop the sessions that are over."""
    tx.execute(delete(sessions).where(sessions.c.expires_at <= wall_us))


def _token(row: Row[Any]) -> Token:
    return Token(
        row.token_id, row.actor, row.project_id, Role(row.role), row.created_at, row.expires_at, row.revoked_at
    )


def insert_edges(tx: Tx, edges: list[LineageEdge]) -> None:
    """Add lineage edges; an edge that exists stays."""
    rows = [row_of(tx, lineage, edge, recorded_at=tx.wall_us) for edge in edges]
    upsert(tx.connection, lineage, rows, key=("project_id", "child", "parent", "relation"), do_update=False)


_PARENTS_AT_ONCE = 500
_WALK = """
WITH RECURSIVE walk(child, parent, relation, depth) AS (
  SELECT child, parent, relation, 1 FROM lineage WHERE project_id = :project AND {here} = :ref
  UNION
  SELECT l.child, l.parent, l.relation, w.depth + 1 FROM lineage l JOIN walk w ON l.{here} = w.{there}
  WHERE l.project_id = :project AND w.depth < :depth
)
SELECT DISTINCT child, parent, relation FROM walk LIMIT 2000
"""


def walk_edges(tx: Tx, ref: str, *, upwards: bool, depth: int) -> list[LineageEdge]:
    """Return every edge reached from a ref: upwards to what it was made from, else downwards to what was made of it."""
    here, there = ("child", "parent") if upwards else ("parent", "child")
    statement = text(_WALK.format(here=here, there=there))
    rows = tx.execute(statement, {"project": tx.project, "ref": ref, "depth": depth})
    return [read_row(row, LineageEdge) for row in rows]


def edges_from(tx: Tx, parents: Sequence[str], relations: Sequence[str]) -> list[LineageEdge]:
    """Return the edges of some relations whose parents are among many refs."""
    found: list[LineageEdge] = []
    for first in range(0, len(parents), _PARENTS_AT_ONCE):
        some = list(parents[first : first + _PARENTS_AT_ONCE])
        statement = select(lineage).where(lineage.c.project_id == tx.project, lineage.c.parent.in_(some))
        rows = tx.execute(statement.where(lineage.c.relation.in_(list(relations))))
        found += [read_row(row, LineageEdge) for row in rows]
    return found


def insert_approval(tx: Tx, approval: Approval) -> None:
    """Add an approval that waits."""
    tx.execute(insert(approvals), row_of(tx, approvals, approval))


def find_approval(tx: Tx, approval_id: str) -> Approval | None:
    """Return one approval."""
    statement = select(approvals).where(approvals.c.project_id == tx.project, approvals.c.approval_id == approval_id)
    row = tx.execute(statement).first()
    return None if row is None else read_row(row, Approval)


def list_approvals(tx: Tx, *, state: str | None = None, subject: str | None = None) -> list[Approval]:
    """Return approvals, newest first."""
    statement = select(approvals).where(approvals.c.project_id == tx.project)
    if state is not None:
        statement = statement.where(approvals.c.state == state)
    if subject is not None:
        statement = statement.where(approvals.c.subject == subject)
    return [read_row(row, Approval) for row in tx.execute(statement.order_by(approvals.c.approval_id.desc()))]


def update_approval(tx: Tx, approval: Approval, **values: Any) -> None:
    """Change columns of an approval that is still in the same state.

    Raises:
        Conflict: It is not.
    """
    key = {"project_id": tx.project, "approval_id": approval.approval_id}
    update_as_read(tx.connection, approvals, key, seen={"state": approval.state}, values=values)


def each_row(connection: Connection, table: Table) -> Iterator[Mapping[str, Any]]:
    """Yield every row of a table, of every project, some at a time."""
    for rows in connection.execute(select(table).execution_options(yield_per=1000)).mappings().partitions():
        for row in rows:
            yield {str(name): value for name, value in row.items()}
