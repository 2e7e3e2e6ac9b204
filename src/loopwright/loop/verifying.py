"""The proof of the audit trail, asked of a running server, and putting an older log in the place of a newer."""

from loopwright.governance import SERVICE_ACTOR, SYSTEM, Checkpoints, Dispatcher, LogPutBack, LogReport, audit
from loopwright.kernel.errors import Unavailable
from loopwright.kernel.verbs import Role, operation
from loopwright.loop.engine.operations import OperationContext
from loopwright.store.engine import Database
from loopwright.store.tx import Tx


@operation("audit.verify", role=Role.ADMIN)
def verify(context: OperationContext) -> LogReport:
    """Recompute the chain of events, compare it with its signed checkpoints, and rows that give power with events.

    The chain is one for all projects; of rows that differ a project is told its own, ``_system`` all. It reads the
    whole log, which takes seconds for each 100,000 events.

    Raises:
        Unavailable: The place of the checkpoints does not answer.
    """
    if context.checkpoints is None:
        raise Unavailable("this server keeps no checkpoints", next_step="loopwright verify, on the server's machine")
    report = verify_database(context.dispatcher.database, context.checkpoints)
    if context.project != SYSTEM:
        report.mismatches = [each for each in report.mismatches if each.project == context.project]
    return report


def verify_database(database: Database, checkpoints: Checkpoints) -> LogReport:
    """Verify the log of a database; events of calls under way are in it or not, as they come.

    Raises:
        Unavailable: The place of the checkpoints does not answer.
    """
    names = checkpoints.names()  # before the log is read, for both go on meanwhile
    database.seal()
    with database.reading(without_deadline=True) as connection:
        return audit.verify_log(connection, checkpoints, names)


def put_log_back(dispatcher: Dispatcher, checkpoints: Checkpoints, reason: str) -> int:
    """Record and sign that this database was put in the place of a newer one; return how many checkpoints it gives up.

    Raises:
        Corrupt: The log itself is broken.
        Unavailable: There is no key to sign with, or the place cannot be written.
    """
    if not checkpoints.can_sign:
        raise Unavailable(
            "there is no key to sign with", field="LOOPWRIGHT_SERVICE_TOKEN", next_step="set it as the server has it"
        )
    database = dispatcher.database
    database.seal()
    with database.reading(without_deadline=True) as connection:
        lost = audit.not_held(connection, checkpoints)

    def tell(tx: Tx) -> None:
        tx.emit(LogPutBack(lost.end.position, len(lost.names)), tx.ref("project", SYSTEM), reason=reason)

    dispatcher.write(SYSTEM, SERVICE_ACTOR, tell)
    database.seal()
    end = database.read(audit.log_end)
    assert end is not None
    checkpoints.put_back(end, lost.names, dispatcher.wall.now_us(), reason)
    return len(lost.names)
