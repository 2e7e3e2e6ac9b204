"""Arguments of a call: what comes as JSON is what the verb takes, or an error that names it."""

import json
from typing import Any

import pytest

from loopwright.governance import arguments, check_arguments, find_verb, read_arguments
from loopwright.kernel.errors import InvalidInput
from loopwright.kernel.verbs import VERBS


@pytest.mark.parametrize(
    ("verb", "sent"),
    [
        ("tracking.start_run", {"experiment": "late", "params": {"rate": 0.1}, "inputs": ["dataset:x/1"]}),
        ("tracking.start_run", {"experiment": "late", "environment": None}),
        ("tracking.log", {"run_id": "run_x", "metrics": {"loss": 0.5, "odd": "inf"}, "step": 3}),
        ("tracking.log_batch", {"run_id": "run_x", "metrics": [{"key": "loss", "value": 1, "step": 2}]}),
        ("audit.list", {"limit": 7, "before": None}),
        ("tokens.create", {"actor": "person:ana", "role": "viewer"}),
        ("projects.list", {}),
    ],
)
def test_a_body_is_read_as_its_builtins_are(verb: str, sent: dict[str, Any]) -> None:
    called = find_verb(verb)
    assert read_arguments(called, json.dumps(sent).encode()) == check_arguments(called, sent)


def test_what_a_step_returned_and_the_levels_of_a_model_stay_as_they_are() -> None:
    """They are kept as JSON alone; a NUL in one row of many would else end every training on them."""
    signature = {"inputs": [{"name": "carrier", "kind": "category", "categories": ["A\0A"]}], "task": "binary"}
    model = {"model": "late", "flavour": "constant", "files": [], "signature": signature}
    body = json.dumps(model).encode()
    assert read_arguments(find_verb("registry.register"), body)["signature"].inputs[0].categories == ["A\0A"]
    claim = {"execution_id": "exe_1", "round": 1, "attempt": 1}
    ended = [{"step": "load", "attempt": 1, "output": {"first": "A\0A"}}]
    sent = {"claim": claim, "environment": "e", "free": 1, "running": [], "ended": ended}
    assert check_arguments(find_verb("pipelines.advance"), sent)["ended"][0].output == {"first": "A\0A"}
    with pytest.raises(InvalidInput, match="a NUL"):
        check_arguments(find_verb("pipelines.advance"), {**sent, "running": ["A\0A"]})


def test_an_empty_body_holds_no_arguments() -> None:
    assert read_arguments(find_verb("projects.list"), b"") == {}


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b"{", "body"),
        (b"[]", "body"),
        (b"\xff", "body"),
        (b"[" * 100_000, "body"),
        (b'{"experiment": 3}', "experiment"),
        (b'{"experiment": "a", "params": []}', "params"),
        (b'{"experiment": "a", "naem": "b"}', "naem"),
        (b"{}", "experiment"),
        (b'{"experim\xffnt": "a"}', "body"),
        (b'{"experiment": "\xff"}', "body"),
        (b'{"experiment": "a\\u0000b"}', "experiment"),
        (b'{"experiment": "a", "params": {"\\u0000": 1}}', "params"),
        (b'{"experiment": "a", "params": {"depth": [9223372036854775808]}}', "params"),
        (b'{"experiment": "a", "params": {"depth": -9223372036854775809}}', "params"),
    ],
)
def test_what_does_not_fit_is_named(body: bytes, field: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        read_arguments(find_verb("tracking.start_run"), body)
    assert refused.value.field == field


@pytest.mark.parametrize(
    ("verb", "sent", "field"),
    [
        (
            "tracking.start_run",
            {"experiment": "late", "params": {f"p{number}": 1 for number in range(10_001)}},
            "params",
        ),
        ("tracking.set_tags", {"run_id": "run_x", "tags": {f"t{number}": "x" for number in range(10_001)}}, "tags"),
        ("jobs.list", {"states": ["x"] * 10_001}, "states"),
        ("jobs.list", {"states": ["a state"] * 100_001}, "states"),
    ],
)
def test_an_argument_has_no_more_entries_than_a_call_gets_done_with(verb: str, sent: Any, field: str) -> None:
    with pytest.raises(InvalidInput, match="too many entries") as refused:
        read_arguments(find_verb(verb), json.dumps(sent).encode())
    assert refused.value.field == field


@pytest.mark.parametrize("verb", ["blobs.keep", "data.start_import"])
def test_no_blob_has_less_than_no_bytes(verb: str) -> None:
    named = [{"digest": "a" * 64, "size_bytes": -1}]
    with pytest.raises(InvalidInput, match=r"size_bytes.*field: blobs"):
        check_arguments(find_verb(verb), {"blobs": named})


@pytest.mark.parametrize(
    ("verb", "sent", "field"),
    [
        (
            "tracking.log_batch",
            {"run_id": "r", "metrics": [{"key": "a", "value": 1}, {"key": "b", "value": 2, "stp": 3}]},
            "metrics[1].stp",
        ),
        ("monitoring.declare", {"deployment": "late", "spec": {"every_us": 60_000_000, "persits": 3}}, "spec.persits"),
        (
            "loop.plan",
            {
                "spec": {
                    "name": "late",
                    "datasets": [
                        {
                            "name": "d",
                            "source": {"kind": "csv", "pth": "x"},
                            "key": ["id"],
                            "time": "at",
                            "known_at": {"y": {"column": "at", "after": 5}},
                        }
                    ],
                }
            },
            "spec.datasets[0].source.pth",
        ),
    ],
)
def test_a_field_that_nothing_reads_is_named_wherever_it_stands(verb: str, sent: dict[str, Any], field: str) -> None:
    for read in (
        lambda: read_arguments(find_verb(verb), json.dumps(sent).encode()),
        lambda: check_arguments(find_verb(verb), sent),
    ):
        with pytest.raises(InvalidInput, match="nothing reads the field") as refused:
            read()
        assert refused.value.field == field
        assert refused.value.next_step


def test_a_newer_part_of_the_platform_may_say_more_than_is_read() -> None:
    trouble = {"kind": "disk", "message": "full", "since": 1, "what_comes_later": 1}
    said = {"gateway": "g", "address": "http://g", "position": 1, "troubles": [trouble]}
    called = find_verb("serving.acknowledge")
    assert check_arguments(called, said) == read_arguments(called, json.dumps(said).encode())


def test_what_the_platform_says_itself_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks and leases come by the thousand: reading a body again is for those whose fields are looked at."""
    monkeypatch.setattr(arguments, "from_json", None)
    said = json.dumps({"gateway": "g", "address": "http://g", "position": 1, "troubles": []}).encode()
    assert read_arguments(find_verb("serving.acknowledge"), said)["gateway"] == "g"


def test_the_largest_numbers_and_what_only_looks_like_a_nul_are_taken() -> None:
    body = (
        b'{"experiment": "a", "params": {"least": -9223372036854775808, "most": 9223372036854775807, "x": "\\\\u0000"}}'
    )
    params = read_arguments(find_verb("tracking.start_run"), body)["params"]
    assert params == {"least": -(2**63), "most": 2**63 - 1, "x": "\\u0000"}


def test_a_limit_is_not_negative_either_way() -> None:
    for called in VERBS.values():
        if "limit" in called.parameters and not called.is_operation:
            with pytest.raises(InvalidInput):
                read_arguments(called, b'{"limit": -1}')
