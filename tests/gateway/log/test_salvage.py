"""Rows of segments that were put aside come back, as far as they can be read."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from loopwright.cli.main import cli
from loopwright.gateway.log.batches import Batch, Layout, StreamKey
from loopwright.gateway.log.salvage import readable_after_damage, salvage_spools
from loopwright.gateway.log.segments import read_segment
from loopwright.gateway.log.spool import Spool
from loopwright.gateway.process import hold_gateway
from loopwright.kernel.errors import Unavailable

KEY = StreamKey("flights", "labels", "late")
LAYOUT = Layout((("label_id", "str"), ("label", "f64")))
OTHER = Layout((("label_id", "str"), ("label_text", "str")))


def written(root: Path, *ids: str, layout: Layout = LAYOUT) -> Path:
    spool = Spool(root)
    for id in ids:
        spool.append(KEY, [Batch(layout, 1, [[id], [1.0 if layout is LAYOUT else "yes"]])])
    spool.close()
    stream = spool.streams[KEY]
    return stream.path(stream.number)


def ids_in(batches: list[Batch]) -> list[str]:
    return [id for batch in batches for id in batch.columns[0]]


@pytest.mark.parametrize("place", range(8))
def test_every_record_behind_a_damage_is_found(tmp_path: Path, place: int) -> None:
    path = written(tmp_path, *"abcdef")
    body = bytearray(path.read_bytes())
    at = body.index(b"\xa1c") - place
    body[at] ^= 0xFF
    path.write_bytes(body)
    batches, lost_bytes = readable_after_damage(path)
    assert ids_in(batches) == ["d", "e", "f"]
    assert 0 < lost_bytes < 60


def test_a_whole_segment_is_put_back_whole(tmp_path: Path) -> None:
    batches, lost_bytes = readable_after_damage(written(tmp_path, *"abc"))
    assert (ids_in(batches), lost_bytes) == (["a", "b", "c"], 0)


def test_what_has_no_layout_any_more_is_lost_and_counted(tmp_path: Path) -> None:
    path = written(tmp_path, "a", "b")
    path.write_bytes(b"\xff" * 12 + path.read_bytes()[12:])
    batches, lost_bytes = readable_after_damage(path)
    assert (batches, lost_bytes) == ([], path.stat().st_size)


def test_salvaged_rows_are_in_the_spool_again_once(tmp_path: Path) -> None:
    root = tmp_path / "gateway-0" / "spool"
    path = written(root, *"abcd")
    path.write_bytes(path.read_bytes().replace(b"\xa1b", b"\xa1B"))
    Spool(root).close()
    [told] = salvage_spools(tmp_path)
    assert (told.segment, told.rows) == ("gateway-0/spool/flights/labels/late/000000000001.bad", 2)
    assert told.lost_bytes > 0
    assert salvage_spools(tmp_path) == []
    spool = Spool(root)
    stream = spool.streams[KEY]
    segments = [read_segment(stream.path(number)).batches for number in stream.closed()]
    assert [ids_in(batches) for batches in segments] == [["a"], ["c", "d"]]
    assert (spool.kept_aside, spool.strangers) == ([], [])
    spool.close()


def test_nothing_is_salvaged_beside_a_gateway_that_runs(tmp_path: Path) -> None:
    folder = tmp_path / "gateway-1"
    (folder / "spool/flights/labels/late").mkdir(parents=True)
    (folder / "spool/flights/labels/late/000000000001.bad").write_bytes(b"")
    with hold_gateway(folder, 0.0), pytest.raises(Unavailable, match="another gateway"):
        salvage_spools(tmp_path)


def test_the_command_salvages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOOPWRIGHT_STATE", str(tmp_path))
    answer = CliRunner().invoke(cli, ["salvage"], catch_exceptions=False)
    assert answer.output == "nothing was set aside\n"
