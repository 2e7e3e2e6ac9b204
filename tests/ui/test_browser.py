"""Real Chromium: every page in light and dark, wide and narrow, without errors, overflow or accessibility faults."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.ui.conftest import Site
from tests.ui.looking import find_faults
from tests.ui.test_pages import PATHS
from tests.waiting import PATIENCE_S

pytestmark = pytest.mark.ui

CLIPPED = """() => [...document.querySelectorAll(".scroll, .chart")].filter(one => one.scrollWidth > one.clientWidth)
  .map(one => `${one.getAttribute("aria-label")} ${one.scrollWidth} > ${one.clientWidth}`)"""
"""Which tables and charts have to be scrolled to be read."""


@pytest.fixture
def errors() -> list[str]:
    return []


@pytest.fixture
def tab(browser: Any, site: Site, errors: list[str]) -> Iterator[Any]:
    context = browser.new_context(color_scheme="light", reduced_motion="reduce")
    context.set_default_timeout(PATIENCE_S * 1000)
    opened = context.new_page()
    opened.on("console", lambda message: errors.append(message.text) if message.type in ("error", "warning") else None)
    opened.on("pageerror", lambda error: errors.append(str(error)))
    opened.on(
        "request", lambda asked: None if asked.url.startswith(site.url) else errors.append(f"foreign {asked.url}")
    )
    yield opened
    context.close()


@pytest.fixture
def desk(browser: Any, site: Site) -> Iterator[Any]:
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    context.set_default_timeout(PATIENCE_S * 1000)
    yield context.new_page()
    context.close()


def test_tables_fit_a_small_desk(desk: Any, site: Site) -> None:
    desk.set_viewport_size({"width": 1280, "height": 900})
    clipped = []
    for path in PATHS:
        desk.goto(site.page(path.format(**site.ids)), wait_until="load")
        clipped += [f"{path}: {one}" for one in desk.evaluate(CLIPPED)]
    assert not clipped, "\n".join(clipped)


def test_every_page_is_sound(tab: Any, site: Site, errors: list[str]) -> None:
    problems = []
    for path in PATHS:
        place = path.format(**site.ids)
        tab.goto(site.page(place), wait_until="load")
        problems += [f"{place}: {fault}" for fault in find_faults(tab)]
    assert not errors
    assert not problems, "\n".join(problems)


def test_keys_lead_through_a_page(desk: Any, site: Site) -> None:
    desk.goto(site.page("/models/late"))
    desk.keyboard.press("j")
    desk.keyboard.press("j")
    assert desk.evaluate("document.activeElement.textContent") == "v5"
    desk.keyboard.press("Enter")
    desk.wait_for_url("**/models/late/5")
    desk.keyboard.press("/")
    assert desk.evaluate("document.activeElement.id") == "search"
    desk.keyboard.type("weather")
    desk.keyboard.press("Enter")
    desk.wait_for_url("**/search?q=weather")
    desk.keyboard.press("?")
    assert desk.is_visible("#keys")


def test_runs_are_filtered_while_typing(desk: Any, site: Site) -> None:
    desk.goto(site.page("/experiments/late"))
    desk.fill("input[name=filter]", 'state = "failed"')
    desk.wait_for_selector("#runs tbody tr:nth-child(20)", state="detached")
    assert "filter=" in desk.url
    assert desk.evaluate("document.activeElement.name") == "filter"


def test_a_metric_is_drawn_and_a_theme_switches_without_losing_the_page(desk: Any, site: Site) -> None:
    desk.goto(site.page(f"/runs/{site.ids['run']}?metric=roc_auc"))
    desk.wait_for_selector(".metric-chart canvas")
    desk.click("button[name=theme][value=dark]")
    desk.wait_for_selector("html[data-theme=dark]")
    assert desk.url.endswith("metric=roc_auc")
    assert desk.evaluate("getComputedStyle(document.documentElement).backgroundColor") == "rgb(17, 19, 20)"


def test_everything_works_without_script(browser: Any, site: Site) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(site.page("/experiments/late"))
    page.fill("input[name=filter]", 'state = "failed"')
    page.click("form.filters button")
    assert "filter=" in page.url
    page.goto(site.page(f"/runs/{site.ids['run']}"))
    assert page.query_selector(".metric-chart svg") is not None
    page.goto(site.page("/approvals"))
    page.click("details.act > summary")
    assert page.is_visible("details.act[open] form input[name=reason]")
    context.close()
