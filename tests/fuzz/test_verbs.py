"""Mutated calls of every verb, query and operation: each is answered, and what is taken is valid and harms nothing."""

import copy
import random
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from loopwright.governance import LOCAL_ACTOR, SYSTEM
from loopwright.kernel.clock import FixedClock
from loopwright.kernel.verbs import VERBS, Verb
from loopwright.rooms import import_rooms
from loopwright.server.context import ServerContext
from loopwright.store.engine import Database
from tests.conftest import START
from tests.contract.verb_calls import prepare
from tests.databases import Postgres, open_sqlite
from tests.fuzz.arguments import KNOWN, Builder, misfits, read_once
from tests.fuzz.mutations import NASTY, SEEDS, as_bytes, change_bytes, change_value, seeds
from tests.fuzz.promises import HEADERS, may_call, wrongly_told
from tests.fuzz.site import FuzzedSite, Sent
from tests.loop.conftest import Importer, Loop

import_rooms()
pytestmark = [pytest.mark.slow, pytest.mark.timeout(0)]
NAMES = sorted(name for name, verb in VERBS.items() if verb.function.__module__.startswith("loopwright."))
QUERIES = [name for name in NAMES if VERBS[name].is_query and not VERBS[name].is_above_projects]
FOREIGN = [*("other", "_system", "../other", "other/deployment:late", "other/model:late/1"), *KNOWN["ref"]]
ADDED = sorted({name for verb in VERBS.values() for name in verb.parameters} | {"", "x", "project", "__class__"})
WAITS = [
    "wait_s=0",
    "wait_s=0.001",
    "wait_s=-1",
    "wait_s=nan",
    "wait_s=1e400",
    "wait_s=",
    "wait_s=0&wait_s=x",
    "%FF=%00",
]
PAST = "past"
"""A project on a replay clock."""
OF_REPLAY = ("clock.advance", "projects.set_clock")
ABOVE = ("jobs.claim", "jobs.renew", "jobs.let_go", "serving.acknowledge")
"""What may be called in a project and is called above them."""
PATHS = {"data": "/data", "features": "/features", "tracking": "/experiments", "registry": "/models/late"}
PATHS |= {"serving": "/deployments/late", "monitoring": "/monitoring/late", "pipelines": "/pipelines", "loop": ""}


class Verbs:
    """The prepared state behind the server's doors, and calls to draw from.

    Args:
        folder: Where the server's files are.
        database: With every table.
    """

    def __init__(self, folder: Path, database: Database) -> None:
        wall = FixedClock(START)
        self._folder, self._wall = folder, wall
        self.site = FuzzedSite(folder, database, wall, self._fill)
        self.others = {project: self.site.rows_of_others(project) for project in ("flights", PAST, SYSTEM)}

    def _fill(self, context: ServerContext) -> dict[str, str]:
        call = context.dispatcher.call
        for facts in ({"name": "flights", "owner": "ops"}, {"name": PAST, "clock": "replay", "clock_at": START}):
            call("projects.create", facts, actor=LOCAL_ACTOR, project=SYSTEM)
        loop = Loop(context.dispatcher, context.reactor, context.blobs, self._wall)
        loop.apply()
        importer = Importer(context.dispatcher, context.blobs, self._folder, self._wall, loop=loop)
        prepared = prepare(loop, importer)
        self.calls: dict[str, list[dict[str, Any]]] = {}
        for each in prepared.calls():
            self.calls.setdefault(each.verb, []).append(each.args)
        return prepared.ids

    def draw(self, seed: int) -> tuple[Verb, str, str, Sent]:
        """Return a mutated call: of which verb, by whom, in which project, and what is sent."""
        random_ = random.Random(seed)
        called = VERBS[random_.choice(NAMES)]
        body = self._body(random_, called)
        is_above = called.is_above_projects or called.name in ABOVE
        project = SYSTEM if is_above else PAST if called.name in OF_REPLAY else "flights"
        role = "platform" if called.surface == "internal" or is_above or project == PAST else "admin"
        if random_.random() < 0.2:
            role = random_.choice([*self.site.tokens, "forged"])
        if random_.random() < 0.05:
            project = random_.choice(["other", PAST, SYSTEM, "missing", "%00", "%FF", "a" * 3000, "*", ".."])
        path = f"/v1/{project}/verbs/{called.name}"
        if random_.random() < 0.03:
            path = path.replace(".", random_.choice(["%2E", "%00", "..", "/", ""]))
        query = random_.choice(WAITS) if random_.random() < 0.1 else ""
        headers = random_.sample(HEADERS, 2) if random_.random() < 0.1 else []
        if role == "forged":
            headers.append(("authorization", b"Bearer " + self._forged(random_)))
        cut = random_.randrange(len(body) + 1) if random_.random() < 0.1 else 0
        sent = Sent("POST", path, query, headers, [body[:cut], body[cut:]], random_.random() < 0.97)
        return called, role, project, sent

    def _body(self, random_: random.Random, called: Verb) -> bytes:
        """Return mutated arguments: those of a call that is known to be fine, or built from their types."""
        if called.name in self.calls and random_.random() < 0.6:
            args = copy.deepcopy(random_.choice(self.calls[called.name]))
        else:
            args = Builder(random_, self.site.ids).arguments(called)
        nasty = [*NASTY, *FOREIGN, *self.site.ids.values()]
        for _ in range(random_.choice([0, 1, 1, 1, 2, 3])):
            change_value(random_, args, ADDED, nasty)
        body = as_bytes(args)
        return change_bytes(random_, body) if random_.random() < 0.15 else body

    def _forged(self, random_: random.Random) -> bytes:
        """Return a credential that was never given: a real one with other bytes, or one that is made up."""
        real = random_.choice(list(self.site.tokens.values())).encode()
        claim = urlsafe_b64encode(as_bytes(random_.choice([["flights", "job_x", 2**63], {}, [1] * 400, "\0", NASTY])))
        forged = random_.choice(
            [change_bytes(random_, real), b"lwj_" + claim + b".0", b"lwg_" + claim + b".0.0", b"\xff"]
        )
        return forged if forged.strip() != real else b"lws_x"

    def play(self, seed: int) -> tuple[int, list[str]]:
        """Send what a seed draws; return the status, and what is wrong with the answer or with what came of it."""
        called, role, project, sent = self.draw(seed)
        answer, wrong = self.site.ask(sent, role)
        body = b"".join(sent.pieces)
        if answer.status == 200 and sent.path.endswith(called.name):
            wrong += self._wrongly_taken(called, role, project, body)
        elif answer.status >= 400 and sent.is_whole:
            wrong += wrongly_told(answer.body)
        is_read = called.is_query or answer.status >= 400
        if changed := self.site.changed():
            is_told = answer.status == 403 or (answer.status == 401 and changed == ["events"])
            if is_read and not is_told and not called.reads_log:
                wrong.append(f"{answer.status}, and yet this was written to: {changed}")
            if answer.status == 200:
                wrong += self.site.look_after(self._looks(called, project, seed))
            self.site.put_back()
        return answer.status, [f"seed {seed}: {role}: {sent}: {each}" for each in wrong]

    def _wrongly_taken(self, called: Verb, role: str, project: str, body: bytes) -> Iterator[str]:
        if not may_call(called, role, project):
            yield f"taken from {role} in {project}"
        try:
            document = read_once(body) if body else {}
        except (ValueError, RecursionError) as error:
            yield f"taken: {error}"
            return
        if document is not None:
            yield from (f"taken: {each}" for each in misfits(called, document))
        if project in self.others and self.site.rows_of_others(project) != self.others[project]:
            yield "something was written into another project"

    def _looks(self, called: Verb, project: str, seed: int) -> list[Sent]:
        """Return what is looked at after a change: pages, and queries, with words and without."""
        room = called.name.partition(".")[0]
        pages = ["/p/flights.json", "/p/flights/audit", f"/p/flights{PATHS.get(room, '')}", f"/p/{PAST}"]
        random_ = random.Random(seed)
        named = [name for name in QUERIES if name.startswith(f"{room}.") and not needs_words(VERBS[name])]
        asked = [(name, {}) for name in named]
        asked += [(name, Builder(random_, self.site.ids).arguments(VERBS[name])) for name in random_.sample(QUERIES, 5)]
        calls = [Sent("POST", f"/v1/{project}/verbs/{name}", pieces=[as_bytes(args)]) for name, args in asked]
        return [*(Sent("GET", page) for page in pages), *calls]


def needs_words(called: Verb) -> bool:
    """Say whether a verb has arguments that cannot be left out."""
    return any(one.default is one.empty for one in called.parameters.values())


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def verbs(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Verbs]:
    folder = tmp_path_factory.mktemp("verbs")
    if request.param == "sqlite":
        database = open_sqlite(folder / "loopwright.db")
    else:
        server: Postgres = request.getfixturevalue("postgres")
        database = Database(server.with_tables())
    made = Verbs(folder, database)
    yield made
    made.site.close()


def test_no_call_is_too_much(verbs: Verbs) -> None:
    played = [verbs.play(seed) for seed in seeds(1 if verbs.site.context.database.is_sqlite else 4)]
    wrong = [each for _, told in played for each in told]
    assert not wrong, f"{len(wrong)} of {len(played)}:\n" + "\n".join(wrong[:400])
    assert SEEDS < 100 or {200, 403, 422} <= {status for status, _ in played}
