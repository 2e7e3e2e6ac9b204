"""Running the checks of an import apart from the worker: a rule of a few letters may fill any memory or never end.

What is declared is an editor's, rows are anybody's, and the worker does the jobs of every project. So a child process
is handed the columns that checks look at, and what ends it ends the import that it was for; the error names the check.
"""

import re
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple, Protocol

import msgspec
import polars as pl

from loopwright.data import quality
from loopwright.data.checks import AggregateCheck, measured_as, open_check
from loopwright.data.quality import Around
from loopwright.data.quarantine import blocking
from loopwright.data.strictness import describe_check
from loopwright.data.types import CheckResult, CheckSpec, DatasetSpec
from loopwright.kernel.documents import to_builtins
from loopwright.kernel.errors import InvalidInput, LoopwrightError, shorten
from loopwright.store.work import READ_S, JobContext
from loopwright.wire.endings import ReaderEnded

LEAST_S, BYTES_A_SECOND = 120.0, 2 << 20
"""How long checks may take, and how many bytes of rows give them a second more: ten times what sound ones need."""
_AT = re.compile(r"^at check (\d+)$", re.MULTILINE)
"""What the child prints before each check, as its place among those that are declared."""


class Checked(NamedTuple):
    """What checks found, and the rows that failed blocking ones, if there are such."""

    results: list[CheckResult]
    failing: pl.DataFrame | None


Checker = Callable[[pl.DataFrame, DatasetSpec, int], Checked]
"""Runs the checks of a declaration over new rows, given the project's present moment."""


def check_here(frame: pl.DataFrame, spec: DatasetSpec, now_us: int, around: Around | None = None) -> Checked:
    """Check rows in this process; samples do not show personal columns."""
    shown: dict[str, Any] = {"key": spec.key, "masked": spec.personal}
    results = quality.run_checks(frame, spec.checks, now_us, time=spec.time, around=around, **shown)
    failing = quality.failing_rows(frame, results, time=spec.time, around=around) if blocking(results) else None
    return Checked(results, failing)


class Other(Protocol):
    """What checks may ask for beside the rows, from where that is stored."""

    def past(self, spec: CheckSpec) -> list[float]:
        """See ``Around``."""
        ...

    def write_values(self, dataset: str, column: str, among: Sequence[pl.Series], out: Path) -> None:
        """Write those of some values that a column of another dataset has as Parquet, however many that has."""
        ...


def values_among(rows: pl.LazyFrame, column: str, among: Sequence[pl.Series]) -> pl.LazyFrame:
    """Return those of some values that a column has, each once. Read as a stream it holds only what these values take.

    Args:
        rows: With the column.
        column: Which.
        among: The values, of any dtype.
    """
    dtype = rows.collect_schema()[column]
    asked = [pl.Series(column, [], dtype=dtype)]
    for values in among:
        with suppress(pl.exceptions.PolarsError):  # of these dtypes no value equals one of the other
            asked.append(values.unique().cast(dtype, strict=False).drop_nulls().alias(column))
    return rows.select(column).join(pl.concat(asked).unique().to_frame().lazy(), on=column, how="semi").unique()


class ChecksApart:
    """Checks rows in a child process.

    Args:
        context: Of the job.
        other: What checks may ask for beside the rows.
    """

    def __init__(self, context: JobContext, other: Other) -> None:
        self._context, self._other = context, other

    def __call__(self, frame: pl.DataFrame, spec: DatasetSpec, now_us: int) -> Checked:
        """Return what the checks of a declaration find.

        Raises:
            InvalidInput: A check does not fit the rows, or ended its process; names it.
            NotFound: A dataset that one refers to has no version.
        """
        if not spec.checks:
            return Checked([], None)
        asked = frame.select(quality.columns_of(spec.checks, frame, spec.key, spec.time))
        with TemporaryDirectory() as folder:
            files, out = {"rows": Path(folder) / "rows.arrow"}, Path(folder) / "failing.parquet"
            asked.write_ipc(files["rows"], compression="uncompressed")
            referred = self._write_referred(spec, asked, Path(folder), files)
            inputs = {
                "specs": to_builtins(spec.checks),
                "past": [self._past(each) for each in spec.checks],
                "referred": referred,
                "now_us": now_us,
                "key": list(spec.key),
                "time": spec.time,
                "masked": list(spec.personal),
            }
            limit_s = min(LEAST_S + asked.estimated_size() // BYTES_A_SECOND, READ_S)
            what = f"the checks of dataset {spec.name}"
            try:
                found = self._context.read(
                    "loopwright.data.checking:check", inputs, files, out, what=what, timeout_s=limit_s
                )
            except ReaderEnded as ended:
                raise _broken(spec, ended) from None
            results = msgspec.convert(found, list[CheckResult])
            return Checked(results, quality.pick(frame, pl.read_parquet(out)) if blocking(results) else None)

    def _past(self, spec: CheckSpec) -> list[float]:
        return self._other.past(spec) if isinstance(open_check(spec), AggregateCheck) else []

    def _write_referred(
        self, spec: DatasetSpec, rows: pl.DataFrame, folder: Path, files: dict[str, Path]
    ) -> list[tuple[str, str, str]]:
        """Write what columns of other datasets that checks refer to have of the rows' values: no more than the rows do.

        Returns:
            Dataset, column and file of each.
        """
        asked: dict[tuple[str, str], list[str]] = {}
        for each in spec.checks:
            name = each.column or spec.time
            if each.kind == "refers_to" and name is not None:
                asked.setdefault((each.args["dataset"], each.args["other_column"]), []).append(name)
        referred = []
        for place, ((dataset, column), names) in enumerate(asked.items()):
            files[f"values{place}"] = folder / f"values{place}.parquet"
            among = [rows[name] for name in dict.fromkeys(names)]
            self._other.write_values(dataset, column, among, files[f"values{place}"])
            referred.append((dataset, column, f"values{place}"))
        return referred


class _Handed(Around):
    """What checks may ask for, as the worker handed it in."""

    def __init__(
        self,
        files: Mapping[str, Path],
        referred: Sequence[Sequence[str]],
        specs: Sequence[CheckSpec],
        past: Sequence[list[float]],
    ) -> None:
        self._files = {(dataset, column): files[name] for dataset, column, name in referred}
        self._past = [(measured_as(spec), values) for spec, values in zip(specs, past, strict=True)]

    def values(self, dataset: str, column: str) -> pl.Series:
        return pl.read_parquet(self._files[dataset, column]).to_series()

    def past(self, spec: CheckSpec) -> list[float]:
        return next((values for measured, values in self._past if measured == measured_as(spec)), [])


def check(
    out: Path,
    scratch: Path,
    files: Mapping[str, Path],
    *,
    specs: list[dict[str, Any]],
    past: list[list[float]],
    referred: list[list[str]],
    now_us: int,
    key: list[str],
    time: str | None,
    masked: list[str],
) -> list[dict[str, Any]]:
    """Run checks over rows in this process, a child; write the places of rows that failed to ``out``.

    Args:
        out: Where to write them.
        scratch: An empty folder.
        files: ``rows``, as Arrow, and what columns of other datasets have of their values, as Parquet.
        specs: The checks.
        past: What each measured of the imports before.
        referred: Dataset, column and file of each column of another dataset.
        now_us: The project's present moment, microseconds UTC.
        key: Columns that name a row.
        time: The column of checks that name none and are about time.
        masked: Columns whose values samples do not show.

    Raises:
        InvalidInput: A check does not fit the rows.
    """
    del scratch
    declared = msgspec.convert(specs, list[CheckSpec])
    around = _Handed(files, referred, declared, past)
    frame = pl.read_ipc(files["rows"])
    try:
        results = quality.run_checks(
            frame, declared, now_us, key=key, time=time, masked=masked, around=around, tell=_tell
        )
        quality.failing_places(frame, results, time=time, around=around, tell=_tell).write_parquet(out)
    except (LoopwrightError, OSError):
        raise
    except BaseException as error:  # noqa: BLE001 - a panic of the library too; its words may quote rows
        kind = type(error).__name__
        raise InvalidInput("the checks cannot be applied to these rows", field="checks", value=kind) from None
    return [dict(to_builtins(result)) for result in results]


def _tell(place: int) -> None:
    sys.stdout.write(f"at check {place}\n")
    sys.stdout.flush()


def _broken(spec: DatasetSpec, ended: ReaderEnded) -> InvalidInput:
    """Return the error for checks at which their process ended; it names the one that it was at."""
    said = _AT.findall(ended.said)
    place = int(said[-1]) if said and int(said[-1]) < len(spec.checks) else None
    told = "" if place is None else f" at {shorten(describe_check(spec.checks[place]), 200)}"
    return InvalidInput(
        f"the checks of dataset {spec.name} could not be finished: their process {ended.how}{told}",
        field="checks" if place is None else f"checks[{place}]",
        rule=ended.rule or "checks that take no more time and memory than there is",
        next_step="declare a simpler check, or import the rows in several parts",
    )
