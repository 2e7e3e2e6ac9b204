"""Sources: files, folders, globs; and what is said when nothing can be read."""

import contextlib
import tempfile
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from loopwright.data import SourceSpec, sources
from loopwright.data.sources import SourceRoots, find_files, places
from loopwright.kernel.errors import InvalidInput


def open_source(source: SourceSpec, above: Path | None = None) -> pl.DataFrame:
    scratch = Path(tempfile.mkdtemp())
    above = above or Path(source.location.split("*")[0].split("[")[0]).parent.parent
    with find_files(source, SourceRoots([above])) as files:
        return sources.open_files(files, sources.Asked(source, scratch)).collect()


def found_in(source: SourceSpec, roots: SourceRoots) -> list[Path]:
    with find_files(source, roots) as files:
        return [file.shown for file in files]


def test_a_folder_a_glob_and_a_file_are_read_in_order(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    pl.DataFrame({"a": [2]}).write_parquet(tmp_path / "deep" / "2.parquet")
    pl.DataFrame({"a": [1], "__index_level_0__": [0]}).drop("__index_level_0__").write_parquet(tmp_path / "1.parquet")
    assert open_source(SourceSpec("parquet", str(tmp_path)))["a"].to_list() == [1, 2]
    assert open_source(SourceSpec("parquet", str(tmp_path / "1.parquet")))["a"].to_list() == [1]
    assert open_source(SourceSpec("parquet", str(tmp_path / "*.parquet")))["a"].to_list() == [1]
    for glob in ("*/2.parquet", "d[e]ep/2.parquet", "**/2.parquet"):
        assert open_source(SourceSpec("parquet", str(tmp_path / glob)))["a"].to_list() == [2], glob


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
            found_in(SourceSpec("parquet", str(location)), roots)
            return False
        with pytest.raises(InvalidInput, match="this path leads to where sources may not lie"):
            found_in(SourceSpec("parquet", str(location)), roots)
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
    assert found_in(SourceSpec("csv", str(tmp_path / "rows")), roots) == [tmp_path / "rows" / "a.csv"]
    for location in (f"{tmp_path}/rows/a**.csv", f"{tmp_path}/\0", f"{tmp_path}/{'x' * 5000}"):
        with pytest.raises(InvalidInput, match=r"source.location"):
            found_in(SourceSpec("csv", location), roots)


def test_folders_tell_columns_to_a_glob_too(tmp_path: Path) -> None:
    for region in ("eu", "us"):
        (tmp_path / "sales" / f"region={region}").mkdir(parents=True)
        pl.DataFrame({"id": [1]}).write_parquet(tmp_path / "sales" / f"region={region}" / "1.parquet")
    for glob in ("sales/region=*/*.parquet", "sales/*/*.parquet", "sales"):
        rows = open_source(SourceSpec("parquet", str(tmp_path / glob)))
        assert sorted(rows["region"].to_list()) == ["eu", "us"], glob


KINDS: dict[str, Callable[[pl.DataFrame, Path], object]] = {
    "csv": pl.DataFrame.write_csv,
    "jsonl": pl.DataFrame.write_ndjson,
    "arrow": pl.DataFrame.write_ipc,
    "parquet": pl.DataFrame.write_parquet,
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["*", "**", "[a-z]*", "?????", "{own,other}"])
def test_a_name_stands_for_itself_alone(tmp_path: Path, kind: str, name: str) -> None:
    """Who may write below a root makes a folder whose name a reader would take for all its siblings."""
    mine, other = tmp_path / "root" / name, tmp_path / "root" / "other"
    for folder, value in ((mine, "mine"), (other, "theirs"), (tmp_path / "outside", "secret")):
        folder.mkdir(parents=True)
        KINDS[kind](pl.DataFrame({"a": [value]}), folder / f"x.{kind}")
    (tmp_path / "root" / "up").symlink_to(tmp_path)
    (mine / "outside").mkdir()
    KINDS[kind](pl.DataFrame({"a": ["mine"]}), mine / "outside" / f"x.{kind}")
    for location in (mine / f"x.{kind}", mine / "outside" / f"x.{kind}", mine):
        rows = open_source(SourceSpec(kind, str(location)), tmp_path / "root")
        assert set(rows["a"]) == {"mine"}, location


def test_a_link_that_is_turned_between_the_check_and_the_read_leads_nowhere_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside.csv"
    root.mkdir()
    (root / "fine.csv").write_text("a\n1\n")
    outside.write_text("a\nsecret\n")
    link, spec = root / "link.csv", SourceSpec("csv", str(root / "link.csv"))
    link.symlink_to(root / "fine.csv")

    def turn(to: Path) -> None:
        (root / ".turned").symlink_to(to)
        (root / ".turned").replace(link)

    # After the file was found and before it is read: what was checked is what is read.
    with find_files(spec, SourceRoots([root])) as files:
        turn(outside)
        assert sources.open_files(files, sources.Asked(spec, Path(tempfile.mkdtemp()))).collect()["a"].to_list() == [1]
    # Between the look at the path and the opening: what is opened is looked at.
    turn(root / "fine.csv")
    looked = places.SourceRoots.hold

    def hold(roots: SourceRoots, path: Path) -> bool:
        held = looked(roots, path)
        turn(outside)
        return held

    monkeypatch.setattr(places.SourceRoots, "hold", hold)
    with pytest.raises(InvalidInput, match="this path leads to where sources may not lie"):
        found_in(spec, SourceRoots([root]))


def test_no_name_is_resolved_again_once_it_was_let_through(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whichever call of a path a link is turned in, nothing outside is opened for reading."""
    root, outside = tmp_path / "root", tmp_path / "outside.csv"
    root.mkdir()
    (root / "fine.csv").write_text("a\n1\n")
    outside.write_text("a\nsecret\n")
    link, spec = root / "link.csv", SourceSpec("csv", str(root / "link.csv"))
    resolve, seen = Path.resolve, 0

    def turned(path: Path, strict: bool = False) -> Path:
        nonlocal seen
        seen += 1
        link.unlink(missing_ok=True)
        link.symlink_to(root / "fine.csv" if seen <= turn_at else outside)
        return resolve(path, strict)

    link.symlink_to(root / "fine.csv")
    for turn_at in range(12):
        seen = 0
        with monkeypatch.context() as patch, contextlib.suppress(InvalidInput):
            patch.setattr(Path, "resolve", turned)
            with find_files(spec, SourceRoots([root])) as files:
                assert [file.path.read_text() for file in files] == ["a\n1\n"], turn_at
