"""Arithmetic that users write, such as ``25*true_positive - 5*false_positive``: names, numbers and + - * / only."""

import ast
from collections.abc import Mapping
from functools import lru_cache

from loopwright.kernel.errors import InvalidInput

_MAX_LENGTH = 500
_LARGEST = 1e300


def parse_expression(text: str, names: set[str], field: str = "value") -> ast.expr:
    """Check an expression against the allowed names and return its tree.

    Raises:
        InvalidInput: It is too long, cannot be read, or uses anything but names, numbers and ``+ - * / ( )``.
    """
    rule = f"numbers, + - * / ( ) and the names {', '.join(sorted(names))}"
    if len(text) > _MAX_LENGTH:
        raise InvalidInput(
            "this expression is too long", field=field, value=text, rule=f"at most {_MAX_LENGTH} letters"
        )
    try:
        tree = ast.parse(text, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise InvalidInput("this expression cannot be read", field=field, value=text, rule=rule) from None
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and node.id in names:
            continue
        if isinstance(node, ast.Constant) and type(node.value) in (int, float) and abs(node.value) < _LARGEST:  # type: ignore[arg-type]
            continue
        plain = ast.BinOp | ast.UnaryOp | ast.Add | ast.Sub | ast.Mult | ast.Div | ast.USub | ast.UAdd | ast.Load
        if not isinstance(node, plain):
            shown = node.id if isinstance(node, ast.Name) else type(node).__name__
            raise InvalidInput("this expression uses something unknown", field=field, value=shown, rule=rule)
    return tree


def evaluate_expression(text: str, values: Mapping[str, float], field: str = "value") -> float:
    """Return the value of an expression; a division by zero gives NaN.

    >>> evaluate_expression("25*true_positive - 5*false_positive", {"true_positive": 2.0, "false_positive": 4.0})
    30.0
    """
    return _evaluate(_parsed(text, frozenset(values), field), values)


@lru_cache(maxsize=256)
def _parsed(text: str, names: frozenset[str], field: str) -> ast.expr:
    return parse_expression(text, set(names), field)


def _evaluate(node: ast.expr, values: Mapping[str, float]) -> float:
    if isinstance(node, ast.Name):
        return float(values[node.id])
    if isinstance(node, ast.Constant):
        return float(node.value)  # type: ignore[arg-type]
    if isinstance(node, ast.UnaryOp):
        inner = _evaluate(node.operand, values)
        return -inner if isinstance(node.op, ast.USub) else inner
    assert isinstance(node, ast.BinOp)
    left, right = _evaluate(node.left, values), _evaluate(node.right, values)
    if isinstance(node.op, ast.Add):
        return left + right
    if isinstance(node.op, ast.Sub):
        return left - right
    if isinstance(node.op, ast.Mult):
        return left * right
    return left / right if right != 0 else float("nan")
