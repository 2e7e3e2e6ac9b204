"""What clients were told: the model against which the platform is held."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Ledger:
    """By number: what was asked for, and the answer where one came.

    What was asked and not answered may have been done or not; what was answered has been done, once. Rows that a client
    sends again are in the log again, under the ids by which readers count them once; ``tries``: how often they came.
    """

    asked: dict[str, dict[int, dict[str, Any]]] = field(default_factory=dict)
    answered: dict[str, dict[int, Any]] = field(default_factory=dict)
    tries: Counter[int] = field(default_factory=Counter)
    number: int = 0
    on_sealed: Callable[[list[int]], None] = lambda _: None

    def ask(self, kind: str, **what: Any) -> int:
        """Note that something is asked for; return its number."""
        self.number += 1
        self.asked.setdefault(kind, {})[self.number] = what
        return self.number

    def answer(self, kind: str, number: int, answer: Any) -> None:
        """Note that the platform said it is done."""
        self.answered.setdefault(kind, {})[number] = answer

    def sealed(self, numbers: list[int]) -> None:
        """Note that the platform said rows can be read by now; they are looked for at once."""
        self.on_sealed(numbers)

    def all_asked(self, kind: str) -> dict[int, dict[str, Any]]:
        return self.asked.get(kind, {})

    def all_answered(self, kind: str) -> dict[int, Any]:
        return self.answered.get(kind, {})
