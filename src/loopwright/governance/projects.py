"""Verbs of projects and their clocks."""

from loopwright.governance import sql
from loopwright.governance.events import ProjectChanged, ProjectCreated
from loopwright.governance.types import SYSTEM, ClockKind, Project, Risk
from loopwright.kernel.clock import parse_moment
from loopwright.kernel.errors import Conflict, InvalidInput, NotFound, PermissionDenied
from loopwright.kernel.refs import check_name
from loopwright.kernel.suggestions import suggest
from loopwright.kernel.verbs import EVERY_PROJECT, SERVER_ALONE, Role, query, verb
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
    return _find(tx, name)


@query("projects.get")
def get(tx: Tx, *, name: str) -> Project:
    """Return one project that the caller may see."""
    if name not in tx.roles and EVERY_PROJECT not in tx.roles:
        raise PermissionDenied(f"{tx.actor} has no role in {name}", field="project", value=name)
    return _find(tx, name)


def _find(tx: Tx, name: str) -> Project:
    project = sql.find_project(tx.connection, name)
    if project is None:
        raise unknown_project(tx.connection, name)
    return project


def unknown_project(connection: Connection, name: str) -> NotFound:
    """Return the error of a project that is not there; it suggests the nearest."""
    names = [project.name for project in sql.list_projects(connection)]
    hint = suggest(name, names, "loopwright apply creates it")
    return NotFound(f"no project is named {name}", field="project", value=name, next_step=hint)


@query("projects.list", parts=("gateway",))
def list_projects(tx: Tx) -> list[Project]:
    """Return the projects the caller may see."""
    visible = sql.list_projects(tx.connection)
    return visible if EVERY_PROJECT in tx.roles else [project for project in visible if project.name in tx.roles]


def on_wall_clock(connection: Connection) -> list[str]:
    """Return the names of the projects whose time is the machine's."""
    return [project.name for project in sql.list_projects(connection) if project.clock == "wall"]


@verb("projects.set_clock", changes=Project, internal=True, parts=SERVER_ALONE)
def set_clock(tx: Tx, *, to: int) -> Project:
    """Move a replay clock forward; it never goes back. Part of ``clock.advance``; writes no event."""
    moved = sql.move_clock(tx, to)
    if moved is not None:
        return moved
    project = _find(tx, tx.project)
    if project.clock != "replay":
        raise InvalidInput("only a replay clock can be moved", field="project", value=tx.project, rule="clock: replay")
    raise InvalidInput("a clock does not go back", field="to", value=to, rule=f"at least {project.clock_at}")
