"""Which features exist, from what, and how fresh are they?"""

from loopwright import features
from loopwright.features import Materialization
from loopwright.ui.kit.asking import Ask
from loopwright.ui.kit.rendering import View, page
from loopwright.ui.pages.features.lookups import look_up_key, lookup_form


def show_features(ask: Ask) -> View:
    """Return services, views and on-request functions, and the last fills of the online store."""
    looked_up = look_up_key(ask)
    found = ask(features.list_definitions)
    fills = ask(features.materializations, limit=100)
    newest: dict[str, Materialization] = {}
    for fill in fills:
        newest.setdefault(fill.view, fill)
    services = [definition for definition in found if definition.kind == "service"]
    sets = {
        definition.name: ask(features.list_training_sets, service=definition.name, limit=10) for definition in services
    }
    facts = {
        "services": services,
        "views": [definition for definition in found if definition.kind == "view"],
        "requests": [definition for definition in found if definition.kind == "request"],
        "filled": newest,
        "training_sets": [one for listed in sets.values() for one in listed],
        "form": lookup_form(ask),
        **looked_up,
    }
    return View("features/features.html", "Features", "Features", facts)


ROUTES = page("/features", show_features)
