"""User code in a gateway's child, as an attacker: it gets at its own project's things and at nothing else."""

import json
from pathlib import Path
from typing import Any

import pytest

from loopwright.config import load_settings
from loopwright.features.online import OnlineStores
from loopwright.gateway.children.surroundings import Place
from loopwright.pipelines import Enclosure
from loopwright.wire.walls import landlock_version
from tests.gateway.conftest import GatewayProcess, World
from tests.waiting import wait_until

needs_landlock = pytest.mark.skipif(not landlock_version(), reason="this kernel has no Landlock")
ATTACK = """
import glob, json, os, resource, sqlite3, tempfile
import polars as pl

STATE = {state!r}
HERE = os.path.dirname(os.path.abspath(__file__))

def read(path):
    with open(path, "rb") as file:
        return len(file.read())

def write(path):
    with open(path, "ab") as file:
        file.write(b"x")

def entries(path):
    return sorted(os.listdir(path))

def handles():
    held = []
    for one in os.listdir("/proc/self/fd"):
        try:
            held.append(os.readlink("/proc/self/fd/" + one))
        except OSError:
            pass  # that of the listing itself
    foreign = [one for one in held if one.startswith("socket:")]
    if len(foreign) > 1:
        return foreign
    raise PermissionError("its line alone")

def asked(r):
    if r["x"][0] == "attack":
        told = {{}}
        tries = {{
            "token": lambda: read(STATE + "/service.token"),
            "database": lambda: read(STATE + "/loopwright.db"),
            "changed database": lambda: write(STATE + "/loopwright.db"),
            "blobs": lambda: entries(STATE + "/blobs"),
            "spool": lambda: entries(STATE + "/gateway-0/spool"),
            "gateway": lambda: entries(STATE + "/gateway-0"),
            "credentials": lambda: [read(STATE + "/gateway-0/" + name) for name in ("writer.id", "releases.json")],
            "models": lambda: entries(STATE + "/gateway-0/models"),
            "code of another": lambda: entries(STATE + "/gateway-0/code/other"),
            "scratch of another": lambda: entries(STATE + "/gateway-0/scratch/other"),
            "store of another": lambda: read(STATE + "/online/other/online.sqlite"),
            "stores": lambda: entries(STATE + "/online"),
            "own code changed": lambda: write(HERE + "/planted.py"),
            "parent's environment": lambda: read("/proc/%d/environ" % os.getppid()),
            "parent's memory": lambda: open("/proc/%d/mem" % os.getppid(), "rb"),
            "parent's files": lambda: [os.readlink("/proc/%d/fd/%s" % (os.getppid(), one)) for one in "012"],
            "parent's limits": lambda: resource.prlimit(os.getppid(), resource.RLIMIT_NOFILE),
            "handles of who forked it": handles,
            "the gateway's log": lambda: [os.ftruncate(one, 0) for one in (1, 2)],
            "own code": lambda: entries(HERE),
            "own store": lambda: sqlite3.connect(STATE + "/online/flights/own").execute("CREATE TABLE x (y)") and 1,
            "temporary": lambda: tempfile.mkdtemp(),
        }}
        for name, work in tries.items():
            try:
                told[name] = ["got", str(work())]
            except Exception as error:
                told[name] = ["refused", type(error).__name__]
        with open("attack.json", "w") as file:
            json.dump(told, file)
    return pl.DataFrame({{"y": [1.0] * r.height}})
"""
HARMLESS = """
import polars as pl

def asked(r):
    return pl.DataFrame({"y": [1.0] * r.height})
"""
OWN = {"own code", "own store", "temporary"}


def attack(world: World, gateway: GatewayProcess) -> dict[str, Any]:
    rows = {"rows": [{"x": "attack", "row_key": "1"}]}
    answer = gateway.post("/v1/flights/deployments/late/predict", rows)
    assert answer.status_code == 200, (answer.text, gateway.log)
    told: dict[str, Any] = json.loads((world.state / "gateway-0" / "scratch" / "flights" / "attack.json").read_text())
    return told


def start(world: World, **environment: str) -> GatewayProcess:
    (world.state / "service.token").write_text("lws_secret")
    world.project("other")
    world.serve_function(ATTACK.format(state=str(world.state)))
    world.serve_function(HARMLESS, project="other")
    made = world.gateway(**environment)
    made.start()
    made.wait_for(lambda health: len(health["releases"]) == 2)
    return made


@pytest.mark.slow
@needs_landlock
@pytest.mark.parametrize("walls", ["on", "strict"])
def test_a_function_gets_at_nothing_of_the_platform_or_of_another_project(world: World, walls: str) -> None:
    told = attack(world, start(world, LOOPWRIGHT_WALLS=walls))
    assert {name for name, (how, _) in told.items() if how == "got"} == OWN, told
    assert (world.state / "online" / "other" / "online.sqlite").exists()


@pytest.mark.slow
def test_without_walls_it_does_and_the_gateway_says_so(world: World) -> None:
    gateway = start(world, LOOPWRIGHT_WALLS="off")
    assert attack(world, gateway)["token"] == ["got", "10"]
    wait_until(lambda: "walls are off" in gateway.log, lambda: gateway.log)


def test_what_surrounds_a_child_is_its_projects_alone(tmp_path: Path) -> None:
    root = tmp_path / "gateway-0"
    place = Place(root, OnlineStores(tmp_path), Enclosure.of(load_settings(tmp_path)))
    around = place.around("flights", ["m1"])
    assert around.walls is not None
    inside = {Path(one).relative_to(tmp_path).as_posix() for one in around.walls["reads"] if str(tmp_path) in one}
    assert inside == {"gateway-0/code/flights", "gateway-0/models/m1", "gateway-0/scratch/flights", "online/flights"}
    assert str(tmp_path) in around.walls["hidden"]
    assert Path(around.online_url).parent == tmp_path / "online" / "flights"
    assert Place(root, OnlineStores(tmp_path), None).around("flights").walls is None
