"""The contract of a check, and opening one by its declaration."""

from abc import ABCMeta, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import msgspec

from loopwright.data.checks.rules import read_rule
from loopwright.data.types import CheckSpec
from loopwright.kernel.documents import convert
from loopwright.kernel.errors import InvalidInput
from loopwright.kernel.plugins import add_built_in, load_plugin, plugin_names
from loopwright.kernel.suggestions import suggest

if TYPE_CHECKING:
    import polars as pl

add_built_in(
    "checks",
    {
        "not_null": "loopwright.data.checks.not_null:NotNull",
        "between": "loopwright.data.checks.between:Between",
        "is_in": "loopwright.data.checks.is_in:IsIn",
        "unique": "loopwright.data.checks.unique:Unique",
        "matches": "loopwright.data.checks.matches:Matches",
        "row_count": "loopwright.data.checks.row_count:RowCount",
        "fresh": "loopwright.data.checks.fresh:Fresh",
        "holds": "loopwright.data.checks.holds:Holds",
        "length": "loopwright.data.checks.length:Length",
        "dated": "loopwright.data.checks.dated:Dated",
        "increasing": "loopwright.data.checks.increasing:Increasing",
        "refers_to": "loopwright.data.checks.refers_to:RefersTo",
        "statistic": "loopwright.data.checks.statistic:Statistic",
        "usual": "loopwright.data.checks.usual:Usual",
        "usual_rows": "loopwright.data.checks.usual:UsualRows",
    },
)


class _AbstractStruct(msgspec.StructMeta, ABCMeta):
    """Structs with abstract methods."""


class RowCheck(msgspec.Struct, frozen=True, forbid_unknown_fields=True, metaclass=_AbstractStruct):
    """A check that every row passes or fails by itself. Its fields are the arguments.

    Where it needs no column, the expression that it is given says nothing. A field or property ``columns`` names those
    that it reads beside.
    """

    needs_column: ClassVar[bool] = True
    counts_nulls: ClassVar[bool] = False
    """Whether a missing value is evaluated; value rules leave it out."""

    def validate(self) -> None:
        """Raise ValueError, with the rule as its text, where arguments make no sense together."""

    @abstractmethod
    def failing(self, column: "pl.Expr", dtype: "pl.DataType") -> "pl.Expr":
        """Return a boolean expression: True where the value fails; null counts as not failing."""

    def evaluated(self, column: "pl.Expr") -> "pl.Expr":
        """Return the number of values that pass or fail, as an expression."""
        import polars as pl

        return pl.len() if self.counts_nulls else column.count()

    @abstractmethod
    def claim(self) -> str:
        """Return what should hold, to follow the column's name."""


class AggregateCheck(msgspec.Struct, frozen=True, forbid_unknown_fields=True, metaclass=_AbstractStruct):
    """A check of one number about all rows. Its fields are the arguments."""

    needs_column: ClassVar[bool] = True
    needs_rows: ClassVar[bool] = True
    """Whether it says nothing about an empty frame."""

    def validate(self) -> None:
        """Raise ValueError, with the rule as its text, where arguments make no sense together."""

    @abstractmethod
    def measure(self, column: "pl.Expr", dtype: "pl.DataType | None") -> "pl.Expr":
        """Return an expression of one value; without a column it is given one that counts rows."""

    @abstractmethod
    def judge(self, value: Any, now_us: int, past: Sequence[float]) -> tuple[bool, str]:
        """Return whether the value passes, and what was found in words.

        Args:
            value: What was measured.
            now_us: The project's present moment, microseconds UTC.
            past: What this very check measured of the last imports of the same kind, newest first.
        """

    @abstractmethod
    def claim(self) -> str:
        """Return what should hold."""


Check = RowCheck | AggregateCheck


def open_check(spec: CheckSpec, field: str = "check") -> Check:
    """Return the check of a declaration, its arguments read.

    Raises:
        InvalidInput: No check has this name, or its arguments do not fit.
    """
    known = plugin_names("checks")
    if spec.kind not in known:
        raise InvalidInput(
            f"no check is named {spec.kind}",
            field=f"{field}.kind",
            value=spec.kind,
            next_step=suggest(spec.kind, known),
        )
    kind: type[Check] = load_plugin("checks", spec.kind)
    opened = convert(spec.args, kind, f"{field}.args")
    try:
        opened.validate()
    except ValueError as error:
        raise InvalidInput(
            f"the arguments of {spec.kind} do not fit", field=f"{field}.args", value=spec.args, rule=str(error)
        ) from None
    return opened


def check_args(spec: CheckSpec, field: str = "check") -> None:
    """Raise InvalidInput if a declared check cannot be opened, lacks its column, or is for rows that no rule tells."""
    opened = open_check(spec, field)
    if spec.where:
        try:
            read_rule(spec.where)
        except ValueError as error:
            told = InvalidInput("this is no rule", field=f"{field}.where", value=spec.where[:200], rule=str(error))
            raise told from None
    if opened.needs_column and spec.column is None and spec.kind != "fresh":
        raise InvalidInput(f"{spec.kind} checks a column", field=f"{field}.column", rule="the name of a column")
