"""The error tree travels over HTTP and comes back as it was."""

import json

import pytest

from loopwright.kernel import errors
from loopwright.kernel.errors import InvalidInput, LoopwrightError, error_from_dict, shorten

KINDS = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, LoopwrightError)]


@pytest.mark.parametrize("kind", KINDS)
def test_an_error_comes_back_as_it_was(kind: type[LoopwrightError]) -> None:
    sent = kind("no", field="rows[3].x", value="y", rule="z", next_step="w", details={"a": [1]})
    back = error_from_dict(sent.to_dict())
    assert type(back) is kind
    assert str(back) == str(sent) == "no; field: rows[3].x; value: y; rule: z; next: w"
    assert back.details == {"a": [1]}


def test_codes_name_one_error_each() -> None:
    assert len({kind.code for kind in KINDS}) == len(KINDS)
    assert all(400 <= kind.http_status < 600 for kind in KINDS)


def test_an_unknown_code_is_still_an_error_of_ours() -> None:
    assert type(error_from_dict({"code": "from_the_future", "message": "hm"})) is LoopwrightError
    assert error_from_dict({}).message == "unknown error"


def test_a_long_value_is_shortened() -> None:
    assert len(str(InvalidInput("no", value="x" * 10_000))) < 200
    assert shorten(["a"]) == "['a']"


def test_whatever_an_error_quotes_travels_and_can_be_stored() -> None:
    sent = InvalidInput("a\0b\udce9", value="c\0", details={"rows": ["d\0", 2**70, object]})
    document = json.loads(json.dumps(sent.to_dict(), ensure_ascii=False).encode())
    assert document["message"] == "a\\x00b\\udce9"
    assert document["value"] == "c\\x00"
    assert document["details"] == {"rows": ["d\\x00", str(2**70), "<class 'object'>"]}


def test_an_error_is_told_however_much_it_says() -> None:
    long = InvalidInput("begin " + "x" * 3_000_000 + " end", details={"rows": ["y" * 100] * 100_000})
    told = long.to_dict()
    assert len(json.dumps(told)) < 20_000
    assert told["message"].startswith("begin xx")
    assert "letters left out" in told["message"]
    assert told["message"].endswith("xx end")
    assert told["details"]["left_out"].endswith(" bytes")
