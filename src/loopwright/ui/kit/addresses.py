"""Where the page of a ref is, and which addresses a form may lead back to."""

import re
from urllib.parse import quote, urlencode

from loopwright.kernel.errors import InvalidInput
from loopwright.kernel.refs import Ref, parse_ref

_PLACES = {
    "dataset": "data",
    "model": "models",
    "deployment": "deployments",
    "release": "deployments",
    "run": "runs",
    "execution": "pipelines",
    "prediction": "predictions",
    "incident": "incidents",
    "feature_view": "features",
    "feature_service": "features",
    "feature_request": "features",
}
_ID = re.compile(r"^([a-z]{2,8})_[0-9A-HJKMNP-TV-Z]{21}([0-9A-HJKMNP-TV-Z]{5})$")
_DIGEST = re.compile("[0-9a-f]{64}")
_VERSIONED = {"dataset", "model"}
_LISTS = {"feature_view", "feature_service", "feature_request"}


def read_ref(text: str, project: str) -> Ref | None:
    """Return a ref, or None for a text that is none."""
    try:
        return parse_ref(text, project)
    except InvalidInput:
        return None


def short_ref(text: str, project: str = "") -> str:
    """Return a ref without its project.

    >>> short_ref("flights/model:late/17", "flights")
    'model:late/17'
    """
    return text.removeprefix(f"{project}/") if project else text.partition("/")[2] or text


def shown_name(name: str) -> str:
    """Return a name as shown: an id by its prefix and its last letters, a digest by its first.

    >>> shown_name("run_01M7YJ576B2P6N7BVX8KY9QSG0"), shown_name("late"), shown_name("3d98c6fc" * 8)
    ('run_…9QSG0', 'late', '3d98c6fc3d98')
    """
    return name[:12] if _DIGEST.fullmatch(name) else _ID.sub(r"\1_…\2", name)


def shown_ref(text: str, project: str) -> str:
    """Return a ref as shown: without its project, ids shortened, and no kind where the id tells it."""
    ref = read_ref(text, project)
    if ref is None:
        return text
    name = shown_name(ref.name)
    return name if name != ref.name else short_ref(text, project)


def name_of(text: str, project: str) -> str:
    """Return what people call a ref's object: its name, and its version where it has one."""
    ref = read_ref(text, project)
    if ref is None:
        return text
    return shown_name(ref.name) if ref.version is None else f"{ref.name} v{ref.version}"


def kind_of(text: str, project: str) -> str:
    """Return a ref's kind in words."""
    ref = read_ref(text, project)
    return "" if ref is None else ref.kind.replace("_", " ")


def address(project: str, *parts: object, **query: object) -> str:
    """Return the path of a page of a project, every part quoted; empty query values are left out."""
    path = "/".join(["/p", quote(project, safe=""), *(quote(str(part), safe=":") for part in parts)])
    asked = {name: value for name, value in query.items() if value not in (None, "")}
    return f"{path}?{urlencode(asked)}" if asked else path


def page_of(text: str, project: str) -> str:
    """Return the path of the page of a ref; what has none of its own is shown in its lineage.

    >>> page_of("flights/feature_request:delay", "flights")
    '/p/flights/features#delay'
    """
    ref = read_ref(text, project)
    if ref is None or ref.kind not in _PLACES:
        return address(project, "lineage", *short_ref(text, project).split("/"))
    if ref.kind in _LISTS:
        return address(project, _PLACES[ref.kind]) + f"#{quote(ref.name)}"
    versions = [ref.version] if ref.version is not None and ref.kind in _VERSIONED else []
    return address(project, _PLACES[ref.kind], ref.name, *versions)


def local_path(text: str, otherwise: str = "/") -> str:
    """Return a path of this site, so that a form never leads elsewhere."""
    # A browser drops tabs and line breaks wherever they stand, and takes a backslash for a slash.
    is_plain = text.isprintable() and "\\" not in text
    return text if is_plain and text.startswith("/") and not text.startswith("//") else otherwise
