"""The environment of a run."""

from loopwright.tracking import capture_environment


def test_the_environment_names_what_is_installed() -> None:
    found = capture_environment()
    assert found.packages["msgspec"]
    assert found.python.startswith("3.")
    assert found == capture_environment()
    assert len(found.digest) == 64
