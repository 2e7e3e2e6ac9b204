"""A project as its file declares it; what is wrong in one is told by place, rule and next step."""

import runpy
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import loopwright as lw
from loopwright.cli.project import load_project
from loopwright.client import Project
from loopwright.kernel.clock import DAY_US, HOUR_US
from loopwright.kernel.errors import InvalidInput


def fit(rows: lw.TrainingSet, depth: int = 3, rate: float = 0.1) -> None:
    """A user's function."""


def late(request: pl.DataFrame) -> pl.DataFrame:
    return request.select("km")


@pytest.fixture
def p() -> Project:
    return lw.Project("trips", owner="ana", clock="replay", clock_at="2026-01-01")


@pytest.fixture
def trips(p: Project) -> Any:
    return p.dataset("trips", lw.source.push(), key="trip_id", time="started_at", known_at={"km": "ended_at"})


def test_declaring_twice_replaces_the_draft(p: Project) -> None:
    p.dataset("trips", lw.source.push(), key="a")
    again = p.dataset("trips", lw.source.push(), key=("a", "b"), known_at=lw.after("a", "1h"))
    assert p.draft.declared == {"dataset:trips": again}
    assert again.spec.known_at["*"].after_us == HOUR_US
    assert again.spec.key == ["a", "b"]


def test_a_training_takes_its_params_from_the_function(p: Project, trips: Any) -> None:
    asked = p.on_request(inputs=["km"], outputs=["km"])(late)
    service = p.feature_service("near", [asked], label=trips["km"], task="regression")
    made = p.train(model="near", inputs=service, window="30d", holdout="2d", rate=0.2)(fit)
    assert made.spec.params == {"depth": 3, "rate": 0.2}
    assert (made.spec.window_us, made.spec.holdout_us, made.spec.refit) == (30 * DAY_US, 2 * DAY_US, True)
    blind = p.train(model="near", inputs=service, holdout=None, name="blind", every="30d")(made)
    assert (blind.spec.refit, blind.spec.schedule_us, blind.function) == (False, 30 * DAY_US, fit)
    retrain = lw.Retrain(made, at_most="2 per 5w", when=[lw.when.older_than("60d")])
    deployed = p.deployment("near", model="near", rollout=[lw.Canary([0.1, 0.2], hold="1h")], retrain=retrain)
    assert len(deployed.spec.rollout) == 2
    assert deployed.retrain is not None
    assert (deployed.retrain.train, deployed.retrain.most, deployed.retrain.per_us) == ("fit", 2, 35 * DAY_US)


def test_a_budget_or_training_that_is_none_is_refused(p: Project) -> None:
    with pytest.raises(InvalidInput, match="which training"):
        lw.Retrain("fit", when=[])  # type: ignore[arg-type]
    with pytest.raises(InvalidInput, match="which aggregates"):
        p.aggregates(p.dataset("a", lw.source.push(), key="b"), entity="b", over=["1h"])


def test_a_command_names_its_files(p: Project, trips: Any) -> None:
    out = {"out": lw.model("near", file="model.txt", task="regression")}
    made = p.command(
        "train", "python 'my fit.py' {data} {out}", inputs={"data": trips}, outputs=out, timeout="5m", every="1d"
    )
    assert made.spec.words == ["python", "my fit.py", "{data}", "{out}"]
    assert (made.timeout_s, made.schedule_us) == (300.0, DAY_US)
    for command, match in (
        ("python fit.py {data} {oot}", "nothing is named oot"),
        ("python fit.py {data}", "never names {out}"),
        ("python 'fit.py {data} {out}", "cannot be read"),
        ("", "is empty"),
    ):
        with pytest.raises(InvalidInput, match=match):
            p.command("train", command, inputs={"data": trips}, outputs=out)
    with pytest.raises(InvalidInput, match=r"outputs are made by lw.model"):
        p.command("train", "fit {out}", inputs={}, outputs={"out": "model.txt"})  # type: ignore[dict-item]
    with pytest.raises(InvalidInput, match="used twice"):
        p.command("train", "fit {out}", inputs={"out": trips}, outputs=out)


FILES = {
    "two projects": ('import loopwright as lw\np = lw.Project("a")\nq = lw.Project("b")\n', "declares 2 projects"),
    "no project": ("import loopwright as lw\n", "declares 0 projects"),
    "a wrong duration": (
        'import loopwright as lw\np = lw.Project("a")\nmonitor = lw.Monitor(every="1 day")\n',
        "project.py:3 every",
    ),
    "an unknown keyword": (
        'import loopwright as lw\np = lw.Project("a")\np.dataset("b", lw.source.push(), keys="c")\n',
        "unexpected keyword argument 'keys'.*project.py:3",
    ),
    "an unknown name": ("import loopwright as lw\np = lw.Projekt('a')\n", "no attribute 'Projekt'.*project.py:2"),
    "no Python": ("import loopwright as lw\np = lw.Project('a'\n", "cannot be read"),
}


@pytest.mark.parametrize("name", FILES)
def test_a_typo_in_a_project_file_is_told_with_its_line(name: str, tmp_path: Path) -> None:
    text, told = FILES[name]
    file = tmp_path / "project.py"
    file.write_text(text)
    with pytest.raises(InvalidInput, match=told) as caught:
        load_project(file)
    assert "Traceback" not in str(caught.value)


def test_retention_is_declared_by_kind_or_for_one_stream() -> None:
    p = lw.Project("churn", retention={"predictions": "180d", "predictions:late": "forever", "points": "90d"})
    spec, _ = p.draft.to_spec()
    assert [(each.kind, each.stream, each.keep_us) for each in spec.retentions] == [
        ("predictions", "", 180 * DAY_US),
        ("predictions", "late", None),
        ("points", "", 90 * DAY_US),
    ]
    for declared, message in (({"rows": "90d"}, "no rows of this kind"), ({"labels": "3h"}, "a day at least")):
        with pytest.raises(InvalidInput, match=message):
            lw.Project("churn", retention=declared)


def test_the_folder_of_a_project_is_that_of_its_file_whatever_it_is_called(tmp_path: Path) -> None:
    file = tmp_path / "loopwright" / "src" / "trips.py"
    file.parent.mkdir(parents=True)
    file.write_text("import loopwright as lw\np = lw.Project('trips', owner='ana')\n")
    assert runpy.run_path(str(file))["p"].draft.folder == file.parent
