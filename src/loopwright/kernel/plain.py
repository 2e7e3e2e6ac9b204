"""Texts of others on their way to a terminal or a log: what would steer it, or begin a line of its own, is shown."""

_STEERING = [*range(0x20), *range(0x7F, 0xA0), 0x061C, 0x200E, 0x200F, *range(0x2028, 0x202F), *range(0x2066, 0x206A)]
"""Control characters, separators of lines, and marks that turn the direction of reading."""
_SHOWN = {code: f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" for code in _STEERING} | {10: "\\n", 13: "\\r"}
_OF_LINES = {code: shown for code, shown in _SHOWN.items() if code not in (9, 10)}


def plain_line(text: str) -> str:
    r"""Return a text as one line that steers nothing.

    >>> print(plain_line("late" + chr(27) + "[2J" + chr(10) + "ERROR all is lost"))
    late\x1b[2J\nERROR all is lost
    """
    return text if text.isprintable() else text.translate(_SHOWN)


def plain_lines(text: str) -> str:
    r"""Return a text that steers nothing; its line breaks and tabs stay.

    >>> print(plain_lines("late" + chr(0x2028) + "ERROR all is lost"))
    late\u2028ERROR all is lost
    """
    return text if text.isprintable() else text.translate(_OF_LINES)
