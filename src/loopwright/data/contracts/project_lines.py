"""The lines of a project file that say what a contract says. Pure.

They are pasted into code, and a stranger wrote what stands in them: see ``check_code``.
"""

import keyword
import re
from collections.abc import Iterator

from loopwright.data.check_code import check_code, literal
from loopwright.data.contracts.translation import Taken, Translation
from loopwright.data.types import KnownAt
from loopwright.kernel.clock import format_duration
from loopwright.kernel.errors import InvalidInput
from loopwright.kernel.plain import plain_line

_TAKEN_NAMES = ("p", "lw")


def project_lines(told: Translation) -> list[str]:
    """Return the lines of a declaration, then those of what it leaves out, as comments."""
    lines = [
        f"{_variable(told.name)} = p.dataset(",
        f"    {literal(told.name)},",
        "    lw.source.frame(),  # say where its rows come from",
        f"    key={literal(told.key)}," + ("" if told.key else "  # name the columns that tell a row apart"),
    ]
    lines += [f"    time={literal(told.time)},"] if told.time else []
    if told.known_at:
        known = ", ".join(f"{literal(column)}: {_known(at)}" for column, at in told.known_at.items())
        lines.append(f"    known_at={{{known}}},")
    lines += [f"    personal={literal(told.personal)},"] if told.personal else []
    checks = list(_checks(told.checks))
    lines += ["    checks=[", *checks, "    ],"] if checks else []
    lines.append(")")
    lines += [f"# left out: {one.what}: {one.why}" for one in told.left_out]
    return [plain_line(line) for line in lines]


def _checks(checks: list[Taken]) -> Iterator[str]:
    for taken in checks:
        try:
            written = f"        {check_code(taken.check)},"
        except InvalidInput as error:
            yield f"        # left out: {taken.check.kind!r}: {error.message}"
        else:
            yield written + (f"  # {taken.note}" if taken.note else "")


def _known(at: KnownAt) -> str:
    return f"lw.after({literal(at.column)}, {literal(format_duration(at.after_us))})"


def _variable(name: str) -> str:
    word = re.sub(r"\W", "_", name, flags=re.ASCII)
    is_free = word.isidentifier() and not keyword.iskeyword(word) and word not in _TAKEN_NAMES
    return word if is_free else f"dataset_{word}"
