"""Verbs of projects and their clocks."""

from loopwright.governance import sql
from loopwright.governance.events import ProjectChanged, ProjectClosed, ProjectCreated, ProjectDeleted
from loopwright.governance.types import SYSTEM, ClockKind, Project, Risk
from loopwright.kernel.clock import format_moment, parse_moment
from loopwright.kernel.errors import Conflict, InvalidInput, NotFound, PermissionDenied
from loopwright.kernel.refs import check_name
from loopwright.kernel.suggestions import suggest
from loopwright.kernel.verbs import EVERY_PROJECT, SERVER_ALONE, Life, Role, query, verb
from loopwright.store import forgetting
from loopwright.store.engine import Connection
from loopwright.store.tx import Tx


@verb("projects.create", changes=Project, role=Role.ADMIN)
def create(
    tx: Tx, *, name: str, owner: str = "", risk: Risk = "low", clock: ClockKind = "wall", clock_at: int | str = 0
) -> Project:
    """Create a project; creating it again with the same clock is once, and updates owner and risk.

    Args:
        name: Unique for ever.
        owner: Team or person that answers for it.
        risk: low, medium or high; policies read it.
        clock: ``wall``, or ``replay`` for a project whose time moves only by ``clock.advance``.
        clock_at: Where a replay clock starts.
    """
    check_name(name, "project")
    if name.startswith("_"):
        raise InvalidInput("names with a leading _ are the platform's own", field="project", value=name)
    if tx.project not in (SYSTEM, name):
        raise PermissionDenied(
            f"{tx.project} is not {name}", field="project", value=name, rule="a project is changed from inside or above"
        )
    known = sql.find_project(tx.connection, name)
    if known is None:
        project = Project(name, owner, risk, clock, parse_moment(clock_at, "clock_at"), tx.wall_us)
        sql.insert_project(tx, project)
        tx.emit(ProjectCreated(owner=owner, risk=risk, clock=clock), tx.ref("project", name))
        return project
    require_open(known)
    if known.clock != clock:
        raise Conflict(
            f"project {name} runs on the {known.clock} clock",
            field="clock",
            value=clock,
            rule="a project keeps its clock",
            next_step="use another project name",
        )
    if (known.owner, known.risk) != (owner, risk):
        sql.update_project(tx, name, owner=owner, risk=risk)
        tx.emit(ProjectChanged(owner=owner, risk=risk), tx.ref("project", name))
    return find(tx, name)


@query("projects.get")
def get(tx: Tx, *, name: str) -> Project:
    """Return one project that the caller may see."""
    if name not in tx.roles and EVERY_PROJECT not in tx.roles:
        raise PermissionDenied(f"{tx.actor} has no role in {name}", field="project", value=name)
    return find(tx, name)


def find(tx: Tx, name: str) -> Project:
    """Return a project, whoever asks; one that is deleted too."""
    project = sql.find_project(tx.connection, name)
    if project is None:
        raise unknown_project(tx.connection, name)
    return project


def unknown_project(connection: Connection, name: str) -> NotFound:
    """Return the error of a project that is not there; it suggests the nearest."""
    names = [project.name for project in sql.list_projects(connection)]
    hint = suggest(name, names, "loopwright apply FILE creates it")
    return NotFound(f"no project is named {name}", field="project", value=name, next_step=hint)


@query("projects.list", parts=("gateway", "worker"))
def list_projects(tx: Tx, *, with_closed: bool = False) -> list[Project]:
    """Return the projects the caller may see; those that were closed where they are asked for."""
    visible = [project for project in sql.list_projects(tx.connection) if with_closed or project.closed_at is None]
    return visible if EVERY_PROJECT in tx.roles else [project for project in visible if project.name in tx.roles]


def on_wall_clock(connection: Connection) -> list[str]:
    """Return the names of the projects whose time is the machine's."""
    open_ones = [project for project in sql.list_projects(connection) if project.closed_at is None]
    return [project.name for project in open_ones if project.clock == "wall"]


@verb("projects.close", changes=Project, internal=True, parts=SERVER_ALONE, lasts="deleted")
def close(tx: Tx, *, reason: str) -> Project:
    """Mark a project as closed; closing it again is once."""
    project = find(tx, tx.project)
    if project.closed_at is None:
        sql.update_project(tx, project.name, closed_at=tx.wall_us)
        tx.emit(ProjectClosed(), tx.ref("project", project.name), reason=reason)
    return find(tx, project.name)


@verb("projects.delete", changes=Project, internal=True, parts=SERVER_ALONE, lasts="deleted")
def delete(tx: Tx, *, reason: str) -> Project:
    """Mark a closed project as deleted; deleting it again is once."""
    project = find(tx, tx.project)
    if project.deleted_at is None:
        sql.update_project(tx, project.name, deleted_at=tx.wall_us)
        tx.emit(ProjectDeleted(), tx.ref("project", project.name), reason=reason)
    return find(tx, project.name)


@verb("projects.forget_rows", changes=Project, internal=True, lasts="deleted")
def forget_rows(tx: Tx) -> int:
    """Remove some rows of a deleted project; return how many. Events stay, and the record that there was a project."""
    project = find(tx, tx.project)
    if project.deleted_at is None:
        raise Conflict(f"{project.name} is not deleted", field="project", value=project.name)
    return forgetting.forget_rows(tx)


class ProjectGone(NotFound):
    """The project was deleted: nothing is done there any more, and what was for it goes with it."""


def require_life(project: Project, lasts: Life) -> None:
    """Raise where a project is further than something lasts.

    Raises:
        Conflict: It is closed, and this is for open ones.
        ProjectGone: It was deleted, ``details.deleted`` is true: whoever holds rows of it lets go of them.
    """
    if lasts == "open":
        require_open(project)
    elif lasts == "closed" and project.deleted_at is not None:
        raise ProjectGone(
            f"project {project.name} was deleted at {format_moment(project.deleted_at)}",
            field="project",
            value=project.name,
            rule="nothing is done in a deleted project but what ends it",
            next_step="let go of what was for it: it was to go with the project",
            details={"deleted": True},
        )


def require_open(project: Project) -> None:
    """Raise if a project is closed.

    Raises:
        Conflict: It is, since when.
    """
    if project.closed_at is not None:
        raise Conflict(
            f"project {project.name} was closed at {format_moment(project.closed_at)}",
            field="project",
            value=project.name,
            rule="nothing is changed in a closed project, and no other takes its name",
            next_step=f"loopwright call audit.list type_prefix=projects -p {project.name} says why",
        )


@verb("projects.set_clock", changes=Project, internal=True, parts=SERVER_ALONE)
def set_clock(tx: Tx, *, to: int) -> Project:
    """Move a replay clock forward; it never goes back. Part of ``clock.advance``; writes no event."""
    moved = sql.move_clock(tx, to)
    if moved is not None:
        return moved
    project = find(tx, tx.project)
    if project.clock != "replay":
        raise InvalidInput("only a replay clock can be moved", field="project", value=tx.project, rule="clock: replay")
    raise InvalidInput("a clock does not go back", field="to", value=to, rule=f"at least {project.clock_at}")
