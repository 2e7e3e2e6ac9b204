"""An execution of two steps, and the worker that runs it."""

from collections.abc import Callable
from typing import Any

import pytest

from loopwright.governance import SERVICE_ACTOR, Dispatcher
from loopwright.kernel.code import CodeRef
from loopwright.pipelines import Advanced, Claim, EndedStep, Execution, PipelineSpec, StepSpec

Call = Callable[..., Any]
CODE = CodeRef("0" * 64, "project", "step", "1" * 64)


class Run:
    """The calls that a worker makes while it runs one execution."""

    def __init__(self, call: Call, service: Call, execution_id: str) -> None:
        self.execution_id = execution_id
        self._call, self._service = call, service
        self.claim = Claim(execution_id, 1, 1)

    def take(self, number: int = 1, attempt: int = 1) -> None:
        """Take a round of the execution for an attempt of its job."""
        claim = Claim(self.execution_id, number, attempt)
        self._service("pipelines.take", claim=claim)
        self.claim = claim

    def advance(self, *ended: EndedStep, running: tuple[str, ...] = (), **other: Any) -> Advanced:
        """Tell what ended and ask what to run."""
        args = {"claim": self.claim, "environment": "e" * 64, "free": 2, "running": list(running), **other}
        answer: Advanced = self._service("pipelines.advance", **args, ended=list(ended))
        return answer

    def read(self) -> Execution:
        """Return the execution as a person sees it."""
        execution: Execution = self._call("pipelines.get", execution_id=self.execution_id)
        return execution

    def states(self) -> list[str]:
        """Return the states of its steps."""
        return [one.state for one in self.read().steps]


@pytest.fixture
def service(dispatcher: Dispatcher) -> Call:
    """Call as one of the platform's own processes."""

    def by_name(verb: str, /, **args: Any) -> Any:
        return dispatcher.call(verb, args, actor=SERVICE_ACTOR, project="flights")

    return by_name


@pytest.fixture
def start(call: Call, service: Call) -> Callable[..., Run]:
    """Declare a pipeline of some steps and start it; nothing has taken it yet."""

    def begin(*steps: StepSpec) -> Run:
        call("pipelines.declare", spec=PipelineSpec("train", list(steps), {"rate": 0.1}))
        started = call("pipelines.start", pipeline="train", params={"rate": 0.2}, reason="because")
        return Run(call, service, started.execution_id)

    return begin


@pytest.fixture
def run(start: Callable[..., Run]) -> Run:
    """An execution of two steps, one after the other, that a worker may take."""
    return start(StepSpec("load", "call", {}, CODE), StepSpec("fit", "call", {"rows": {"step": "load"}}, CODE))
