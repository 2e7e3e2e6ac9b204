"""Features looked up by key, on a running platform: by a program, over the server, and on the page."""

import re
from pathlib import Path
from typing import Any

import httpx
import pytest

import loopwright as lw
from loopwright.server.supervisor import Supervisor
from tests.docs.pages import DOCS, run_commands, runs, write_files
from tests.waiting import PATIENCE_S, wait_until

pytestmark = pytest.mark.slow
OWN_DATA = DOCS / "how-to" / "bring-your-own-data.md"
ROW = {"order_id": "new", "customer": "c7", "amount": 60.0, "country": "de"}


@pytest.fixture(scope="module")
def orders(platform: Supervisor, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The project of the how-to, trained and live."""
    folder: Path = tmp_path_factory.mktemp("orders")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        make_rows, _ = write_files(OWN_DATA, folder)
        exec(compile(make_rows.read_text(), str(make_rows), "exec"), {})
        for kind, body in runs(OWN_DATA):
            if kind != "python":
                run_commands(body, folder)
    wait_until(lambda: "returns" in str(httpx.get(f"{platform.gateway_url}/healthz").json()["releases"]))
    return lw.connect(project="orders")


def test_a_program_the_server_and_the_page_find_the_same(orders: Any) -> None:
    deployment = orders.deployment("returns")
    (found,) = deployment.features([ROW])
    names = [
        *("amount", "country", "customer_share_30d"),
        "customer_share_90d",
        "customer_known_30d",
        "customer_known_90d",
    ]
    assert list(found.values) == names
    assert (found.values["amount"], found.values["country"]) == (60.0, "de")
    assert found.values["customer_known_90d"] > 0
    assert 0 < found.ages_s["customer_known_90d"] < 90 * 86_400
    (predicted,) = deployment.predict([ROW])
    logged = orders.call("loop.why", prediction_id=predicted["prediction_id"]).nodes[0].details["features"]
    assert {name: logged[name] for name in names} == found.values

    (by_server,) = orders.call("features.look_up", deployment="returns", rows=[ROW])
    assert by_server.values == found.values

    url = f"{orders.caller.url}/p/orders/features"
    asked = {"deployment": "returns", "key.customer": "c7"}
    told = httpx.get(f"{url}.json", params=asked, timeout=PATIENCE_S).json()
    assert {one["name"]: one["value"] for one in told["lookup"]["features"]} == {
        name: value for name, value in found.values.items() if name.startswith("customer")
    }
    assert told["lookup"]["left_out"] == {"no row carries amount, country": ["amount", "country"]}
    page = httpx.get(url, params=asked, timeout=PATIENCE_S).text
    assert re.search(r"customer_known_90d</th><td[^>]*>\d+</td><td[^>]*>\d+ (min|h|d)</td>", page), page
    strange = httpx.get(url, params={**asked, "at": "2013-03-01"}, timeout=PATIENCE_S).text
    assert "NOT_FOUND" in strange
    assert "nothing was known of this key by then" in strange
    future = httpx.get(url, params={**asked, "at": "2100-01-01"}, timeout=PATIENCE_S)
    assert (future.status_code, "this moment is out of range" in future.text) == (200, True)
    unread = httpx.get(url, params={**asked, "at": "soon"}, timeout=PATIENCE_S)
    assert unread.status_code == 200
    assert "no_such" in httpx.get(url, params={**asked, "deployment": "no_such"}, timeout=PATIENCE_S).text
