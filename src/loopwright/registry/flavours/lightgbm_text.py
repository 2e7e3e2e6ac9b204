"""LightGBM's text format, read before the native library sees it.

The library trusts the sizes that a file states: wrong ones end the process instead of raising, and a child that points
back at its parent predicts for ever. So a file must be whole and consistent before it is handed over.
"""

import re
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loopwright.kernel.errors import InvalidInput

MOST_TREES = 200_000
MOST_LEAVES = 131_072
_OBJECTIVES = """
binary cross_entropy cross_entropy_lambda custom fair gamma huber lambdarank mape multiclass multiclassova none poisson
quantile rank_xendcg regression regression_l1 tweedie
"""
OBJECTIVES = frozenset(_OBJECTIVES.split())
_FLAGS = frozenset({"tree", "average_output"})
_CATEGORICAL = 1
"""Bit of ``decision_type``."""


def check_text(text: str) -> None:
    """Refuse a text that is not a whole and consistent model.

    Raises:
        InvalidInput: Names the part and the rule.
    """
    head, found, _ = text.partition("\n\n")
    if not found or not head.startswith("tree\n"):
        raise _broken("the head", "begins with tree and ends with an empty line")
    fields = dict(_lines(head))
    features, trees = _check_head(fields)
    body = text.encode()[len(head.encode()) + 2 :]
    begin = 0
    for number, size in enumerate(trees):
        block = body[begin : begin + size]
        begin += size
        if not block.startswith(f"Tree={number}\n".encode()) or not block.endswith(b"\n"):
            raise _broken(f"tree {number}", "lies where tree_sizes says")
        _check_tree(f"tree {number}", dict(_lines(block.decode("utf-8", "replace"))), features)
    if not body[begin:].lstrip(b"\n").startswith(b"end of trees"):
        raise _broken("the trees", "all named in tree_sizes")


def _lines(text: str) -> Iterator[tuple[str, str]]:
    for line in text.split("\n"):
        name, sign, value = line.partition("=")
        if not sign and line and line not in _FLAGS:
            raise _broken(f"the line {line[:40]}", "name=value")
        yield name, value


def _check_head(fields: dict[str, str]) -> tuple[int, list[int]]:
    """Return how many features there are, and the size of each tree in bytes."""
    features = _whole(fields, "max_feature_idx", 0, 10_000_000) + 1
    classes = _whole(fields, "num_class", 1, 100_000)
    if _whole(fields, "num_tree_per_iteration", 1, 100_000) != classes:
        raise _broken("num_tree_per_iteration", "as num_class")
    _whole(fields, "label_index", 0, 10_000_000)
    for name in ("feature_names", "feature_infos"):
        if len(fields.get(name, "").split(" ")) != features:
            raise _broken(name, f"{features} entries, as max_feature_idx says")
    objective = fields.get("objective", "none").split(" ")
    told = [word.partition(":")[2] for word in objective if word.startswith("num_class:")]
    if objective[0] not in OBJECTIVES or any(one != str(classes) for one in told):
        raise _broken("objective", "one of LightGBM's own, with the num_class of the head")
    if objective[0].startswith("multiclass") != bool(told):
        raise _broken("objective", "num_class where it is multiclass, and only there")
    sizes = fields.get("tree_sizes", "")
    if not re.fullmatch(r"(\d{1,10}( \d{1,10})*)?", sizes):
        raise _broken("tree_sizes", "whole numbers")
    trees = [int(size) for size in sizes.split()]
    if len(trees) > MOST_TREES or len(trees) % classes:
        raise _broken("tree_sizes", f"at most {MOST_TREES}, as many for each class")
    return features, trees


def _check_tree(what: str, fields: dict[str, str], features: int) -> None:
    leaves = _whole(fields, "num_leaves", 1, MOST_LEAVES)
    _numbers(what, fields, "leaf_value", leaves)
    if leaves == 1:
        return
    splits = leaves - 1
    read = _numbers(what, fields, "split_feature", splits, whole=True)
    if read.min() < 0 or read.max() >= features:
        raise _broken(f"{what}: split_feature", f"0 to {features - 1}")
    threshold = _numbers(what, fields, "threshold", splits)
    kinds = _numbers(what, fields, "decision_type", splits, whole=True)
    for name, count in (("leaf_weight", leaves), ("leaf_count", leaves), ("internal_count", splits)):
        if fields.get(name):
            _numbers(what, fields, name, count)
    _check_children(what, fields, leaves)
    _check_categories(what, fields, threshold[(kinds & _CATEGORICAL) > 0])
    if fields.get("is_linear", "0") != "0":
        _check_linear(what, fields, leaves, features)


def _check_children(what: str, fields: dict[str, str], leaves: int) -> None:
    """Each split but the root and each leaf hangs at one earlier split: then every walk down ends."""
    splits = leaves - 1
    sides = [_numbers(what, fields, side, splits, whole=True) for side in ("left_child", "right_child")]
    parents = np.tile(np.arange(splits), 2)
    children = np.concatenate(sides)
    inner = children >= 0
    is_tree = (
        np.array_equal(np.sort(children[inner]), np.arange(1, splits))
        and np.array_equal(np.sort(~children[~inner]), np.arange(leaves))
        and bool((children[inner] > parents[inner]).all())
    )
    if not is_tree:
        raise _broken(f"{what}: left_child and right_child", "each split and leaf below one earlier split")


def _check_categories(what: str, fields: dict[str, str], chosen: NDArray[Any]) -> None:
    categories = _whole(fields, "num_cat", 0, MOST_LEAVES)
    if chosen.size and not ((chosen >= 0).all() and (chosen < categories).all()):
        raise _broken(f"{what}: threshold", f"of categories: below num_cat, {categories}")
    if categories:
        bounds = _numbers(what, fields, "cat_boundaries", categories + 1, whole=True)
        if bounds[0] != 0 or (np.diff(bounds) < 0).any():
            raise _broken(f"{what}: cat_boundaries", "from 0 on, never falling")
        words = _numbers(what, fields, "cat_threshold", int(bounds[-1]), whole=True)
        if words.size and (words.min() < 0 or words.max() >= 2**32):
            raise _broken(f"{what}: cat_threshold", "words of 32 bits")


def _check_linear(what: str, fields: dict[str, str], leaves: int, features: int) -> None:
    _numbers(what, fields, "leaf_const", leaves)
    counts = _numbers(what, fields, "num_features", leaves, whole=True)
    if counts.min() < 0:
        raise _broken(f"{what}: num_features", "0 or more")
    read = _numbers(what, fields, "leaf_features", int(counts.sum()), whole=True)
    _numbers(what, fields, "leaf_coeff", int(counts.sum()))
    if read.size and (read.min() < 0 or read.max() >= features):
        raise _broken(f"{what}: leaf_features", f"0 to {features - 1}")


def _whole(fields: dict[str, str], name: str, low: int, high: int) -> int:
    text = fields.get(name, "")
    if not re.fullmatch(r"\d{1,9}", text) or not low <= int(text) <= high:
        raise _broken(name, f"a whole number, {low} to {high}")
    return int(text)


def _numbers(what: str, fields: dict[str, str], name: str, count: int, *, whole: bool = False) -> NDArray[Any]:
    """Return the numbers of a line, int64 or float64 of shape (count,)."""
    words = fields.get(name, "").split()
    if len(words) != count:
        raise _broken(f"{what}: {name}", f"{count} numbers")
    try:
        return np.array(words, dtype=np.int64 if whole else np.float64)
    except (ValueError, OverflowError):
        raise _broken(f"{what}: {name}", "whole numbers" if whole else "numbers") from None


def _broken(what: str, rule: str) -> InvalidInput:
    return InvalidInput(
        "this is no whole LightGBM model",
        field=what,
        rule=rule,
        next_step="write it with Booster.save_model and leave it as it is",
    )
