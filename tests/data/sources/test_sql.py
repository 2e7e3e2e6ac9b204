"""Rows of databases: as they are typed there, some at a time, in a transaction that only reads; what fails is told."""

import sqlite3
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import psycopg
import pytest

from loopwright.data import SourceSpec
from loopwright.data.sources import sql
from loopwright.kernel.errors import InvalidInput, Unavailable
from tests.servers import free_port


def fetched(url: str, query: str, folder: Path, since: Any = None, **more: Any) -> pl.DataFrame:
    (into := folder / f"into-{len(list(folder.iterdir()))}").mkdir()
    return pl.read_parquet(sql.fetch(url, SourceSpec("sql", "warehouse", query=query, **more), since, into))


@pytest.fixture
def sqlite(tmp_path: Path) -> str:
    with sqlite3.connect(tmp_path / "shop.db") as database:
        database.execute("CREATE TABLE orders (id INTEGER, total REAL, country TEXT, changed INTEGER)")
        rows = [(n, n / 4, None if n % 10 == 0 else "de", 1000 + n) for n in range(1, 301)]
        database.executemany("INSERT INTO orders VALUES (?, ?, ?, ?)", rows)
    return f"sqlite:///{tmp_path / 'shop.db'}"


@pytest.fixture
def warehouse(postgres_url: str) -> str:
    url = postgres_url.replace("postgresql+psycopg://", "postgresql://")
    with psycopg.connect(url) as database:
        database.execute(
            "CREATE TABLE IF NOT EXISTS sales (id bigint, price numeric, at timestamptz, local timestamp, day date,"
            " kind text, ok boolean, key uuid, note jsonb)"
        )
        database.execute(
            "INSERT INTO sales SELECT n, n / 8.0, '2024-03-01 10:00+01'::timestamptz + n * interval '1 minute',"
            " '2024-03-01 10:00'::timestamp + n * interval '1 minute', '2024-03-01', 'a', n % 2 = 0,"
            " md5(n::text)::uuid, NULL FROM generate_series(1, 500) AS n"
        )
    return url


def test_rows_of_sqlite_come_whole(sqlite: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sql, "ROWS_AT_ONCE", 70)
    rows = fetched(sqlite, "SELECT * FROM orders ORDER BY id", tmp_path)
    assert rows.shape == (300, 4)
    assert rows["total"].sum() == sum(n / 4 for n in range(1, 301))
    assert rows["country"].null_count() == 30


def test_only_what_changed_is_asked_for(sqlite: str, tmp_path: Path) -> None:
    rows = fetched(sqlite, "SELECT id, changed FROM orders -- all of them", tmp_path, since=1290, watermark="changed")
    assert rows["id"].to_list() == list(range(290, 301))


def test_nothing_is_still_a_table(sqlite: str, tmp_path: Path) -> None:
    rows = fetched(sqlite, "SELECT id, country FROM orders WHERE id < 0", tmp_path)
    assert (rows.columns, rows.height) == (["id", "country"], 0)


@pytest.mark.parametrize("query", ["WITH gone AS (SELECT 1) DELETE FROM orders", "SELECT 1; DELETE FROM orders"])
def test_nothing_is_written(query: str, sqlite: str, tmp_path: Path) -> None:
    with pytest.raises((InvalidInput, Unavailable)):
        fetched(sqlite, query, tmp_path)
    assert fetched(sqlite, "SELECT id FROM orders", tmp_path).height == 300


@pytest.mark.slow
def test_rows_of_postgresql_have_their_types(warehouse: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sql, "ROWS_AT_ONCE", 70)
    rows = fetched(warehouse, "SELECT id, price, at, local, day, kind, ok, key FROM sales ORDER BY id", tmp_path)
    assert rows.height == 500
    assert rows.schema["id"] == pl.Int64
    assert float(rows["price"].cast(pl.Float64).sum()) == sum(n / 8 for n in range(1, 501))
    assert rows["at"].dt.convert_time_zone("UTC")[0] == datetime(2024, 3, 1, 9, 1, tzinfo=UTC)
    assert rows["local"][0] == datetime.fromisoformat("2024-03-01T10:01")
    assert (rows["day"][0], rows["ok"][1], len(rows["key"][0])) == (date(2024, 3, 1), True, 36)


@pytest.mark.slow
@pytest.mark.parametrize(
    "query",
    [
        "WITH gone AS (DELETE FROM sales RETURNING id) SELECT id FROM gone",
        "SELECT id FROM sales; DELETE FROM sales",
    ],
)
def test_nothing_is_written_to_postgresql(query: str, warehouse: str, tmp_path: Path) -> None:
    with pytest.raises((InvalidInput, Unavailable)):
        fetched(warehouse, query, tmp_path)
    assert fetched(warehouse, "SELECT id FROM sales", tmp_path).height == 500


@pytest.mark.slow
def test_a_database_that_goes_away_is_told(warehouse: str, tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="went away"):
        fetched(warehouse, "SELECT pg_terminate_backend(pg_backend_pid())", tmp_path)


@pytest.mark.slow
def test_a_value_that_no_dataset_holds_is_told_by_its_column(warehouse: str, tmp_path: Path) -> None:
    query = "SELECT id, CASE WHEN id = 1 THEN '{\"a\": 1}'::jsonb ELSE '2'::jsonb END AS note FROM sales WHERE id < 3"
    with pytest.raises(InvalidInput, match="column note holds") as told:
        fetched(warehouse, query, tmp_path)
    assert "CAST(note AS" in str(told.value.next_step)


def test_a_query_that_is_refused_says_why(sqlite: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="no such table: order"):
        fetched(sqlite, "SELECT * FROM order_s", tmp_path)
    with pytest.raises(InvalidInput, match="returns id twice"):
        fetched(sqlite, "SELECT id, id FROM orders", tmp_path)


def test_a_database_that_is_away_is_told_without_what_opens_it(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="does not answer") as told:
        fetched(f"postgresql://me:sesame@127.0.0.1:{free_port()}/shop", "SELECT 1 AS x", tmp_path)
    assert "sesame" not in str(told.value)


def test_a_driver_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput) as told:
        fetched("firebird://host/shop", "SELECT 1 AS x", tmp_path)
    assert "driver" in str(told.value.next_step)


@pytest.mark.parametrize("since", [None, 299])
@pytest.mark.parametrize("words", [":x", "12:30", "a:b::c", r"\: x", r"\:y:z", "100% :s %(s)s"])
def test_words_reach_the_database_as_they_are(words: str, since: int | None, sqlite: str, tmp_path: Path) -> None:
    query = f"SELECT id, '{words}' AS said FROM orders WHERE country LIKE 'd%' AND id > 298"
    assert fetched(sqlite, query, tmp_path, since=since, watermark="id").rows() == [(299, words)]


@pytest.mark.slow
def test_nor_are_casts_and_percents_of_postgresql(warehouse: str, tmp_path: Path) -> None:
    query = "SELECT id, id::text AS said, (ARRAY[5, 6])[1:2::int]::text AS some FROM sales WHERE kind LIKE 'a%'"
    assert fetched(warehouse, query, tmp_path, since=500, watermark="id").rows() == [(500, "500", "{5,6}")]


def test_numbers_stay_exact() -> None:
    exact = sql._series("n", [Decimal("0.1"), 3, None])
    assert (str(exact[0]), str(exact[1])) == ("0.1", "3.0")
    assert sql._series("n", [1, 0.5]).to_list() == [1.0, 0.5]
    with pytest.raises(InvalidInput, match="column n holds"):
        sql._series("n", [2**53 + 1, 0.5])


@pytest.mark.parametrize("values", [[Decimal("NaN")], [Decimal("1e50")], [[1, 2]], [b"x"], [{"a": 1}], [timedelta(1)]])
def test_what_no_dataset_holds_is_refused_by_its_column(values: list[Any]) -> None:
    with pytest.raises(InvalidInput, match="column n holds"):
        sql._series("n", values)


def test_an_address_that_is_none_is_told_without_what_opens_it(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="no address of a database") as told:
        fetched("postgresql://me:sesame@host:port/shop", "SELECT 1 AS x", tmp_path)
    assert "sesame" not in str(told.value)
