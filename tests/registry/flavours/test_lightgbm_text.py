"""A text that is no whole model stops before the native library, which would end the process."""

import re
from typing import Any

import lightgbm
import numpy as np
import pytest

from loopwright.kernel.errors import InvalidInput
from loopwright.registry.flavours.lightgbm_text import check_text


def fit(labels: Any = None, rounds: int = 4, categories: list[int] | None = None, **parameters: Any) -> str:
    chance = np.random.default_rng(0)
    X = chance.normal(size=(600, 4))
    X[:, 2] = chance.integers(0, 40, 600)
    y = (X[:, 0] + X[:, 2] % 3 > 1).astype(int) if labels is None else labels(X, chance)
    settings = {"objective": "binary", "verbose": -1, "num_threads": 1, **parameters}
    rows = lightgbm.Dataset(X, y, categorical_feature=categories or "auto")
    return str(lightgbm.train(settings, rows, rounds).model_to_string())


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"categories": [2], "max_cat_to_onehot": 1},
        {"objective": "multiclass", "num_class": 3, "labels": lambda X, chance: chance.integers(0, 3, 600)},
        {"objective": "regression", "linear_tree": True, "labels": lambda X, chance: X[:, 1] * 2},
        {"objective": "regression", "labels": lambda X, chance: np.ones(600)},
        {"boosting": "rf", "bagging_freq": 1, "bagging_fraction": 0.5},
    ],
    ids=["binary", "categories", "multiclass", "linear", "no splits", "forest"],
)
def test_what_lightgbm_writes_passes(settings: dict[str, Any]) -> None:
    check_text(fit(**settings))


WHOLE = fit(categories=[2], max_cat_to_onehot=1, num_leaves=7)


@pytest.mark.parametrize(
    ("pattern", "instead", "told"),
    [
        (r"tree_sizes=(\d+)", "tree_sizes=9\\g<1>", "the line end of trees"),
        (r"tree_sizes=\d+", "tree_sizes=-1", "tree_sizes"),
        (r"tree_sizes=\d+ ", "tree_sizes=", "tree 0"),
        (r"(tree_sizes=.*) \d+", "\\1", "the trees"),
        (r"num_class=1", "num_class=5", "num_tree_per_iteration"),
        (r"objective=binary.*", "objective=multiclass num_class:90000", "objective"),
        (r"objective=binary.*", "objective=../../x", "objective"),
        (r"max_feature_idx=3", "max_feature_idx=2", "feature_names"),
        (r"max_feature_idx=3", "max_feature_idx=99999999999", "max_feature_idx"),
        (r"num_leaves=(\d)", "num_leaves=9", "leaf_value"),
        (r"num_leaves=(\d)", "num_leaves=0", "num_leaves"),
        (r"split_feature=\d", "split_feature=9", "split_feature"),
        (r"split_feature=\d", "split_feature=x", "split_feature"),
        (r"left_child=\d", "left_child=0", "left_child"),
        (r"left_child=\d", "left_child=8", "left_child"),
        (r"cat_boundaries=0 (\d)", "cat_boundaries=0 9", "cat_threshold"),
        (r"cat_boundaries=0", "cat_boundaries=1", "cat_boundaries"),
        (r"num_cat=[1-9]\d*", "num_cat=0", "threshold"),
        (r"leaf_value=\S+", "leaf_value=word", "leaf_value"),
    ],
)
def test_what_does_not_fit_together_is_refused(pattern: str, instead: str, told: str) -> None:
    changed, count = re.subn(pattern, instead, WHOLE, count=1)
    assert count == 1
    assert changed != WHOLE
    if "tree" not in pattern.split("=")[0] and len(changed) != len(WHOLE):
        changed = with_sizes(changed)
    with pytest.raises(InvalidInput, match="no whole LightGBM model") as caught:
        check_text(changed)
    assert told in str(caught.value.field)


def with_sizes(text: str) -> str:
    """Return a changed text with the sizes it has now, so that nothing but the change is wrong."""
    head, _, body = text.partition("\n\n")
    sizes = [len(part) + 5 for part in ("\n\n" + body.partition("end of trees")[0]).split("Tree=")[1:]]
    return re.sub("tree_sizes=.*", f"tree_sizes={' '.join(map(str, sizes))}", head) + "\n\n" + body
