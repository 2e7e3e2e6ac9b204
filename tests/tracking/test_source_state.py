"""The commit of a run, and what differs from it."""

import subprocess
from pathlib import Path

import pytest

from loopwright.tracking import SourceState, read_source_state


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "a.py").write_text("1")
    for command in ("init -q", "add a.py", "-c user.name=a -c user.email=a@b commit -qm first"):
        subprocess.run(["git", *command.split()], cwd=folder, check=True)
    return folder


def test_a_clean_commit(repository: Path) -> None:
    state = read_source_state(repository, "d" * 64)
    assert len(state.commit) == 40
    assert (state.is_dirty, state.patch_digest, state.code_digest) == (False, "", "d" * 64)


def test_changes_and_new_files_make_another_digest(repository: Path) -> None:
    (repository / "a.py").write_text("2")
    changed = read_source_state(repository)
    (repository / "b.py").write_text("3")
    added = read_source_state(repository)
    (repository / "b.py").write_text("4")
    edited = read_source_state(repository)
    assert changed.is_dirty
    assert len({changed.patch_digest, added.patch_digest, edited.patch_digest}) == 3
    assert read_source_state(repository) == edited


def test_a_folder_that_git_ignores_is_in_no_commit(repository: Path) -> None:
    (repository / ".gitignore").write_text("state/\n")
    inner = repository / "state" / "project"
    inner.mkdir(parents=True)
    (inner / "flights.py").write_text("1")
    assert read_source_state(inner, "d" * 64) == SourceState(code_digest="d" * 64)


def test_outside_git_there_is_no_commit(tmp_path: Path) -> None:
    assert read_source_state(tmp_path) == SourceState()
    assert read_source_state(tmp_path / "nowhere") == SourceState()
