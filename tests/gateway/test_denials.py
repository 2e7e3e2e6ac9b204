"""Calls that a gateway refused reach the event log, within bounds, and later where no server answers."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from loopwright.gateway.denials import MOST_WAITING, Denials
from loopwright.governance import GATEWAY, LOCAL_ACTOR, SYSTEM, Dispatcher, Token
from loopwright.kernel.clock import FixedClock
from loopwright.kernel.documents import digest_bytes, from_json, to_json
from loopwright.kernel.errors import Unavailable
from loopwright.kernel.verbs import Role
from loopwright.wire.addresses import Addresses
from loopwright.wire.caller import VerbCaller
from loopwright.wire.line import TIMEOUT_S
from tests.gateway.asking import PREDICT, ask, served

EVE = Token("tok_eve", "person:eve", "flights", Role.VIEWER, 0, None, None)


class Line:
    """Carries calls to a dispatcher, as a gateway makes them; may be cut."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        self.dispatcher, self.is_cut = dispatcher, False

    def post(
        self, url: str, body: bytes = b"", *, headers: Mapping[str, str] | None = None, timeout_s: float = TIMEOUT_S
    ) -> bytes:
        if self.is_cut:
            raise Unavailable("the server does not answer")
        project, _, verb = url.split("/")[-3:]
        args = from_json(body, dict[str, Any])
        return to_json(self.dispatcher.call(verb, args, actor=GATEWAY, project=project))


@pytest.fixture
def line(dispatcher: Dispatcher) -> Line:
    return Line(dispatcher)


@pytest.fixture
def control(line: Line) -> VerbCaller:
    return VerbCaller(Addresses("http://server"), line)


def told(line: Line, project: str = "flights") -> list[tuple[str, str, str]]:
    args = {"type_prefix": "access.", "limit": 1000}
    listed = line.dispatcher.call("audit.list", args, actor=LOCAL_ACTOR, project=project)
    return sorted((event.actor, event.payload["verb"], event.payload["client"]) for event in listed)


def test_wrong_tokens_wrong_projects_and_weak_roles_are_told_once(
    line: Line, control: VerbCaller, call: Any, tmp_path: Path
) -> None:
    secrets = {name: call("tokens.create", actor=f"person:{name}", role=name) for name in ("viewer", "editor")}
    for gateway in served(tmp_path, is_open=False):
        keeper = gateway._life.keeper  # type: ignore[attr-defined]
        keeper.known.tokens = {digest_bytes(made.secret.encode()): made.token for made in secrets.values()}
        keeper.known.clocks = {"flights": "wall"}
        viewer, editor = (secrets[name].secret for name in ("viewer", "editor"))
        labels, push = "/v1/flights/deployments/late/labels", "/v1/flights/datasets/rows/push"
        for _ in range(2):
            assert [ask(gateway, path, viewer).status_code for path in (labels, push)] == [403, 403]
            assert [ask(gateway, path, "lwt_guess").status_code for path in (PREDICT, labels, push)] == [401] * 3
            assert ask(gateway, PREDICT, client="10.0.0.9").status_code == 401
            assert ask(gateway, "/v2/models/late/infer", "lwt_guess").status_code == 401
            assert ask(gateway, "/v1/other/deployments/late/predict", editor).status_code == 403
            assert ask(gateway, "/internal/seal", editor).status_code == 403
            assert ask(gateway, "/healthz", "lwt_guess").status_code == 200
        keeper._control = control
        keeper._tell_denials(control, keeper.known.clocks)
    here = "127.0.0.1"
    assert told(line) == [
        ("person:viewer", "labels", here),
        ("person:viewer", "push", here),
        *(("stranger", verb, here) for verb in ("labels",)),
        ("stranger", "predict", "10.0.0.9"),
        ("stranger", "predict", here),
        ("stranger", "push", here),
    ]
    above = [("person:editor", "internal", here), ("person:editor", "predict", here), ("stranger", "infer", here)]
    assert told(line, SYSTEM) == above


def test_a_flood_of_strangers_fills_nothing_and_hides_nobody(line: Line, control: VerbCaller, wall: FixedClock) -> None:
    denials = Denials(wall, lambda: 1e6)
    for number in range(10_000):
        denials.note(None, "predict", f"made_up_{number}", f"10.0.{number // 250}.{number % 250}")
    denials.note(EVE, "labels", "flights", "10.1.1.1")
    denials.send(control, {"flights"})
    assert len(told(line, SYSTEM)) == 60
    assert told(line) == [("stranger", "labels", "10.1.1.1")]  # no server here knows her token


def test_what_no_server_took_is_told_later_as_far_as_it_is_kept(
    line: Line, control: VerbCaller, wall: FixedClock, caplog: pytest.LogCaptureFixture
) -> None:
    now_s = 1e6
    denials = Denials(wall, lambda: now_s)
    line.is_cut = True
    for number in range(MOST_WAITING + 10):
        now_s += 1
        denials.note(None, "predict", "flights" if number % 2 else "deleted", f"10.0.0.{number}")
    with pytest.raises(Unavailable):
        denials.send(control, {"flights", "deleted"})
    line.is_cut = False
    denials.send(control, {"flights", "deleted"})
    assert len(told(line)) == len(told(line, SYSTEM)) == MOST_WAITING // 2
    assert caplog.text.count("could not be told to the server") == 10
    denials.send(control, {"flights"})
    assert len(told(line)) == MOST_WAITING // 2


def test_a_name_that_no_database_takes_keeps_no_other_call_from_being_told(line: Line, control: VerbCaller) -> None:
    denials = Denials(FixedClock(1))
    denials.note(EVE, "predict", "a\0b", "10.0.0.1")
    denials.note(EVE, "predict", "flights", "10.0.0.1")
    denials.send(control, {"flights"})
    assert [verb for _, verb, _ in told(line, SYSTEM)] == ["predict"]
    assert [verb for _, verb, _ in told(line)] == ["predict"]
