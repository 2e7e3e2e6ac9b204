"""Actions: a form fills its verb, and a page offers only what there is."""

import inspect
import re

import pytest

from loopwright.kernel.verbs import verb_of
from loopwright.ui.kit.actions import ACTIONS, Action
from loopwright.ui.kit.assets import FOLDER

OFFERED = re.compile(r'm\.act\("([a-z_.]+)", \{([^}]*)\}')


@pytest.mark.parametrize("action", ACTIONS.values(), ids=ACTIONS)
def test_a_form_fills_its_verb(action: Action) -> None:
    called = verb_of(action.verb)
    filled = {*action.fields, *action.numbers, *([action.reason] if action.reason else [])}
    assert filled <= set(called.parameters)
    needed = {one.name for one in called.parameters.values() if one.default is inspect.Parameter.empty}
    assert needed <= filled
    assert {called.types[name] for name in action.numbers} <= {int}
    assert not called.is_query


def test_templates_offer_actions_with_the_fields_they_take() -> None:
    offered = [
        (path.name, *match)
        for path in (FOLDER.parent / "templates").rglob("*.html")
        for match in OFFERED.findall(path.read_text())
    ]
    assert offered
    for page, name, args in offered:
        sent = set(re.findall(r'"(\w+)":', args))
        assert sent == {*ACTIONS[name].fields, *ACTIONS[name].numbers}, (page, name)
