"""Which features exist, from what, and how fresh are they?"""

from loopwright import features
from loopwright.features import Materialization
from loopwright.ui.kit.asking import Ask
from loopwright.ui.kit.rendering import View, page


def show_features(ask: Ask) -> View:
    """Return services, views and on-request functions, and the last fills of the online store."""
    found = ask(features.list_definitions)
    fills = ask(features.materializations, limit=100)
    newest: dict[str, Materialization] = {}
    for fill in fills:
        newest.setdefault(fill.view, fill)
    services = [one for one in found if one.kind == "service"]
    sets = {one.name: ask(features.list_training_sets, service=one.name, limit=10) for one in services}
    facts = {
        "services": services,
        "views": [one for one in found if one.kind == "view"],
        "requests": [one for one in found if one.kind == "request"],
        "filled": newest,
        "training_sets": [one for listed in sets.values() for one in listed],
    }
    return View("features/features.html", "Features", "Features", facts)


ROUTES = page("/features", show_features)
