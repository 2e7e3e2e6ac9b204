"""Names that are not known."""

from loopwright.kernel.suggestions import nearest, suggest


def test_the_nearest_name_is_told() -> None:
    assert suggest("tmep", ["temp", "wind"], "declare it") == "did you mean temp?"
    assert nearest("zzz", ["temp", "wind"]) is None


def test_without_a_near_one_a_few_are_listed_or_another_step_is_told() -> None:
    assert suggest("zzz", ["wind", "temp"]) == "known: temp, wind"
    assert suggest("zzz", [f"column_{place:02}" for place in range(12)]).endswith("column_09 and 2 more")
    assert suggest("zzz", []) == "known: none"
    assert suggest("zzz", ["temp"], "declare it") == "declare it"
