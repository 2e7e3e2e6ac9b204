"""Calling verbs over HTTP: a call names the verb's function, the wire carries its name, the answer has its type."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Concatenate, ParamSpec, Protocol, Self, TypeVar
from urllib.parse import quote

from loopwright.governance import SYSTEM
from loopwright.kernel.documents import from_json, to_json
from loopwright.kernel.errors import Unavailable
from loopwright.kernel.verbs import VERBS, verb_of
from loopwright.wire.addresses import Addresses
from loopwright.wire.line import TIMEOUT_S

P = ParamSpec("P")
R = TypeVar("R")


class Post(Protocol):
    """Sends one POST with a token and returns the JSON that comes back; raises what the other side answered."""

    def post(
        self, url: str, body: bytes = b"", *, headers: Mapping[str, str] | None = None, timeout_s: float = TIMEOUT_S
    ) -> bytes:
        """Post JSON once."""
        ...


@dataclass(frozen=True)
class VerbCaller:
    """Calls verbs, queries and operations of a server in one project; threads share it.

    Where several servers stand on one database, one that does not answer is passed over. A call that reached nobody
    goes to the next at once; whether one may be made again that was lost with its server, the caller knows.

    Args:
        servers: Where servers are.
        line: Carries the calls.
        project: Whose; ``_system`` stands above projects.
        wait_s: How long the server may wait for an answer of a query that is not empty.
        timeout_s: Longest silence of the server beyond that.
    """

    servers: Addresses
    line: Post
    project: str = SYSTEM
    wait_s: float = 0.0
    timeout_s: float = TIMEOUT_S

    def within(self, project: str) -> Self:
        """Return the same caller for another project."""
        return replace(self, project=project)

    def waiting(self, wait_s: float) -> Self:
        """Return the same caller for queries that wait at the server until they have an answer."""
        return replace(self, wait_s=wait_s)

    def call(self, function: Callable[Concatenate[Any, P], R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call a verb, given as its function; its arguments are named.

        Raises:
            LoopwrightError: What the server answered, rebuilt; Unavailable if it did not.
        """
        answer: R = self.call_named(verb_of(function).name, kwargs)
        return answer

    def call_named(self, verb: str, args: Mapping[str, Any], *, key: str | None = None) -> Any:
        """Call a verb that the caller was told by name, such as a user's; ``key`` makes repeating it harmless.

        Raises:
            LoopwrightError: What the server answered, rebuilt; Unavailable if it did not.
        """
        headers = {"idempotency-key": key} if key else None
        body = self._post(verb, to_json(args), headers)
        return decode_answer(verb, body)

    def _post(self, verb: str, body: bytes, headers: Mapping[str, str] | None) -> bytes:
        for passed_over in range(len(self.servers)):
            server = self.servers.current
            url = verb_url(server, self.project, verb, self.wait_s)
            try:
                return self.line.post(url, body, headers=headers, timeout_s=self.wait_s + self.timeout_s)
            except Unavailable as error:
                self.servers.pass_over(server)
                is_last = passed_over + 1 == len(self.servers)
                if is_last or not isinstance(error.__cause__, ConnectionRefusedError):
                    raise
        raise AssertionError  # the loop ends by answer or error


def verb_url(server: str, project: str, verb: str, wait_s: float = 0.0) -> str:
    """Return the address of a verb in a project."""
    address = f"{server}/v1/{quote(project, safe='')}/verbs/{quote(verb, safe='')}"
    return f"{address}?wait_s={wait_s:g}" if wait_s else address


def decode_answer(verb: str, body: bytes) -> Any:
    """Return an answer as the verb's return type; as it came where the verb is not known here.

    Raises:
        InvalidInput: The server answers otherwise than this verb does here, as another version may, or with nothing.
    """
    return from_json(body, _answer_type(verb), verb)


@cache
def _answer_type(verb: str) -> Any:
    known = VERBS.get(verb)
    return Any if known is None else known.types.get("return", Any)
