"""Canonical JSON: one content, one digest; what does not fit names its path."""

import subprocess
import sys
from typing import Any, Literal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright.kernel.documents import convert, digest_bytes, digest_of, from_json, to_json
from loopwright.kernel.errors import InvalidInput
from loopwright.kernel.verbs import Role

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
)
DOCUMENTS = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20)


class Point(msgspec.Struct):
    x: int
    inner: list[dict[str, float]] = []


Colour = Literal["red", "green"]


class Drawing(msgspec.Struct):
    ground: Colour | None = None
    layers: list["Drawing"] = []
    inks: dict[str, Colour] = {}


@given(DOCUMENTS)
def test_documents_read_back_and_keep_their_digest(document: Any) -> None:
    body = to_json(document)
    assert from_json(body, object) == document
    assert digest_of(from_json(body, object)) == digest_of(document)


@given(st.dictionaries(st.text(), st.integers(-9, 9)))
def test_the_order_of_keys_changes_nothing(document: dict[str, int]) -> None:
    assert digest_of(dict(reversed(document.items()))) == digest_of(document)


def test_a_digest_is_sha256() -> None:
    assert digest_bytes(b"") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def test_what_does_not_fit_names_its_path() -> None:
    with pytest.raises(InvalidInput, match=r"\$\.inner\[1\]"):
        from_json(b'{"x": 1, "inner": [{}, {"a": "b"}]}', Point)
    with pytest.raises(InvalidInput, match=r"\$\.x"):
        convert({"x": "1"}, Point, "spec")


@pytest.mark.parametrize(
    "document",
    [{"ground": "blue"}, {"layers": [{}, {"layers": [{"ground": "blue"}]}]}, {"inks": {"sky": "blue"}}],
)
def test_a_value_that_is_none_to_choose_from_names_those_that_are(document: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput, match="blue") as told:
        convert(document, Drawing, "spec")
    assert told.value.rule == "one of green, red"
    with pytest.raises(InvalidInput, match="blue") as told:
        from_json(to_json(document), Drawing)
    assert told.value.rule == "one of green, red"
    with pytest.raises(InvalidInput) as told:
        convert({"ground": 5}, Drawing, "spec")
    assert told.value.rule is None


@pytest.mark.parametrize("value", ["blue", "blue.ish", "blue[0]", "blue - at `$.ground`"])
def test_a_choice_of_its_own_names_what_there_is(value: str) -> None:
    with pytest.raises(InvalidInput, match="blue") as told:
        convert(value, Colour, "colour")  # type: ignore[arg-type]
    assert told.value.rule == "one of green, red"
    with pytest.raises(InvalidInput) as told:
        convert(value, Role, "role")
    assert told.value.rule == "one of viewer, editor, approver, admin, service"


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b'"\\ud800"', b"1e999", b"[" * 200_000, b'{"a":' * 200_000])
def test_bytes_that_are_no_json_are_bad_input(body: bytes) -> None:
    with pytest.raises(InvalidInput):
        from_json(body, object)


FIRST_USE = """
import sys, threading
from loopwright.kernel.documents import convert, from_json

sys.setswitchinterval(1e-6)
FIELDS = "".join(f"    f{number}: 'int | None' = None\\n" for number in range(12))
for round in range(40):
    code = "import msgspec\\n"
    for depth in range(12):
        code += f"class S{depth}(msgspec.Struct):\\n{FIELDS}    n: 'S{max(depth - 1, 0)} | None' = None\\n"
    module = type(sys)(f"m{round}")
    sys.modules[module.__name__] = module
    module.__dict__.update(__name__=module.__name__)
    exec(code, module.__dict__)
    together = threading.Barrier(6)

    def use(kind):
        together.wait()
        convert({"f0": 1, "n": {"f1": 2, "n": {"f2": 3}}}, kind)
        from_json('{"n": {"n": {"f1": 1}}}', kind)

    threads = [threading.Thread(target=use, args=(getattr(module, f"S{11 - number % 3}"),)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
print("all read")
"""


def test_threads_may_be_the_first_to_read_a_struct_at_the_same_time() -> None:
    """Where one still learned how a struct is built, msgspec 0.22 ended the process of those that read it meanwhile."""
    ended = subprocess.run([sys.executable, "-c", FIRST_USE], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "all read\n", "")


def test_half_of_a_surrogate_pair_is_refused_with_what_stands_around_it() -> None:
    with pytest.raises(InvalidInput, match="cannot be written as UTF-8") as refused:
        to_json({"path": "data/caf\udce9.csv"})
    assert refused.value.value == "data/caf\\udce9.csv"
