"""Streams: the bulk rows of the platform, each declared once for whoever writes and whoever reads them.

A stream is what its rows have in common: the column of their ids, columns of a known type, and whether further ones
follow. A column that is added here is written by every writer and read by every reader.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

if TYPE_CHECKING:
    import polars as pl

Dtype = Literal["str", "i64", "f64", "bool"]
FEATURE_PREFIX = "f."
"""Begins the name of every feature column of the prediction log."""


class Column(NamedTuple):
    """One column that every row of a stream has; null is a value of each."""

    name: str
    dtype: Dtype
    meaning: str


class Stream(NamedTuple):
    """What the rows of one kind have in common.

    Args:
        kind: Its name, as chunks are filed under.
        id_column: By which rows are sorted and found.
        columns: In the order in which they are stored.
        further: How the names of the columns begin that may follow; None where none may.
        about_column: The ids of what its rows tell of, by which they are found; None where they tell of nothing else.
    """

    kind: str
    id_column: str
    columns: tuple[Column, ...]
    further: str | None = None
    about_column: str | None = None

    @property
    def names(self) -> list[str]:
        """The names of its columns, in order."""
        return [column.name for column in self.columns]

    def dtypes(self, names: Iterable[str] | None = None) -> tuple[tuple[str, Dtype], ...]:
        """Return names and dtypes in the stream's order, of some of its columns or all."""
        wanted = None if names is None else set(names)
        return tuple((column.name, column.dtype) for column in self.columns if wanted is None or column.name in wanted)

    def schema(self) -> "pl.Schema":
        """Return its columns as readers see them; further ones are read by who knows their names."""
        import polars as pl

        types: dict[Dtype, Any] = {"str": pl.String(), "i64": pl.Int64(), "f64": pl.Float64(), "bool": pl.Boolean()}
        return pl.Schema({column.name: types[column.dtype] for column in self.columns})

    def typed(self, rows: "pl.DataFrame") -> "pl.DataFrame":
        """Return rows with the stream's columns first, each of its dtype, and what else they have after them.

        Raises:
            ColumnNotFoundError: A column of the stream is not there.
        """
        import polars as pl

        fixed = [pl.col(name).cast(dtype) for name, dtype in self.schema().items()]
        return rows.select(*fixed, pl.exclude(self.names))


_EVENT = Column("event_at", "i64", "when it happened, on the project's clock, microseconds UTC")
_RECORDED = Column("recorded_at", "i64", "when it was recorded, wall time, microseconds UTC")

OTHER_ROW_FAILED = "another row of the request could not be answered"
"""``error`` of a row that was not answered although it could have been: nobody's fault, and a failed answer still."""

PREDICTIONS = Stream(
    "predictions",
    "prediction_id",
    (
        Column("prediction_id", "str", "the id that came with the answer; shadows of a prediction share it"),
        Column("row_key", "str", "the caller's own id of the row"),
        Column("release", "i64", "number of the release that answered; 0 for models served elsewhere"),
        Column("variant", "str", "who answered; `score` in a batch, `external` elsewhere"),
        Column("model_version", "i64", "version of the model; 0 for models served elsewhere"),
        Column("is_shadow", "bool", "true where nobody saw the answer"),
        _EVENT,
        _RECORDED,
        Column("latency_us", "i64", "the wait and the variant's own work, microseconds"),
        Column("score", "f64", "P(positive) or the value; null where `answer` holds it"),
        Column("answer", "str", "class and probabilities, as JSON"),
        Column("error", "str", "why there is no answer"),
        Column("missing", "str", "column -> why its value is missing, as JSON"),
        Column("bucket", "f64", "0..1, which variant it was drawn into; null where it was chosen"),
    ),
    FEATURE_PREFIX,
)
"""Predictions, made here or told by others, with the features they were made from."""

LABELS = Stream(
    "labels",
    "label_id",
    (
        Column("label_id", "str", "its own id"),
        Column("prediction_id", "str", "whose outcome it is"),
        Column("label", "f64", "the outcome, where it is a number"),
        Column("label_text", "str", "the outcome, where it is a class by name"),
        _EVENT,
        _RECORDED,
    ),
    about_column="prediction_id",
)
"""Outcomes of predictions; the latest one counts."""

KEYED_LABELS = Stream(
    "keyed_labels",
    "label_id",
    (
        Column("label_id", "str", "its own id"),
        Column("row_key", "str", "the row whose outcome it is, by the key that its predictions were asked for with"),
        Column("label", "f64", "the outcome, where it is a number"),
        Column("label_text", "str", "the outcome, where it is a class by name"),
        _EVENT,
        _RECORDED,
    ),
)
"""Outcomes of rows by their own key; they become labels of the predictions that were made for these rows."""

PUSHES = Stream("pushes", "push_id", (Column("push_id", "str", "its own id"), _EVENT, _RECORDED), "")
"""Rows of datasets as they became known, with the dataset's raw columns."""

STREAMS = {stream.kind: stream for stream in (PREDICTIONS, LABELS, KEYED_LABELS, PUSHES)}
"""Every stream by its kind."""
