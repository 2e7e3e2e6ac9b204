"""What a page asks the rooms: queries, each with its permission, all on one snapshot."""

from collections.abc import Callable
from contextlib import ExitStack
from functools import cached_property, partial
from typing import Any, Concatenate, ParamSpec, Self, TypeVar

from starlette.requests import Request

from loopwright.governance import Actor, check_permission
from loopwright.kernel.errors import InvalidInput, NotFound, PermissionDenied
from loopwright.kernel.verbs import verb_of
from loopwright.loop import Attention, OperationContext, attention
from loopwright.server import ServerContext
from loopwright.store.blobs import BlobStore
from loopwright.store.tx import Tx

P = ParamSpec("P")
R = TypeVar("R")

PAGE_ROWS = 100
"""Rows of one page of a table."""
MOST_DIGITS = 18
"""A whole number of so many digits fits a column; moments in microseconds have 16."""


class Ask:
    """Asks queries for one page view; a context manager that lets go of the snapshot.

    Args:
        request: The page's address: path and query parameters.
        actor: Who looks.
        project: What is looked at.
    """

    def __init__(self, request: Request, actor: Actor, project: str) -> None:
        self.actor = actor
        self.project = project
        self._request = request
        self._context: ServerContext = request.app.state.context
        self._held = ExitStack()
        self._is_reading = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._held.close()

    @cached_property
    def tx(self) -> Tx:
        """The snapshot, of the moment of the first query."""
        self._is_reading = True
        connection = self._held.enter_context(self._context.database.reading())
        return self._context.dispatcher.tx(connection, self.project, self.actor)

    def __call__(self, query: Callable[Concatenate[Tx, P], R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Return the answer of a query.

        Raises:
            PermissionDenied: The actor may not ask it.
        """
        check_permission(verb_of(query), self.actor, self.project)
        return query(self.tx, *args, **kwargs)

    def operate(
        self, operation: Callable[Concatenate[OperationContext, P], R], /, *args: P.args, **kwargs: P.kwargs
    ) -> R:
        """Return the answer of an operation, which reads blobs beside rows; before the first query.

        An operation opens connections of its own: a page that held one meanwhile would wait for pages that do the same.

        Raises:
            PermissionDenied: The actor may not ask for it.
        """
        assert not self._is_reading
        check_permission(verb_of(operation), self.actor, self.project)
        context = self._context
        inside = OperationContext(
            dispatcher=context.dispatcher,
            blobs=context.blobs,
            reactor=context.reactor,
            wait=context.signal.wait,
            service_token=context.settings.service_token,
            project=self.project,
            actor=self.actor,
            state_dir=context.settings.state_dir,
            checkpoints=context.checkpoints,
            note_read=partial(context.noted_reads.note, self.actor, self.project),
        )
        return operation(inside, *args, **kwargs)

    @cached_property
    def attention(self) -> Attention:
        """What needs a person here: the frame of every page counts it, the overview lists it."""
        return self(attention.attention)

    @property
    def blobs(self) -> BlobStore:
        """Where blobs are read from; after the last query, for reading takes its time."""
        return self._context.blobs

    def find(self, query: Callable[Concatenate[Tx, P], R], /, *args: P.args, **kwargs: P.kwargs) -> R | None:
        """Return the answer of a query, None where there is no such thing."""
        try:
            return self(query, *args, **kwargs)
        except NotFound:
            return None

    def may(self, verb: Callable[..., Any]) -> bool:
        """Say whether the actor may call a verb here."""
        try:
            check_permission(verb_of(verb), self.actor, self.project)
        except PermissionDenied:
            return False
        return True

    def part(self, name: str) -> str:
        """Return a part of the path."""
        return str(self._request.path_params[name])

    def asked(self, name: str, default: str = "") -> str:
        """Return a query parameter as text.

        Raises:
            InvalidInput: It holds a NUL, which no database looks up.
        """
        text = self._request.query_params.get(name, default).strip()
        if "\0" in text:
            raise InvalidInput("a NUL stands in this text", field=name, value=text, rule="text without NUL")
        return text

    def asked_under(self, prefix: str) -> dict[str, str]:
        """Return the query parameters whose names begin with a prefix, by what follows; without empty ones.

        Raises:
            InvalidInput: One holds a NUL.
        """
        names = [name for name in self._request.query_params if name.startswith(prefix)]
        found = {name.removeprefix(prefix): self.asked(name) for name in names}
        return {name: text for name, text in found.items() if text}

    def asked_number(self, name: str) -> int | None:
        """Return a query parameter as a whole number, None where it is absent.

        Raises:
            InvalidInput: It is no whole number.
        """
        text = self.asked(name)
        if not text:
            return None
        try:
            number = int(text)
            if not -(10**MOST_DIGITS) < number < 10**MOST_DIGITS:
                raise ValueError(text)
            return number
        except ValueError:
            raise InvalidInput("this is not a whole number", field=name, value=text, next_step="leave it out") from None

    def part_number(self, name: str) -> int:
        """Return a part of the path as a whole number.

        Raises:
            NotFound: It is none, so there is no such page.
        """
        text = self.part(name)
        if not text.isdecimal() or len(text) > MOST_DIGITS:
            raise NotFound(f"no {name} has this number", field=name, value=text, next_step="go back to the list")
        return int(text)
