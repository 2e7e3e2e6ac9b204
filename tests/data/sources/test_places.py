"""Sources: files, folders, globs; and what is said when nothing can be read."""

import contextlib
import tempfile
from pathlib import Path

import polars as pl
import pytest

from loopwright.data import SourceSpec, sources
from loopwright.data.sources import SourceRoots, find_files
from loopwright.kernel.errors import InvalidInput


def open_source(source: SourceSpec) -> pl.LazyFrame:
    scratch = Path(tempfile.mkdtemp())
    above = Path(source.location.split("*")[0].split("[")[0]).parent.parent
    return sources.open_files(find_files(source, SourceRoots([above])), sources.Asked(source, scratch))


def test_a_folder_a_glob_and_a_file_are_read_in_order(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    pl.DataFrame({"a": [2]}).write_parquet(tmp_path / "deep" / "2.parquet")
    pl.DataFrame({"a": [1], "__index_level_0__": [0]}).drop("__index_level_0__").write_parquet(tmp_path / "1.parquet")
    assert open_source(SourceSpec("parquet", str(tmp_path))).collect()["a"].to_list() == [1, 2]
    assert open_source(SourceSpec("parquet", str(tmp_path / "1.parquet"))).collect()["a"].to_list() == [1]
    assert open_source(SourceSpec("parquet", str(tmp_path / "*.parquet"))).collect()["a"].to_list() == [1]
    for glob in ("*/2.parquet", "d[e]ep/2.parquet", "**/2.parquet"):
        assert open_source(SourceSpec("parquet", str(tmp_path / glob))).collect()["a"].to_list() == [2], glob


def test_what_cannot_be_read_is_said_plainly(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="no file is there"):
        open_source(SourceSpec("parquet", str(tmp_path / "gone")))
    with pytest.raises(InvalidInput, match="no file is there"):
        open_source(SourceSpec("csv", str(tmp_path)))
    (tmp_path / "bad.parquet").write_text("not Parquet at all, whatever its name says")
    with pytest.raises(InvalidInput, match="cannot be read") as refused:
        open_source(SourceSpec("parquet", str(tmp_path / "bad.parquet")))
    assert "\n" not in refused.value.message


def test_only_what_an_operator_listed_is_read(tmp_path: Path) -> None:
    inside, outside, state = (tmp_path / name for name in ("inside", "outside", "inside/state"))
    for folder in (inside / "deep", outside, state / "listed", inside / ".hidden"):
        folder.mkdir(parents=True, exist_ok=True)
        pl.DataFrame({"a": [1]}).write_parquet(folder / "1.parquet")
    (inside / "deep" / "link.parquet").symlink_to(outside / "1.parquet")
    (inside / "away").symlink_to(outside)
    roots = SourceRoots([inside], [state])

    def lies_outside(location: Path | str, roots: SourceRoots = roots) -> bool:
        with contextlib.suppress(InvalidInput):
            find_files(SourceSpec("parquet", str(location)), roots)
            return False
        with pytest.raises(InvalidInput, match="this path leads to where sources may not lie"):
            find_files(SourceSpec("parquet", str(location)), roots)
        return True

    assert not lies_outside(inside / "deep" / "1.parquet")
    for location in (
        outside / "1.parquet",
        outside / "gone.parquet",
        "/",
        "/*/*.parquet",
        inside / "deep",
        inside / "deep" / "link.parquet",
        inside / "away",
        inside / "away" / "1.parquet",
        inside / "a*" / "*.parquet",
        inside / "deep" / ".." / "deep" / "1.parquet",
        inside / ".hidden" / "1.parquet",
        inside / "**" / "*.parquet",
        state / "1.parquet",
        state / "listed" / "1.parquet",
    ):
        assert lies_outside(location), location
    assert not lies_outside(state / "listed", SourceRoots([inside, state / "listed"], [state]))
    assert lies_outside("/proc/self/environ", SourceRoots([Path("/")]))


def test_a_closed_file_is_closed_under_every_name(tmp_path: Path) -> None:
    """As on a disk that takes no notice of case, where no text tells that two names are one file."""
    root, closed = tmp_path / "data", tmp_path / "closed"
    for folder in (root, closed):
        folder.mkdir()
        (folder / "1.csv").write_text("a\n1\n")
    (root / "Keys.csv").hardlink_to(closed / "1.csv")
    roots = SourceRoots([root], [closed / "1.csv"])
    assert roots.strayed([root / "1.csv", root / "Keys.csv", closed / "1.csv"]) == [root / "Keys.csv", closed / "1.csv"]
    assert SourceRoots([root], [closed]).hold(root / "1.csv")
    assert not SourceRoots([root], [root]).hold(root / "1.csv")


def test_a_link_beside_its_file_is_no_other_file_and_what_is_no_path_is_told(tmp_path: Path) -> None:
    (tmp_path / "rows").mkdir()
    (tmp_path / "rows" / "a.csv").write_text("id\n1\n")
    (tmp_path / "rows" / "b.csv").symlink_to(tmp_path / "rows" / "a.csv")
    roots = SourceRoots([tmp_path])
    assert find_files(SourceSpec("csv", str(tmp_path / "rows")), roots) == [tmp_path / "rows" / "a.csv"]
    for location in (f"{tmp_path}/rows/a**.csv", f"{tmp_path}/\0", f"{tmp_path}/{'x' * 5000}"):
        with pytest.raises(InvalidInput, match=r"source.location"):
            find_files(SourceSpec("csv", location), roots)


def test_folders_tell_columns_to_a_glob_too(tmp_path: Path) -> None:
    for region in ("eu", "us"):
        (tmp_path / "sales" / f"region={region}").mkdir(parents=True)
        pl.DataFrame({"id": [1]}).write_parquet(tmp_path / "sales" / f"region={region}" / "1.parquet")
    for glob in ("sales/region=*/*.parquet", "sales/*/*.parquet", "sales"):
        rows = open_source(SourceSpec("parquet", str(tmp_path / glob))).collect()
        assert sorted(rows["region"].to_list()) == ["eu", "us"], glob
