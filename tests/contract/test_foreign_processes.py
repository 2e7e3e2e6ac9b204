"""User code and the processes outside of its walls: whatever the kernel offers, it does nothing to them."""

import errno
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from loopwright.config import Walls, load_settings
from loopwright.features.online import OnlineStores
from loopwright.gateway.children.surroundings import Place
from loopwright.kernel.code import CodeRef
from loopwright.pipelines import ChildPool, Enclosure, packing
from loopwright.store.blobs import BlobStore
from loopwright.wire.system_calls import can_filter
from loopwright.wire.walls import WITH_SCOPES, landlock_version
from tests.contract import reaching_out
from tests.waiting import wait_until

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not can_filter(), reason="this kernel filters no system calls (seccomp)"),
]
MODES = [
    "on",
    pytest.param(
        "strict", marks=pytest.mark.skipif(not landlock_version(), reason="strict walls need a kernel with Landlock")
    ),
]
IN_A_GATEWAY = """
import json, sys
import msgspec
from loopwright.gateway.children.surroundings import Surroundings, settle_in
settle_in(msgspec.json.decode(sys.argv[1], type=Surroundings))
sys.path.insert(0, sys.argv[2])
import reaching_out
print(json.dumps([reaching_out.from_everywhere(int(sys.argv[3])), reaching_out.on_itself()]))
"""
with_walls = pytest.mark.parametrize("mode", MODES)


@pytest.fixture
def outside() -> Iterator[int]:
    """A process of the same user, outside of all walls."""
    process = subprocess.Popen(["sleep", "600"], start_new_session=True)
    wait_until(lambda: _sleeps(process.pid))  # while it starts it has files to map and bytes to write
    yield process.pid
    assert process.poll() is None
    process.kill()
    process.wait()


def _sleeps(pid: int) -> bool:
    name, _, rest = Path(f"/proc/{pid}/stat").read_text().partition("(")[2].rpartition(")")
    return (name, rest.split()[0]) == ("sleep", "S")


def check_refused(told: dict[str, dict[str, dict[str, int]]], mode: str) -> None:
    """Assert that whoever tries is told no, but where yes was said and nothing done."""
    assert set(told) == {"itself", "thread", "fork", "program"}
    for who, works in told.items():
        assert works["bound"].pop("one processor") == 0
        if mode == "on" and landlock_version() < WITH_SCOPES:
            del works["signal"]
        answers = {(who, work, name): said for work, answered in works.items() for name, said in answered.items()}
        assert len(answers) > 40
        assert {how: said for how, said in answers.items() if said != errno.EPERM} == {}


def check_itself(told: dict[str, int], mode: str) -> None:
    """Assert that a process does to itself, and to what it started, what it likes."""
    if mode == "strict" and landlock_version() < WITH_SCOPES:
        del told["child"]
    assert {how: said for how, said in told.items() if said} == {}


@with_walls
def test_the_child_of_a_worker_harms_and_reaches_no_process_outside(
    tmp_path: Path, blob_store: BlobStore, outside: int, mode: Walls
) -> None:
    before = reaching_out.state_of(outside)
    folder = tmp_path / "project"
    folder.mkdir()
    shutil.copy(reaching_out.__file__, folder)
    digest = blob_store.put(packing.pack_project(folder)).digest
    pool = ChildPool(tmp_path / "worker", blob_store, enclosure=Enclosure(mode, [tmp_path / "worker"]))

    def call(name: str, inputs: dict[str, Any]) -> Any:
        return pool.call(CodeRef(digest, "reaching_out", name, "0" * 64), inputs).output

    try:
        check_refused(call("from_everywhere", {"pid": outside}), mode)
        check_itself(call("on_itself", {}), mode)
    finally:
        pool.close()
    assert reaching_out.state_of(outside) == before


@with_walls
def test_nor_does_the_child_of_a_gateway(tmp_path: Path, outside: int, mode: Walls) -> None:
    before = reaching_out.state_of(outside)
    settings = msgspec.structs.replace(load_settings(tmp_path), walls=mode)
    around = Place(tmp_path / "gateway-0", OnlineStores(tmp_path), Enclosure.of(settings)).around("flights")
    code = tmp_path / "gateway-0" / "code" / "flights"
    shutil.copy(reaching_out.__file__, code)
    text = msgspec.json.encode(around).decode()
    command = [sys.executable, "-c", IN_A_GATEWAY, text, str(code), str(outside)]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True, start_new_session=True)
    told, of_itself = json.loads(done.stdout)
    check_refused(told, mode)
    check_itself(of_itself, mode)
    assert reaching_out.state_of(outside) == before


def test_without_walls_it_is_done(outside: int) -> None:
    """Else the tests above would find unharmed what nothing harms."""
    before = reaching_out.state_of(outside)
    assert {how for how, said in reaching_out.bound(outside).items() if said} == set()
    after = reaching_out.state_of(outside)
    assert {what for what in before if before[what] == after[what]} == set()
