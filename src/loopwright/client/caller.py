"""Calling verbs over HTTP, and a gateway."""

import os
import random
import time
from typing import Any, NamedTuple
from urllib.parse import quote, unquote, urlsplit

import msgspec

from loopwright.kernel.clock import WallClock
from loopwright.kernel.documents import digest_bytes, name_infinities, to_json
from loopwright.kernel.errors import Corrupt, InvalidInput, LoopwrightError, Unavailable, error_from_dict
from loopwright.kernel.verbs import VERBS
from loopwright.rooms import import_rooms
from loopwright.wire.addresses import Addresses
from loopwright.wire.caller import decode_answer, verb_url
from loopwright.wire.keys import new_key
from loopwright.wire.line import Answer, HttpLine, redirected

SHORT_S = 30.0
LONG_S = 1800.0
"""Time-out of operations, which wait for work, such as moving a replay clock."""
_EVERYWHERE = {"0.0.0.0", "::"}
_JSON = {"content-type": "application/json"}
_BUSY = 429
_DOWN = {502, 503}
"""Who answered cannot do it now, or is a proxy that reached nobody."""
_WAITED_IN_VAIN = 504
"""By a proxy; whoever says so itself has used up the time that its answer may take."""

PATIENCE_S = 20.0
"""How long a caller that was answered before waits for a process that restarts."""
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.05, 1.0
MOST_TRIED = 32
"""Gateways that are tried for one request, however many new ones the server names."""
GATEWAY_WAIT_S = 10.0
"""How long a gateway that starts is waited for until the server knows where it is."""


class HttpCaller:
    """Calls a server and a gateway with one token.

    A restart in between is not noticed: a call that reached nobody is sent again, and so is one whose answer was lost:
    queries, and verbs and whatever a gateway is asked, which carry a key under which they are done once. Operations are
    not.

    Of several servers on one database, and of several gateways, one that does not answer is passed over.

    Args:
        url: The server's address; those of several are separated by commas.
        gateway_url: The gateway's address, or several; where it is empty, the server is asked for live ones.
        token: Access token; empty on an open loopback server.
        patience_s: How long to try, once somebody has answered; before that an address that is wrong is told at once.
    """

    def __init__(self, url: str, gateway_url: str = "", token: str = "", *, patience_s: float = PATIENCE_S) -> None:
        self._servers = Addresses(url)
        self.gateway_url = gateway_url.rstrip("/")
        self._gateways = Addresses(gateway_url)
        self.token = token
        self.patience_s = patience_s
        self._http = HttpLine({"authorization": f"Bearer {token}"} if token else {})
        self._answered: set[str] = set()

    @property
    def url(self) -> str:
        """The server's address; of several, the first."""
        return self._servers.urls[0]

    def call(self, verb: str, args: dict[str, Any], project: str, *, key: str | None = None, wait_s: float = 0) -> Any:
        """Call a verb or query; returns its result with the verb's own types where the room is known.

        Args:
            verb: Its name.
            args: Its arguments.
            project: Whose.
            key: Under which the server does it once, however often it is sent; one is made where none is given.
            wait_s: How long the server may wait for an answer of a query that is not empty.

        Raises:
            LoopwrightError: What the server answered, rebuilt.
            Unavailable: The server cannot be reached.
        """
        import_rooms()  # gives answers their types
        path = verb_url("", project, verb, wait_s)
        known = VERBS.get(verb)
        is_operation = known is not None and known.is_operation
        is_once = known is None or not (known.is_query or is_operation)
        headers = {**_JSON, "idempotency-key": key or f"sdk-{os.urandom(16).hex()}"} if is_once else _JSON
        try:
            body = to_json(name_infinities(args))
        except TypeError as error:
            rule = "what JSON holds: texts, numbers, truths, nothing, lists and dicts of them"
            raise InvalidInput(f"{verb} cannot be sent this: {error}", field="args", rule=rule) from None
        sent = Sent("POST", path, body, headers, LONG_S if is_operation else SHORT_S, not is_operation)
        answer = self._request(self._servers, sent)
        try:
            return decode_answer(verb, answer.body)
        except InvalidInput:
            raise _foreign(self._servers.current + path, answer) from None

    def require_answer(self, within_s: float) -> None:
        """Make sure that a server is not stopped or stuck; one that is down is told by the call that follows.

        Args:
            within_s: How long each may take to say that it lives, which needs no database.

        Raises:
            Unavailable: One that listens says nothing, and no other answers.
        """
        silent = ""
        for _ in self._servers.urls:
            address = self._servers.current
            try:
                self._http.send("GET", f"{address}/healthz", timeout_s=within_s)
                return
            except OSError as error:
                silent = address if isinstance(error, TimeoutError) else silent
                self._servers.pass_over(address)
        if silent:
            what = f"the server at {silent} listens and does not answer: it stands still, or has more to do than it can"
            raise Unavailable(what, next_step="loopwright doctor, and loopwright logs server, on its machine")

    def gateway(self, path: str, document: Any) -> Any:
        """Post a document to a gateway; where those are gone that the server named, it is asked anew.

        However often it is sent it has one key, by which every gateway makes the same ids for it.

        Args:
            path: What it is for.
            document: What is sent.

        Raises:
            Unavailable: No gateway is live, or none can be reached.
        """
        headers = {**_JSON, "idempotency-key": new_key(WallClock().now_us())}
        body = msgspec.json.encode(document)
        sent = Sent("POST", path, body, headers, may_repeat=True, setting="LOOPWRIGHT_GATEWAY_URL")
        if self.gateway_url:
            return _decoded(self._request(self._gateways, sent), path)
        project = unquote(path.split("/")[2])
        tried: set[str] = set()
        while True:
            now = self._gateways = self._gateways if all(self._gateways.urls) else self.find_gateways(project)
            try:
                return _decoded(self._request(now, sent), path)
            except Unavailable as error:
                tried.update(now.urls)
                self._gateways = self.find_gateways(project)
                if _is_slow(error) or tried.issuperset(self._gateways.urls) or len(tried) > MOST_TRIED:
                    raise

    def find_gateways(self, project: str) -> Addresses:
        """Return where live gateways are; one that listens everywhere is looked for on the server's machine.

        Raises:
            Unavailable: No gateway is live.
        """
        live = self.call("serving.gateways", {}, project, wait_s=GATEWAY_WAIT_S)
        if not live:
            raise Unavailable(f"no gateway of {self.url} is live", next_step="loopwright up, or LOOPWRIGHT_GATEWAY_URL")
        random.shuffle(live)  # so that clients spread over them
        return Addresses(self._reachable(str(lease.address)) for lease in live)

    def _reachable(self, gateway: str) -> str:
        address = urlsplit(gateway)
        if address.hostname in _EVERYWHERE:
            host = urlsplit(self._servers.current).hostname or ""
            host = f"[{host}]" if ":" in host else host
            address = address._replace(netloc=host if address.port is None else f"{host}:{address.port}")
        return address.geturl()

    def put_blob(self, project: str, body: bytes) -> Any:
        """Upload bytes; returns digest and size."""
        kind = {"content-type": "application/octet-stream"}
        path = _path(project, "blobs")
        return _decoded(self._request(self._servers, Sent("PUT", path, body, kind, may_repeat=True)), path)

    def get_blob(self, project: str, digest: str) -> bytes:
        """Download bytes.

        Raises:
            Corrupt: Other bytes came than the digest names.
        """
        sent = Sent("GET", _path(project, "blobs", digest), b"", {}, may_repeat=True)
        body = self._request(self._servers, sent).body
        if digest_bytes(body) != digest:
            raise Corrupt(
                "other bytes came than the digest names", field="digest", value=digest, next_step="loopwright verify"
            )
        return body

    def close(self) -> None:
        """Let go of the connections."""
        self._http.close()

    def _request(self, where: Addresses, sent: "Sent") -> Answer:
        """Send a request, again while that is harmless and the other side restarts or asks for patience."""
        has_answered = not self._answered.isdisjoint(where.urls)
        deadline = time.monotonic() + (self.patience_s if has_answered else 0.0)
        pause_s = _FIRST_PAUSE_S
        while True:
            url, answer, error = self._ask_in_turn(where, sent)
            if answer is not None and answer.status < 400:
                if not answer.is_success:
                    raise redirected(answer, url, sent.setting)
                self._answered.update(where.urls)
                return answer
            if answer is not None:
                self._answered.update(where.urls)
                is_worth_it = answer.status == _BUSY or (_may_pass(answer) and sent.may_repeat)
                pause_s = max(pause_s, answer.retry_after_s)
            else:  # slow is not down: what takes too long is not asked for again
                is_worth_it = isinstance(error, ConnectionRefusedError) or (
                    sent.may_repeat and not isinstance(error, TimeoutError)
                )
            if not is_worth_it or time.monotonic() + pause_s > deadline:
                if answer is not None:
                    raise _error(answer, url)
                raise _unreachable(url, error) from error
            time.sleep(pause_s)
            pause_s = min(_LONGEST_PAUSE_S, pause_s * 2)

    def _ask_in_turn(self, where: Addresses, sent: "Sent") -> tuple[str, Answer | None, OSError | None]:
        """Send a request to whoever answered last; if nobody listens there, to the others, each once."""
        for _ in where.urls[1:]:
            url, answer, error = self._ask(where, sent)
            if not isinstance(error, ConnectionRefusedError):
                return url, answer, error
        return self._ask(where, sent)

    def _ask(self, where: Addresses, sent: "Sent") -> tuple[str, Answer | None, OSError | None]:
        address = where.current
        url = address + sent.path
        try:
            answer = self._http.send(sent.method, url, sent.body, headers=sent.headers, timeout_s=sent.timeout_s)
        except OSError as error:
            where.pass_over(address)
            return url, None, error
        if answer.status in _DOWN:
            where.pass_over(address)
        return url, answer, None


class Sent(NamedTuple):
    """A request: what is sent, how long its answer may take (seconds), and whether sending it twice is harmless.

    ``setting`` is where its address stands.
    """

    method: str
    path: str
    body: bytes
    headers: dict[str, str]
    timeout_s: float = SHORT_S
    may_repeat: bool = False
    setting: str = "LOOPWRIGHT_URL"


def _is_slow(error: Unavailable) -> bool:
    return isinstance(error.__cause__, TimeoutError)


def _path(*parts: str) -> str:
    return "/".join(["/v1", *(quote(part, safe="") for part in parts)])


def _decoded(answer: Answer, url: str) -> Any:
    try:
        return msgspec.json.decode(answer.body)
    except msgspec.DecodeError:
        raise _foreign(url, answer) from None


def _unreachable(url: str, error: OSError | None) -> Unavailable:
    if isinstance(error, TimeoutError):
        return Unavailable(
            f"no answer from {url} in time",
            next_step="it is slow or stands still: loopwright logs server, or gateway, on its machine",
        )
    if isinstance(error, ConnectionAbortedError):
        what = f"the connection to {url} broke before its answer was whole"
        next_step = "it may have been done all the same: look, such as by loopwright status, before you ask again"
        return Unavailable(what, value=str(error), next_step=next_step)
    return Unavailable(f"cannot reach {url}", value=str(error), next_step="is it running? loopwright up")


def _foreign(url: str, answer: Answer) -> Unavailable:
    return Unavailable(f"{url} does not answer as Loopwright does", value=_text(answer))


def _may_pass(answer: Answer) -> bool:
    """Say whether who answered cannot do it now, or is a proxy that reached nobody; what has a reason is told it."""
    try:
        document = msgspec.json.decode(answer.body)["error"]
        return answer.status in _DOWN and document["code"] == Unavailable.code
    except (msgspec.DecodeError, KeyError, TypeError):
        return answer.status in _DOWN or answer.status == _WAITED_IN_VAIN


def _error(answer: Answer, url: str) -> LoopwrightError:
    try:
        document = msgspec.json.decode(answer.body)["error"]
        return error_from_dict(document if isinstance(document, dict) else {"message": document})
    except (msgspec.DecodeError, KeyError, TypeError):
        return Unavailable(f"unexpected answer {answer.status} from {url}", value=_text(answer))


def _text(answer: Answer) -> str:
    return answer.body.decode("utf-8", "replace")
