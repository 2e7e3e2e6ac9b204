"""Check: a rule about several columns holds for every row."""

from typing import TYPE_CHECKING, ClassVar

from loopwright.data.checks.base import RowCheck
from loopwright.data.checks.rules import read_rule, rule_expr

if TYPE_CHECKING:
    import polars as pl


class Holds(RowCheck, frozen=True):
    """``rule``, such as ``landed_at >= scheduled_at``, is true of every row of which it says something."""

    needs_column: ClassVar[bool] = False

    rule: str

    @property
    def columns(self) -> list[str]:
        """What it names."""
        return read_rule(self.rule)

    def validate(self) -> None:
        """Refuse what is no rule."""
        read_rule(self.rule)

    def failing(self, column: "pl.Expr", dtype: "pl.DataType | None") -> "pl.Expr":
        """Return True where the rule is false."""
        return ~rule_expr(self.rule)

    def evaluated(self, column: "pl.Expr") -> "pl.Expr":
        """Return the number of rows of which the rule says something."""
        return rule_expr(self.rule).count()

    def claim(self) -> str:
        """Return what should hold."""
        return self.rule
