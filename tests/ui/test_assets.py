"""Vendored files are what their manifest says, and static files are kept by content."""

import hashlib
import json

import httpx

from loopwright.ui.kit import assets
from tests.ui.conftest import Site

VENDOR = assets.FOLDER / "vendor"


def test_vendored_files_match_their_manifest() -> None:
    listed = json.loads((VENDOR / "manifest.json").read_text())
    for one in listed:
        assert hashlib.sha256((VENDOR / one["file"]).read_bytes()).hexdigest() == one["sha256"], one["file"]
        assert one["version"] in one["file"]
        assert (VENDOR / one["license_file"]).read_text().strip()
    known = {one["file"] for one in listed} | {one["license_file"] for one in listed} | {"manifest.json"}
    assert {path.name for path in VENDOR.iterdir()} == known


def test_own_script_stays_small() -> None:
    script = (assets.FOLDER / "app.js").read_text()
    assert len(script.splitlines()) < 300
    assert len((assets.FOLDER / "app.css").read_text().splitlines()) < 600


def test_an_asset_is_kept_for_ever_at_its_digest_only(site: Site) -> None:
    exact = httpx.get(f"{site.url}{assets.asset_path('app.css')}")
    assert "immutable" in exact.headers["cache-control"]
    assert exact.headers["content-type"].startswith("text/css")
    loose = httpx.get(f"{site.url}/static/app.css")
    assert loose.headers["cache-control"] == "no-cache"
    again = httpx.get(f"{site.url}/static/app.css", headers={"if-none-match": loose.headers["etag"]})
    assert again.status_code == 304


def test_nothing_outside_the_folder_is_served(site: Site) -> None:
    for name in ("../rendering.py", "%2e%2e/rendering.py", "vendor/manifest.json", "/etc/passwd"):
        assert httpx.get(f"{site.url}/static/{name}").status_code == 404


def test_templates_hold_no_script_or_style() -> None:
    for path in (assets.FOLDER.parent / "templates").rglob("*.html"):
        text = path.read_text()
        assert " style=" not in text, path.name
        assert "<style" not in text, path.name
        assert "|safe" not in text.replace(" ", ""), path.name
