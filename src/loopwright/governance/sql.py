"""Every statement of governance."""

from typing import Any

from sqlalchemy import Connection, Row, bindparam, insert, select, text, update

from loopwright.governance.tables import approvals, lineage, projects, tokens
from loopwright.governance.types import Approval, LineageEdge, Project, Token
from loopwright.kernel.verbs import Role
from loopwright.store.sql import update_as_read, upsert

_find_project = select(projects).where(projects.c.project_id == bindparam("name"))


def find_project(connection: Connection, name: str) -> Project | None:
    """Return one project."""
    row = connection.execute(_find_project, {"name": name}).first()
    return None if row is None else _project(row)


def list_projects(connection: Connection) -> list[Project]:
    """Return every project by name."""
    return [_project(row) for row in connection.execute(select(projects).order_by(projects.c.project_id))]


def insert_project(connection: Connection, project: Project) -> None:
    """Add a project."""
    row = {
        "project_id": project.name,
        "owner": project.owner,
        "risk": project.risk,
        "clock": project.clock,
        "clock_at": project.clock_at,
        "created_at": project.created_at,
    }
    connection.execute(insert(projects), row)


def update_project(connection: Connection, name: str, **values: Any) -> None:
    """Change columns of a project."""
    connection.execute(update(projects).where(projects.c.project_id == name).values(**values))


_move_clock = (
    update(projects)
    .where(projects.c.project_id == bindparam("name"), projects.c.clock == "replay")
    .where(projects.c.clock_at <= bindparam("to"))
    .values(clock_at=bindparam("to"))
    .returning(projects)
)


def move_clock(connection: Connection, name: str, to: int) -> Project | None:
    """Move a replay clock forward; None where it is not one, or stands later already."""
    row = connection.execute(_move_clock, {"name": name, "to": to}).first()
    return None if row is None else _project(row)


def _project(row: Row[Any]) -> Project:
    return Project(row.project_id, row.owner, row.risk, row.clock, row.clock_at, row.created_at)


def insert_token(connection: Connection, token: Token, secret_digest: str) -> None:
    """Add a token by the digest of its secret."""
    row = {
        "project_id": token.project,
        "token_id": token.token_id,
        "secret_digest": secret_digest,
        "actor": token.actor,
        "role": token.role.value,
        "created_at": token.created_at,
        "expires_at": token.expires_at,
        "revoked_at": token.revoked_at,
    }
    connection.execute(insert(tokens), row)


_find_token = select(tokens).where(tokens.c.secret_digest == bindparam("digest"))


def find_token(connection: Connection, secret_digest: str) -> Token | None:
    """Return the token whose secret has this digest."""
    row = connection.execute(_find_token, {"digest": secret_digest}).first()
    return None if row is None else _token(row)


def list_tokens(connection: Connection, projects: list[str]) -> list[Token]:
    """Return the tokens of some projects, newest first."""
    statement = select(tokens).where(tokens.c.project_id.in_(projects)).order_by(tokens.c.token_id.desc())
    return [_token(row) for row in connection.execute(statement)]


def revoke_token(connection: Connection, projects: list[str], token_id: str, at_us: int) -> int:
    """Mark a token as revoked; return how many rows changed."""
    statement = update(tokens).where(
        tokens.c.project_id.in_(projects), tokens.c.token_id == token_id, tokens.c.revoked_at.is_(None)
    )
    return int(connection.execute(statement.values(revoked_at=at_us)).rowcount)


def live_token_digests(connection: Connection, wall_us: int) -> list[tuple[str, Token]]:
    """Return (secret digest, token) of every token that is neither revoked nor expired, for the gateways."""
    rows = connection.execute(select(tokens).where(tokens.c.revoked_at.is_(None)))
    found = [(row.secret_digest, _token(row)) for row in rows]
    return [(digest, token) for digest, token in found if token.expires_at is None or token.expires_at > wall_us]


def _token(row: Row[Any]) -> Token:
    return Token(
        row.token_id, row.actor, row.project_id, Role(row.role), row.created_at, row.expires_at, row.revoked_at
    )


def insert_edges(connection: Connection, project: str, edges: list[LineageEdge], wall_us: int) -> None:
    """Add lineage edges; an edge that exists stays."""
    rows = [
        {
            "project_id": project,
            "child": edge.child,
            "parent": edge.parent,
            "relation": edge.relation,
            "recorded_at": wall_us,
        }
        for edge in edges
    ]
    upsert(connection, lineage, rows, key=("project_id", "child", "parent", "relation"), do_update=False)


_WALK = """
WITH RECURSIVE walk(child, parent, relation, depth) AS (
  SELECT child, parent, relation, 1 FROM lineage WHERE project_id = :project AND {here} = :ref
  UNION
  SELECT l.child, l.parent, l.relation, w.depth + 1 FROM lineage l JOIN walk w ON l.{here} = w.{there}
  WHERE l.project_id = :project AND w.depth < :depth
)
SELECT DISTINCT child, parent, relation FROM walk LIMIT 2000
"""


def walk_edges(connection: Connection, project: str, ref: str, *, upwards: bool, depth: int) -> list[LineageEdge]:
    """Return every edge reached from a ref: upwards to what it was made from, else downwards to what was made of it."""
    here, there = ("child", "parent") if upwards else ("parent", "child")
    statement = text(_WALK.format(here=here, there=there))
    rows = connection.execute(statement, {"project": project, "ref": ref, "depth": depth})
    return [LineageEdge(row.child, row.parent, row.relation) for row in rows]


def insert_approval(connection: Connection, project: str, approval: Approval) -> None:
    """Add an approval that waits."""
    values = {name: getattr(approval, name) for name in approval.__struct_fields__}
    connection.execute(insert(approvals), {"project_id": project, **values})


def find_approval(connection: Connection, project: str, approval_id: str) -> Approval | None:
    """Return one approval."""
    statement = select(approvals).where(approvals.c.project_id == project, approvals.c.approval_id == approval_id)
    row = connection.execute(statement).first()
    return None if row is None else _approval(row)


def list_approvals(
    connection: Connection, project: str, *, state: str | None = None, subject: str | None = None
) -> list[Approval]:
    """Return approvals, newest first."""
    statement = select(approvals).where(approvals.c.project_id == project)
    if state is not None:
        statement = statement.where(approvals.c.state == state)
    if subject is not None:
        statement = statement.where(approvals.c.subject == subject)
    return [_approval(row) for row in connection.execute(statement.order_by(approvals.c.approval_id.desc()))]


def update_approval(connection: Connection, project: str, approval: Approval, **values: Any) -> None:
    """Change columns of an approval that is still in the same state.

    Raises:
        Conflict: It is not.
    """
    key = {"project_id": project, "approval_id": approval.approval_id}
    update_as_read(connection, approvals, key, seen={"state": approval.state}, values=values)


def _approval(row: Row[Any]) -> Approval:
    values = dict(row._mapping)
    values.pop("project_id")
    return Approval(**values)
