"""The database under many writers, failing work, full disks and SIGKILL."""

import contextlib
import os
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event, exc, text

from loopwright.governance import LOCAL_ACTOR, Dispatcher, audit
from loopwright.kernel.errors import Conflict, InvalidInput, StorageFull, Unavailable
from loopwright.store.columns import METADATA
from loopwright.store.engine import Connection, Database
from tests.databases import open_sqlite
from tests.waiting import PATIENCE_S


def add(name: str) -> Callable[[Connection], str]:
    def work(connection: Connection) -> str:
        connection.execute(text("INSERT INTO cursors VALUES (:name, 1)"), {"name": name})
        return name

    return work


def names(database: Database) -> set[str]:
    return database.read(lambda connection: set(connection.execute(text("SELECT reader FROM cursors")).scalars()))


@pytest.fixture
def lite(tmp_path: Path) -> Database:
    return open_sqlite(tmp_path / "lite.db")


def test_many_threads_write_and_each_has_its_answer(database: Database) -> None:
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda number: database.write(add(f"r{number}")), range(60)))
    assert set(made) == names(database) == {f"r{number}" for number in range(60)}


def test_one_of_many_that_fails_takes_nobody_with_it(database: Database) -> None:
    def fail(connection: Connection) -> None:
        add("half")(connection)
        raise InvalidInput("no")

    futures = [database.submit(add("a")), database.submit(fail), database.submit(add("a")), database.submit(add("b"))]
    assert futures[0].result() == "a"
    with pytest.raises(InvalidInput):
        futures[1].result()
    with pytest.raises(Conflict, match="already exists"):
        futures[2].result()
    assert futures[3].result() == "b"
    assert names(database) == {"a", "b"}


def test_waiting_writes_share_one_commit(lite: Database) -> None:
    commits: list[int] = []
    event.listen(lite.engine, "commit", lambda _connection: commits.append(1))
    gate = threading.Event()
    first = lite.submit(lambda _connection: gate.wait(5))
    rest = [lite.submit(add(f"r{number}")) for number in range(100)]
    gate.set()
    first.result()
    assert {future.result() for future in rest} == names(lite)
    assert len(commits) < 50
    lite.close()


def test_readers_see_only_what_was_committed(lite: Database) -> None:
    inside, leave = threading.Event(), threading.Event()

    def slow(connection: Connection) -> None:
        add("late")(connection)
        inside.set()
        leave.wait(5)

    future = lite.submit(slow)
    inside.wait(5)
    assert names(lite) == set()
    leave.set()
    future.result()
    assert names(lite) == {"late"}
    lite.close()


def test_a_read_sees_one_moment(database: Database) -> None:
    count = text("SELECT count(*) FROM cursors")
    with database.reading() as connection:
        before = connection.execute(count).scalar_one()
        database.write(add("meanwhile"))
        assert connection.execute(count).scalar_one() == before
    with database.reading() as connection:
        assert connection.execute(count).scalar_one() == before + 1


def test_a_read_changes_nothing(database: Database) -> None:
    with contextlib.suppress(exc.SQLAlchemyError, Unavailable), database.reading() as connection:
        add("sneaked in")(connection)
    assert names(database) == set()


def test_a_call_that_was_given_up_does_not_end_the_writer(lite: Database) -> None:
    gate = threading.Event()
    first = lite.submit(lambda _connection: gate.wait(5))
    given_up = lite.submit(add("given up"))
    assert given_up.cancel()
    gate.set()
    first.result()
    assert lite.write(add("next")) == "next"
    assert names(lite) == {"next"}
    lite.close()


def test_a_call_that_is_broken_off_does_not_end_the_writer(database: Database) -> None:
    def broken_off(connection: Connection) -> None:
        raise SystemExit(1)

    with pytest.raises(SystemExit):
        database.write(broken_off)
    assert database.write(lambda connection: connection.execute(text("SELECT 7")).scalar_one()) == 7


def test_a_closed_database_says_so(database: Database) -> None:
    database.write(add("a"))
    database.close()
    with pytest.raises(Unavailable, match="closed"):
        database.write(add("b"))


def test_a_file_that_cannot_be_opened_is_an_error_not_a_hang(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'here.db'}")
    (tmp_path / "here.db").mkdir()
    with pytest.raises(Unavailable, match="cannot be written"):
        database.submit(add("a")).result(timeout=PATIENCE_S)
    with pytest.raises(Unavailable):
        names(database)
    (tmp_path / "here.db").rmdir()
    METADATA.create_all(database.engine)
    assert database.write(add("a")) == "a"
    database.close()


def test_a_folder_that_cannot_be_made_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Unavailable, match="folder of the database"):
        Database(f"sqlite:///{tmp_path / 'file' / 'x' / 'test.db'}")


def test_a_full_disk_is_named_and_leaves_nothing_half_written(lite: Database) -> None:
    lite.write(add("before"))
    pages = lite.read(lambda connection: connection.execute(text("PRAGMA page_count")).scalar_one())

    def limit(connection: Connection, most: int) -> None:
        connection.execute(text(f"PRAGMA max_page_count={most}"))

    def too_much(connection: Connection) -> None:
        add("half")(connection)
        connection.execute(text("INSERT INTO cursors VALUES (:name, 1)"), {"name": "x" * 2_000_000})

    lite.write(lambda connection: limit(connection, pages + 2))
    with pytest.raises(StorageFull, match="nothing was written"):
        lite.write(too_much)
    assert names(lite) == {"before"}
    lite.write(lambda connection: limit(connection, 1 << 30))
    assert lite.write(add("after")) == "after"
    lite.close()


def test_a_bad_url_does_not_show_its_password() -> None:
    with pytest.raises(InvalidInput) as refused:
        Database("mysql://ana:hunter2@host/db")
    assert "hunter2" not in str(refused.value)


def test_a_database_that_is_no_file_is_refused() -> None:
    for url in ("sqlite://", "sqlite:///:memory:"):
        with pytest.raises(InvalidInput, match="cannot be used"):
            Database(url)


def test_a_state_folder_is_for_its_owner_only(tmp_path: Path) -> None:
    Database(f"sqlite:///{tmp_path / 'state' / 'test.db'}").close()
    assert (tmp_path / "state").stat().st_mode & 0o077 == 0


WRITER = """
    import sys, threading
    from loopwright.governance import LOCAL_ACTOR, SYSTEM, Dispatcher
    from loopwright.rooms import import_rooms
    from loopwright.store.engine import Database
    from loopwright.store.migrate import upgrade
    import_rooms()
    database = Database(sys.argv[1])
    upgrade(database)
    dispatcher = Dispatcher(database)
    dispatcher.call("projects.create", {"name": "flights"}, actor=LOCAL_ACTOR, project=SYSTEM)
    lock = threading.Lock()
    def write():
        while True:
            run = dispatcher.call("tracking.start_run", {"experiment": "late"}, actor=LOCAL_ACTOR, project="flights")
            with lock:
                print(run.run_id, flush=True)
    for _ in range(4):
        threading.Thread(target=write).start()
"""


@pytest.mark.slow
def test_what_was_acknowledged_survives_sigkill(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'test.db'}"
    for round_number in range(2):
        command = [sys.executable, "-c", textwrap.dedent(WRITER), url]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
            assert writer.stdout is not None
            said = [writer.stdout.readline() for _ in range(40 + 60 * round_number)]
            os.kill(writer.pid, signal.SIGKILL)
            said += writer.stdout.readlines()
        acknowledged = {line.strip() for line in said if line.endswith("\n")}
        dispatcher = Dispatcher(Database(url))
        options: dict[str, Any] = {"actor": LOCAL_ACTOR, "project": "flights"}
        found = dispatcher.call("tracking.search_runs", {"limit": 1000}, **options)
        assert acknowledged <= {run.run_id for run in found}
        events = dispatcher.call("audit.list", {"limit": 1000, "type_prefix": "tracking."}, **options)
        assert len(events) == len(found)
        assert dispatcher.database.read(audit.verify_chain) >= len(found)
        dispatcher.database.close()


def test_a_database_that_takes_no_writes_says_so_until_it_does(database: Database) -> None:
    """Whoever writes is answered, also where the transaction could not even begin."""

    def lock(connection: Connection) -> Any:
        if database.is_sqlite:
            return connection.connection.dbapi_connection
        connection.execute(text("SET TRANSACTION READ ONLY"))
        return add("lost")(connection)

    if database.is_sqlite:
        writer = database.write(lock)
        writer.execute("PRAGMA query_only=ON")
        lock = add("lost")
    for _ in range(2):
        with pytest.raises(Unavailable, match="the database cannot be written"):
            database.submit(lock).result(PATIENCE_S)
        assert "cannot be written" in database.failure
        assert database.doubt is not None
        assert database.doubt.is_of_all
    if database.is_sqlite:
        writer.execute("PRAGMA query_only=OFF")
    database.probe(add("found"))
    assert database.failure == ""
    assert database.doubt is None
    with pytest.raises(ZeroDivisionError):
        database.write(lambda _: 1 / 0)
    assert database.failure == ""
    assert "lost" not in names(database)
