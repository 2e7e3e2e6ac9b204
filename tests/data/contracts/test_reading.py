"""Whatever stands in a file, it is read or refused; what is printed of it declares, and does nothing else."""

import ast
import copy
import json
import random
from collections.abc import Iterator
from typing import Any

import pytest

from loopwright.data.contracts import project_lines, read_contract, read_document, write_yaml
from loopwright.kernel.errors import InvalidInput, LoopwrightError
from tests.data.contracts.conftest import FILES

KNOWN = [
    "contract.yaml",
    "pandera_orders.yaml",
    "pandera_orders_0_24.yaml",
    "expectations_1.json",
    "expectations_0_18.json",
]
EVIL = "'\"\n), __import__('os').system('x')  # \u2028\r\x1b[2J"
ODD: list[Any] = [
    None, True, 0, -1, 5.5, float("nan"), float("inf"), 10**400, "", "x", EVIL, [], {}, [None], [[["a"]]],
    {"a": {"b": [1]}},
    {"value": {}}, [EVIL], {EVIL: EVIL}, 10**30, "2024-01-31", ["a", 1], "(", "\x85",
]  # fmt: skip


def places(part: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    inner = part.items() if isinstance(part, dict) else enumerate(part) if isinstance(part, list) else ()
    for key, value in inner:
        yield from places(value, (*path, key))


def put(document: Any, path: tuple[Any, ...], value: Any) -> Any:
    if not path:
        return value
    changed = copy.deepcopy(document)
    part = changed
    for key in path[:-1]:
        part = part[key]
    part[path[-1]] = value
    return changed


def renamed(document: Any, path: tuple[Any, ...]) -> Any:
    changed = copy.deepcopy(document)
    part = changed
    for key in path[:-1]:
        part = part[key]
    if isinstance(part, dict):
        part[EVIL] = part.pop(path[-1])
    return changed


def declares_alone(lines: list[str]) -> None:
    """Say that lines are one call of ours after the other, with nothing but values in them."""
    assert all(len(line.splitlines()) == 1 for line in lines)
    for statement in ast.parse("\n".join(lines)).body:
        assert isinstance(statement, ast.Assign)
        for node in ast.walk(statement.value):
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                assert called in ("p.dataset", "lw.source.frame", "lw.after", "float") or called.startswith("lw.check.")
            elif isinstance(node, ast.Name):
                assert node.id in ("p", "lw", "float")
            else:
                assert not isinstance(node, ast.Lambda | ast.JoinedStr | ast.Await | ast.comprehension | ast.NamedExpr)


def read_or_refused(document: Any) -> bool:
    try:
        found = read_contract(json.dumps(document).encode())
    except LoopwrightError:
        return False
    for one in found:
        declares_alone(project_lines(one))
    return True


@pytest.mark.slow
@pytest.mark.parametrize("name", KNOWN)
def test_whatever_stands_anywhere_is_read_or_refused(name: str) -> None:
    document, chance = read_document((FILES / name).read_bytes()), random.Random(name)
    everywhere = list(places(document))
    taken = [read_or_refused(put(document, path, odd)) for odd in ODD for path in chance.sample(everywhere, 25)]
    taken += [read_or_refused(renamed(document, path)) for path in chance.sample(everywhere[1:], 25)]
    assert sum(taken) > 0.8 * len(taken)


@pytest.mark.parametrize("odd", [one for one in ODD if not isinstance(one, dict) or one])
def test_documents_of_nothing_but_odd_things_are_refused(odd: Any) -> None:
    with pytest.raises(LoopwrightError):
        read_contract(write_yaml(odd).encode())


def test_what_is_known_is_named_where_a_file_is_none_of_it() -> None:
    with pytest.raises(InvalidInput) as refused:
        read_contract(b"models: {orders: {fields: {}}}\ninfo: {}\n")
    assert refused.value.value == "models, info"
    assert "pandera" in str(refused.value.rule)


@pytest.mark.parametrize("number", range(20))
def test_odd_suites_are_read(number: int) -> None:
    chance = random.Random(number)
    kinds = [one["type"] for one in read_document((FILES / "expectations_1.json").read_bytes())["expectations"]]
    words = ["column", "min_value", "max_value", "mostly", "value_set", "regex", "column_list", "value", EVIL]
    suite = {
        "name": chance.choice(ODD),
        "expectations": [
            {chance.choice(["type", "expectation_type"]): chance.choice(kinds), "severity": chance.choice(ODD),
             "kwargs": {word: chance.choice(ODD) for word in chance.sample(words, 4)}}
            for _ in range(50)
        ],
    }  # fmt: skip
    assert read_or_refused(suite)
