"""What the commands about serving print."""

from loopwright.cli.serving import _class_of


def test_a_multiclass_answer_is_shown_as_its_class_and_that_class_probability() -> None:
    told = {"class": "a", "probabilities": {"a": 0.5, "b": 0.3, "c": 0.2}}
    assert _class_of({"score": None, "answer": told}) == {"class": "a", "score": 0.5}
    assert _class_of({"score": 0.7, "answer": None}) == {}
    assert _class_of({"score": 0.7}) == {}
