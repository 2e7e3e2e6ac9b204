"""Finding values that tell of a person: by how they are written, and by what their columns are called. Pure."""

import ipaddress
import re
from collections.abc import Callable, Sequence

_EMAIL = re.compile(r"[^\s@]+@[^\s@]+\.[A-Za-z]{2,24}")
_IBAN = re.compile(r"[A-Z]{2}\d{2}(?: ?[A-Z0-9]){11,30}")
_CARD = re.compile(r"\d(?:[ -]?\d){12,18}")
_PHONE = re.compile(r"\+\d(?:[ ()./-]{0,2}\d){7,14}|\(?0\d{1,4}\)?(?:[ ./-]\d{2,}){1,4}")
_SSN = re.compile(r"(?!000|666|9)\d{3}-(?!00)\d{2}-(?!0000)\d{4}")
_NAMED = re.compile(
    r"(?:^|_)(?:e?mail|phone|mobile|fax|iban|ssn|passport|birth(?:day|date)?|dob|surname|(?:first|last|full|family)_?name"
    r"|street|address|postcode|zip|ip(?:_?addr(?:ess)?)?)(?:$|_)",
    re.IGNORECASE,
)
_LEAST_VALUES, _LEAST_SHARE = 3, 0.5
_LONGEST = 320
"""Letters of the longest address that mail is sent to; longer texts are none, and would be looked through for long."""


def find_personal(values: Sequence[str]) -> str | None:
    """Return what kind of personal data most of these different values are, in words; None if they are none.

    Cards and accounts have to keep their check digits (ISO/IEC 7812-1 and ISO 13616), addresses have to be some.

    >>> find_personal(["ann@example.org", "bo@example.org", "cy@example.org"])
    'e-mail addresses'
    """
    if len(values) < _LEAST_VALUES:
        return None
    short = [value for value in values if len(value) <= _LONGEST]
    for kind, is_one in _KINDS.items():
        if sum(map(is_one, short)) >= _LEAST_SHARE * len(values):
            return kind
    return None


def is_named_personal(column: str) -> bool:
    """Say whether a column is called as those are that tell of a person, such as ``first_name``."""
    return _NAMED.search(re.sub(r"(?<=[a-z])(?=[A-Z])", "_", column)) is not None


def _is_iban(text: str) -> bool:
    if not _IBAN.fullmatch(text):
        return False
    plain = text.replace(" ", "")
    return int("".join(str(int(letter, 36)) for letter in plain[4:] + plain[:4])) % 97 == 1


def _is_card(text: str) -> bool:
    if not _CARD.fullmatch(text):
        return False
    digits = [int(letter) for letter in text if letter.isdigit()][::-1]
    doubled = [2 * digit - 9 * (digit > 4) for digit in digits[1::2]]
    return (sum(digits[::2]) + sum(doubled)) % 10 == 0 and len(set(digits)) > 1


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _written_as(pattern: re.Pattern[str]) -> Callable[[str], bool]:
    return lambda text: pattern.fullmatch(text) is not None


_KINDS: dict[str, Callable[[str], bool]] = {
    "e-mail addresses": _written_as(_EMAIL),
    "bank accounts": _is_iban,
    "payment cards": _is_card,
    "social security numbers": _written_as(_SSN),
    "network addresses": _is_address,
    "phone numbers": _written_as(_PHONE),
}
