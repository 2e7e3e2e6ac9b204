"""What the commands about serving print."""

import json
from pathlib import Path

import pytest

from loopwright.cli.connection import remote
from loopwright.cli.serving import _class_of, _start_of
from tests.cli.conftest import loopwright
from tests.server.site import Site


def test_a_multiclass_answer_is_shown_as_its_class_and_that_class_probability() -> None:
    told = {"class": "a", "probabilities": {"a": 0.5, "b": 0.3, "c": 0.2}}
    assert _class_of({"score": None, "answer": told}) == {"class": "a", "score": 0.5}
    assert _class_of({"score": 0.7, "answer": None}) == {}
    assert _class_of({"score": 0.7}) == {}


def test_a_model_file_of_any_ending_is_imported_as_the_flavour_it_is_called(
    guarded: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOOPWRIGHT_TOKEN", guarded.tokens["admin"])
    (tmp_path / "old.weights").write_text('{"value": 0.2}')
    arguments = ("import-model", "late", str(tmp_path / "old.weights"), "--task", "regression", "--json")
    version = json.loads(loopwright(*arguments, "--flavour", "constant", "--reason", "the rule of the old system"))
    assert (version["version"], version["flavour"], version["source"]) == (1, "constant", "imported")
    [event] = json.loads(loopwright("call", "audit.list", "type_prefix=registry.model_imported"))
    assert event["reason"] == "the rule of the old system"


def test_rows_are_measured_from_a_moment_or_from_the_registration(
    guarded: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOOPWRIGHT_TOKEN", guarded.tokens["admin"])
    (tmp_path / "rule.json").write_text('{"value": 0.2}')
    arguments = ("import-model", "late", str(tmp_path / "rule.json"), "--task", "regression", "--flavour", "constant")
    version = json.loads(loopwright(*arguments, "--json"))
    assert _start_of(remote(None), "registered", "late", None) == version["event_at"]
    assert _start_of(remote(None), "1970-01-02", "late", None) == 86_400_000_000


def test_a_rollout_that_waits_says_what_an_approver_is_asked(
    guarded: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOOPWRIGHT_TOKEN", guarded.tokens["admin"])
    (tmp_path / "rule.json").write_text('{"value": 0.2}')
    loopwright("import-model", "late", str(tmp_path / "rule.json"), "--task", "regression", "--flavour", "constant")
    spec = {"name": "late", "model": "late", "task": "regression", "approve": {"first": "person", "retrain": "person"}}
    loopwright("call", "serving.declare", f"spec={json.dumps(spec)}")
    told = loopwright("deploy", "late", "--version", "1", "--reason", "the first")
    assert "waits for a person: loopwright approve\nRelease version 1 of late on late" in told
