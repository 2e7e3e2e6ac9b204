"""What a gateway holds of a project goes with it, also where it was away when the project was deleted."""

import pytest

from loopwright.features.online import OnlineStores
from loopwright.gateway.releases.leftovers import let_go_of_spools
from loopwright.registry.flavours.constant import ConstantModel
from tests.gateway.answering.test_host import FUNCTION
from tests.gateway.conftest import World, number_columns, x_row
from tests.waiting import wait_until

pytestmark = pytest.mark.slow


def test_a_project_that_was_deleted_meanwhile_serves_no_more_and_leaves_the_disk(world: World) -> None:
    world.project("eta")
    world.serve_function(FUNCTION, name="late", project="eta")
    world.declare("other", model="other")
    world.release(world.register(ConstantModel(0.5), number_columns(1), name="other"), name="other")
    gateway = world.gateway()
    gateway.start()
    gateway.wait_for(lambda health: len(health["releases"]) == 2)
    answer = gateway.post("/v1/eta/deployments/late/predict", {"rows": [{"x": "fine"}]})
    assert answer.status_code == 200, answer.text
    gateway.seal()
    root = world.state / "gateway-0"
    places = [root / name / "eta" for name in ("releases", "code", "scratch")] + [world.state / "online" / "eta"]
    assert all(place.is_dir() for place in [*places, root / "spool" / "eta"])
    OnlineStores(world.state).address("flights")
    gateway.kill()
    world.server.call("loop.delete_project", "eta", name="eta", reason="done with it")
    while world.server.call("projects.forget_rows", "eta"):
        pass
    gateway.start()
    wait_until(lambda: not any(place.exists() for place in places), lambda: (places, gateway.health, gateway.log))
    assert list(gateway.wait_for(lambda health: bool(health["releases"]))["releases"]) == ["flights/other"]
    assert gateway.post("/v1/flights/deployments/other/predict", {"rows": [x_row(1)]}).status_code == 200
    gateway.stop()
    let_go_of_spools(root)  # as the next life does before it opens them
    assert not (root / "spool" / "eta").exists()
    assert (root / "releases" / "flights").is_dir()
    assert (world.state / "online" / "flights").is_dir()
