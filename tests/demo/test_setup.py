"""What the demo says while it sets up."""

from loopwright.demo.setup import tell_first
from loopwright.registry import ModelVersion, Signature


def version(number: int, refit_of: int | None) -> ModelVersion:
    return ModelVersion("late", number, "lightgbm", [], "", Signature([], "binary"), {}, refit_of=refit_of)


def test_why_the_first_model_that_serves_is_version_two() -> None:
    told = tell_first(version(2, 1), "person:demo")
    assert told.startswith("version 2 of late, trained on January and February, approved by person:demo, serves from")
    assert "version 1 passed the gates on rows that were held out; version 2 repeats its recipe on all rows" in told
    assert "version 1" not in tell_first(version(2, None), "you")
