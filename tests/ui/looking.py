"""What is wrong with a page that a browser shows: too wide, or hard to read for somebody."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

AXE = (Path(__file__).parent / "assets" / "axe-4.10.2.min.js").read_text()
RULES = {"runOnly": {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]}}
COLOURS = {"runOnly": {"type": "rule", "values": ["color-contrast"]}}
"""What another theme may change; the rest of a page is the same in each."""
WIDEST = """() => Math.max(...[null, ...document.querySelectorAll("details")].map((one) => {
  if (one) one.open = true;
  return document.documentElement.scrollWidth - document.documentElement.clientWidth;
}))"""
"""How far a page reaches beyond its window, whatever is opened; forms of one page close each other."""
TALL = """() => [...document.querySelectorAll(".side")]
  .some(one => one.clientHeight > one.firstElementChild.scrollHeight + 24)"""
"""Whether the bar of places reaches further than its links, over what a short page leaves free."""
SIZES = {"phone": (390, 844), "wide": (1440, 900)}


def find_faults(tab: Any) -> Iterator[str]:
    """Look at the page of a tab, wide and narrow, in light and dark."""
    for name, (width, height) in SIZES.items():
        tab.set_viewport_size({"width": width, "height": height})
        over = tab.evaluate(WIDEST)
        if over > 0:
            yield f"{over} px too wide on {name}"
        if name == "phone" and tab.evaluate(TALL):
            yield "an empty bar of places"
    tab.evaluate(AXE)
    for theme, rules in (("light", RULES), ("dark", COLOURS)):
        tab.emulate_media(color_scheme=theme)
        for fault in tab.evaluate("rules => axe.run(document, rules)", rules)["violations"]:
            yield f"{fault['id']} ({fault['impact']}) at {fault['nodes'][0]['target']} in {theme}"
