"""The drill: a backup under load, everything killed, and a restored platform has all that was acknowledged."""

import threading
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from loopwright.cli.backing_up import tell_restored
from loopwright.cli.serving import wait_for_job
from loopwright.cli.verifying import verify_state
from loopwright.client.caller import HttpCaller
from loopwright.client.remote import Remote
from loopwright.config import load_settings
from loopwright.governance import audit
from loopwright.kernel.clock import DAY_US, WallClock
from loopwright.server.supervisor import ROLES, Supervisor, running
from loopwright.store.backups import make_backup, restore_backup, verify_backup
from loopwright.store.backups.place import BackupPlace
from loopwright.store.blobs import open_blob_store
from loopwright.store.engine import Database
from tests.flows.flights_slice import START, apply_file, read_history, write_slice
from tests.flows.test_kills import again, settled_log
from tests.flows.test_loop import released_by_a_person, train
from tests.servers import free_port
from tests.waiting import wait_until


class Caller(threading.Thread):
    """Asks for predictions until told to stop, and notes which were answered."""

    def __init__(self, remote: Remote, rows: list[dict[str, Any]]) -> None:
        super().__init__(daemon=True)
        self.remote, self.rows = remote, rows
        self.answered: list[str] = []
        self.is_over = threading.Event()

    def run(self) -> None:
        deployment = self.remote.deployment("late")
        while not self.is_over.is_set():
            self.answered += [answer["prediction_id"] for answer in deployment.predict(self.rows)]

    def wait_for(self, more: int) -> list[str]:
        """Return what was answered once ``more`` predictions have been."""
        enough = len(self.answered) + more
        wait_until(lambda: len(self.answered) >= enough)
        return list(self.answered)


@pytest.mark.slow
def test_a_platform_is_set_up_again_from_its_backup(
    platform: Supervisor, caller: HttpCaller, tmp_path: Path, record_property: Any
) -> None:
    remote = apply_file(write_slice(tmp_path / "project"), caller)
    for job in remote.call("jobs.list"):
        wait_for_job(remote, job.job_id)
    train(remote)
    champion = released_by_a_person(remote)
    _, requests = read_history(1)
    rows, _ = requests.between(START, START + DAY_US)
    rows = rows[:5]
    remote.advance(START + DAY_US)

    before = remote.deployment("late").predict(rows)
    place = BackupPlace(str(tmp_path / "backups"), tmp_path / "copies")
    old = platform.settings
    database, blobs = Database(old.database_url), open_blob_store(old.blobs_url)
    load = Caller(remote, rows)
    load.start()
    load.wait_for(50)
    make_backup(database, blobs, old.state_dir, place, WallClock())  # the second copies only what came since
    acknowledged = load.wait_for(50)
    begun = time.monotonic()
    backup = make_backup(database, blobs, old.state_dir, place, WallClock())
    record_property("backup_s", round(time.monotonic() - begun, 2))
    load.wait_for(20)
    load.is_over.set()
    load.join()
    database.close()
    for role in ROLES:
        platform.kill(role)
    assert verify_backup(backup, place, _check) == []

    begun = time.monotonic()
    new = msgspec.structs.replace(load_settings(tmp_path / "new"), port=free_port(), gateway_port=free_port())
    target = Database(new.database_url)
    new_blobs = open_blob_store(new.blobs_url)
    restore_backup(backup, place, target, new_blobs, new.state_dir, lambda: tell_restored(target, backup, new))
    target.close()
    with running(new) as restored:
        again_caller = HttpCaller(restored.server_url)
        there = Remote("flights", again_caller)
        answer = again(lambda: there.deployment("late").predict(rows))
        record_property("restore_to_answer_s", round(time.monotonic() - begun, 2))
        assert len(answer) == len(rows)
        for job in there.call("jobs.list", kind="features.materialize", states=["queued", "running"]):
            wait_for_job(there, job.job_id)
        filled = there.deployment("late").predict(rows)
        assert [one["score"] for one in filled] == [one["score"] for one in before], "the online store is filled anew"
        log = again(lambda: settled_log(there, acknowledged))
        counts = log.filter(~log["is_shadow"])["prediction_id"].value_counts()
        assert set(acknowledged) <= set(counts["prediction_id"])
        assert counts["count"].max() == 1
        assert there.call("registry.get_version", model="late", alias="champion").version == champion
        assert {node.kind for node in there.why(acknowledged[-1]).nodes} >= {"release", "model", "training_set"}
        again_caller.close()
    assert verify_state(new).problems == []


def _check(connection: Any) -> None:
    audit.verify_chain(connection)
