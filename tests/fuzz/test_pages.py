"""Mutated requests for every route of a server but that of verbs: pages, twins, forms, sign-in, blobs, metrics."""

import json
import random
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, quote, urlencode

import pytest
from starlette.routing import Route

from loopwright.kernel.clock import FixedClock
from loopwright.kernel.verbs import verb_of
from loopwright.rooms import import_rooms
from loopwright.server.api.verbs import ROUTE
from loopwright.server.auth import SESSION_COOKIE
from loopwright.ui.kit.actions import ACTIONS
from loopwright.ui.kit.assets import FOLDER
from tests.databases import open_sqlite
from tests.fuzz.arguments import misfits
from tests.fuzz.mutations import SEEDS, change_bytes, seeds
from tests.fuzz.promises import HEADERS, may_call, wrongly_told
from tests.fuzz.site import Answer, FuzzedSite, Sent
from tests.ui.seed import seed as fill
from tests.ui.seed_ground import NOW

import_rooms()
pytestmark = [pytest.mark.slow, pytest.mark.timeout(0)]
MARKUP = "<fuzz>"
TEXTS = [
    *("", " ", "\0", "\ufffd", "é", "\U0001f600", "\u0663", "a" * 3000, "9" * 18, "9" * 19, "9" * 5000, "-1", "0"),
    *("1_0", "1.5", "nan", "null", "..", "../..", "/", "//elsewhere.example", "/\\elsewhere.example", "+1", "1e3"),
    *("\r\nset-cookie: a=b", "{{7*7}}", "'", '"', "%", "*", "a:b", "late", "x.json", MARKUP, f'"{MARKUP}'),
    *(
        "model:late/4",
        "other/model:late/1",
        "metrics.roc_auc > 0.7",
        "state = 'failed'",
        "metrics.",
        "1362096000000000",
    ),
]
RAW = ["%00", "%FF", "%ED%A0%80", "%2F", "%2e%2e", "%", "%zz", "%0d%0aa:b", ";", "?", "//"]
METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW"]
_ASKED = re.compile(r'asked(?:_number)?\("(\w+)"')
ASKED = sorted({name for path in FOLDER.parent.rglob("*.py") for name in _ASKED.findall(path.read_text())})
ASKED += ["done", "next", "v", ""]
"""Every name that a page takes from its query."""


class Pages:
    """The seeded project behind the server's doors, and requests to draw from.

    Args:
        folder: Where the server's files are.
    """

    def __init__(self, folder: Path) -> None:
        database = open_sqlite(folder / "loopwright.db")
        self.site = FuzzedSite(
            folder, database, FixedClock(NOW), lambda context: fill(context.dispatcher, context.blobs)
        )
        self.routes = [each for each in self.site.app.routes if isinstance(each, Route) and each.path != ROUTE]
        ids = self.site.ids
        self.known = {
            "project": ["flights"],
            "dataset": ["weather", "flights"],
            "version": ["4", "6", "40"],
            "span": ["39..40"],
            "experiment": ["late"],
            "run_id": [ids["run"]],
            "model": ["late"],
            "prediction_id": [ids["prediction"]],
            "deployment": ["late", "arrival", "scorecard"],
            "start_at": ["1381190400000000", "1362096000000000"],
            "execution_id": [ids["execution"], ids["failed_execution"]],
            "incident_id": [ids["incident"]],
            "ref": ["model:late/4", "dataset:flights/1", f"run:{ids['run']}"],
            "name": ["app.css", "app.js"],
            "verb": sorted(ACTIONS),
            "path": ["v1/flights/nothing"],
            "digest": sorted(self.site.blobs)[:3],
        }

    def draw(self, seed: int) -> tuple[str, Sent]:
        """Return a mutated request: by whom, and what is sent."""
        random_ = random.Random(seed)
        route = random_.choice(self.routes)
        parts = {name: self._part(random_, name) for name in route.param_convertors}
        path = re.sub(r"\{(\w+)(?::path)?\}", lambda part: parts[part[1]], route.path)
        if random_.random() < 0.05:
            path = random_.choice(["/", "", "//"]) + path + random_.choice(RAW)
        methods = sorted(set(route.methods or ["GET"]) - {"HEAD"})
        method = random_.choice(METHODS if random_.random() < 0.1 else methods)
        query = "&".join(
            f"{random_.choice(ASKED)}={self._value(random_)}" for _ in range(random_.choice([0, 0, 1, 1, 2]))
        )
        headers = [("accept", random_.choice([b"text/html", b"*/*", b"\xff", b"application/json"]))]
        headers += random_.sample(HEADERS, 1) if random_.random() < 0.1 else []
        role = random_.choice(["session"] * 6 + [*self.site.tokens, "nobody"])
        if role == "session":
            headers.append(
                (
                    "cookie",
                    f"{SESSION_COOKIE}={self.site.session}; loopwright_theme={quote(random_.choice(TEXTS))}".encode(),
                )
            )
        body = b"" if method in ("GET", "HEAD") else self._body(random_, route, parts)
        cut = random_.randrange(len(body) + 1)
        return role, Sent(method, path, query, headers, [body[:cut], body[cut:]], random_.random() < 0.97)

    def _part(self, random_: random.Random, name: str) -> str:
        if random_.random() < 0.75:
            return quote(random_.choice(self.known[name]))
        return random_.choice([quote(random_.choice(TEXTS), safe=""), random_.choice(RAW)])

    def _value(self, random_: random.Random) -> str:
        if random_.random() < 0.3:
            return quote(random_.choice(self.known[random_.choice(sorted(self.known))]))
        return random_.choice([quote(random_.choice(TEXTS), safe=""), random_.choice(RAW)])

    def _body(self, random_: random.Random, route: Route, parts: dict[str, str]) -> bytes:
        if "blobs" in route.path:
            return random_.choice([b"", b"x", b"\0" * 70_000])
        form = {
            "back": random_.choice(["/p/flights", *TEXTS]),
            "key": random_.choice(["", "k", *TEXTS]),
            "reason": "why not",
        }
        form |= {
            "token": random_.choice([self.site.tokens["viewer"], *TEXTS]),
            "theme": "dark",
            "next": "/p/flights/models",
        }
        if action := ACTIONS.get(parts.get("verb", "")):
            known = {**self.site.ids, **{name: values[0] for name, values in self.known.items()}}
            form |= {name: known.get(name, known.get(name.removesuffix("_id"), "x")) for name in action.fields}
            form |= dict.fromkeys(action.numbers, random_.choice(["2", "40"]))
        for _ in range(random_.choice([0, 1, 1, 2])):
            form[random_.choice(sorted(form))] = random_.choice(TEXTS)
        body = urlencode(form).encode()
        return change_bytes(random_, body) if random_.random() < 0.2 else body

    def play(self, seed: int) -> tuple[int, list[str]]:
        """Send what a seed draws; return the status, and what is wrong with the answer or with what came of it."""
        role, sent = self.draw(seed)
        answer, wrong = self.site.ask(sent, role)
        if sent.is_whole:
            wrong += wrongly_shown(answer)
        if (
            sent.path.startswith("/p/flights/")
            and answer.status == 200
            and role in ("nobody", "stranger", "worker", "gateway")
        ):
            wrong.append(f"shown to {role}")
        if changed := self.site.changed():
            is_read = sent.method not in ("POST", "PUT") and not sent.path.startswith("/v1/")
            is_told = answer.status in (401, 403) and changed == ["events"]
            if (is_read or answer.status >= 400) and not is_told:
                wrong.append(f"{answer.status}, and yet this was written to: {changed}")
            if answer.status < 400:
                wrong += self._wrongly_taken(role, sent)
                wrong += self.site.look_after([Sent("GET", "/p/flights"), Sent("GET", "/p/flights/audit")])
            self.site.put_back()
        return answer.status, [f"seed {seed}: {role}: {sent}: {each}" for each in wrong]

    def _wrongly_taken(self, role: str, sent: Sent) -> Iterator[str]:
        """Yield what is wrong with a form that was taken."""
        action = ACTIONS.get(sent.path.rpartition("/")[2])
        if action is None:
            return
        called = verb_of(action.verb)
        form = {name: values[-1] for name, values in parse_qs(b"".join(sent.pieces).decode(errors="replace")).items()}
        args = {name: form.get(name, "") for name in (*action.fields, *([action.reason] if action.reason else []))}
        args |= {name: int(form[name]) for name in action.numbers}
        yield from (f"taken: {each}" for each in misfits(called, args))
        if not may_call(called, "admin" if role == "session" else role, "flights"):
            yield f"taken from {role}"


def wrongly_shown(answer: Answer) -> Iterator[str]:
    """Yield what of an answer a browser would take amiss, or a program could not read."""
    kind = answer.headers.get("content-type", "")
    if kind.startswith("text/html") and MARKUP.encode() in answer.body:
        yield "markup of a stranger stands in the page"
    if not re.match(r"/(?![/\\])", answer.headers.get("location", "/")):
        yield f"leads elsewhere: {answer.headers['location'][:100]!r}"
    if kind.startswith("application/json") and answer.body:
        try:
            json.loads(answer.body, parse_constant=lambda text: 1 / 0)
        except (ValueError, ZeroDivisionError) as error:
            yield f"no JSON: {error} {answer.body[:100]!r}"
        else:
            yield from wrongly_told(answer.body) if answer.status >= 400 else ()
    elif answer.status >= 400 and answer.body and not kind.startswith("text/html"):
        yield f"tells its error as {kind}: {answer.body[:100]!r}"


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pages]:
    made = Pages(tmp_path_factory.mktemp("pages"))
    yield made
    made.site.close()


def test_no_request_is_too_much(pages: Pages) -> None:
    played = [pages.play(seed) for seed in seeds()]
    wrong = [each for _, told in played for each in told]
    assert not wrong, f"{len(wrong)} of {SEEDS}:\n" + "\n".join(wrong[:400])
    assert SEEDS < 100 or {200, 303, 404, 422} <= {status for status, _ in played}
