"""Masking what became personal after samples were kept."""

from loopwright.data import CheckResult, CheckSpec, ColumnChange, Diff
from loopwright.data.masking import mask_checks, mask_diff


def test_kept_comparisons_show_no_value_that_is_personal_by_now() -> None:
    change = {"id": 2, "changes": {"email": {"before": "a@b.c", "after": None}, "x": {"before": 1, "after": 2}}}
    kept = Diff(
        *("people", 1, 2, 1, 1, 1, []),
        [ColumnChange("email", "distinct", 4, 5), ColumnChange("email", "low", 1, 2), ColumnChange("x", "low", 1, 2)],
        {"added": [{"id": 1, "email": "ann@b.c"}], "removed": [{"id": 3, "email": None}], "changed": [change]},
    )
    shown = mask_diff(kept, ["email"])
    assert shown.samples["added"] == [{"id": 1, "email": "•••"}]
    assert shown.samples["removed"] == [{"id": 3, "email": None}]
    changes = {"email": {"before": "•••", "after": None}, "x": {"before": 1, "after": 2}}
    assert shown.samples["changed"] == [{"id": 2, "changes": changes}]
    assert [(one.column, one.what) for one in shown.statistics] == [("email", "distinct"), ("x", "low")]
    assert mask_diff(kept, []) == kept


def test_a_personal_key_is_masked_in_changes_too() -> None:
    kept = Diff("people", 1, 2, 0, 0, 1, [], [], {"changed": [{"email": "a@b.c", "changes": {}}]})
    assert mask_diff(kept, ["email"]).samples["changed"] == [{"email": "•••", "changes": {}}]


def test_a_column_called_changes_is_a_column() -> None:
    kept = Diff("people", 1, 2, 1, 0, 0, [], [], {"added": [{"id": 1, "changes": "a"}]})
    assert mask_diff(kept, ["changes"]).samples["added"] == [{"id": 1, "changes": "•••"}]
    assert mask_diff(kept, ["id"]).samples["added"] == [{"id": "•••", "changes": "a"}]


def test_samples_of_checks_are_masked() -> None:
    result = CheckResult(CheckSpec("not_null", "x"), False, 2, 1, [{"email": "a@b.c", "x": None}])
    assert mask_checks([result], ["email"])[0].samples == [{"email": "•••", "x": None}]
