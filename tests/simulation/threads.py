"""Stand-ins for threads, queues, futures and clocks: what blocks a thread lets other strands go on."""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent import futures
from contextlib import contextmanager
from types import ModuleType, TracebackType
from typing import Any

from tests.simulation.scheduler import Simulation, Strand


class Threads:
    """Stands for the module ``threading``, for strands of a simulation."""

    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation

    def Event(self) -> "Event":  # noqa: N802 - named as what it stands for
        return Event(self._simulation)

    def Lock(self) -> "Lock":  # noqa: N802
        return Lock(self._simulation)

    def Condition(self) -> "Condition":  # noqa: N802
        return Condition(self._simulation)

    def Thread(self, target: Callable[..., Any], args: tuple[Any, ...] = (), **marks: Any) -> "Thread":  # noqa: N802
        return Thread(self._simulation, target, args, str(marks.get("name", "thread")))

    def current_thread(self) -> object:
        return self._simulation.current

    def main_thread(self) -> object:
        """Return the thread to which signals go, which no strand is: they are told what a signal would tell."""
        return self


class Thread:
    def __init__(self, simulation: Simulation, target: Callable[..., Any], args: tuple[Any, ...], name: str) -> None:
        self._simulation, self._target, self._args, self._name = simulation, target, args, name
        self._strand: Strand | None = None

    def start(self) -> None:
        strand = self._simulation.current
        assert strand is not None
        self._strand = self._simulation.spawn(strand.life, self._name, lambda: self._target(*self._args))

    def join(self, timeout: float | None = None) -> None:
        strand = self._strand
        if strand is not None:
            self._simulation.wait(timeout, lambda: strand.is_done)


class Event:
    def __init__(self, simulation: Simulation) -> None:
        self._simulation, self._is_set = simulation, False

    def set(self) -> None:
        self._is_set = True

    def clear(self) -> None:
        self._is_set = False

    def is_set(self) -> bool:
        return self._is_set

    def wait(self, timeout: float | None = None) -> bool:
        return self._simulation.wait(timeout, self.is_set)


class Lock:
    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation
        self._is_held = False

    def __enter__(self) -> None:
        if self._is_held:
            self._simulation.wait(None, lambda: not self._is_held)
        self._is_held = True

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._is_held = False


class Condition(Lock):
    def __init__(self, simulation: Simulation) -> None:
        super().__init__(simulation)
        self._told = 0

    def notify_all(self) -> None:
        self._told += 1

    def wait_for(self, is_so: Callable[[], bool], timeout: float | None = None) -> bool:
        self._is_held = False
        answer = self._simulation.wait(timeout, lambda: is_so() and not self._is_held)
        self._is_held = True
        return answer


class Future(futures.Future[Any]):
    """A promise whose keeper is another strand."""

    simulation: Simulation

    def result(self, timeout: float | None = None) -> Any:
        if not self.done():
            self.simulation.wait(timeout, self.done)
        return super().result(0)


class Queues:
    """Stands for the module ``queue``."""

    def __init__(self, simulation: Simulation, empty: type[Exception]) -> None:
        self._simulation, self.Empty = simulation, empty

    def SimpleQueue(self) -> "SimpleQueue":  # noqa: N802
        return SimpleQueue(self._simulation, self.Empty)


class SimpleQueue:
    def __init__(self, simulation: Simulation, empty: type[Exception]) -> None:
        self._simulation, self._error = simulation, empty
        self._items: deque[Any] = deque()

    def put(self, item: Any) -> None:
        self._items.append(item)

    def get(self) -> Any:
        if not self._items:
            self._simulation.wait(None, lambda: bool(self._items))
        return self._items.popleft()

    def get_nowait(self) -> Any:
        if not self._items:
            raise self._error
        return self._items.popleft()

    def empty(self) -> bool:
        return not self._items


class Time:
    """Stands for the module ``time``."""

    def __init__(self, simulation: Simulation) -> None:
        self._simulation, self._thread = simulation, threading.get_ident()

    def time_ns(self) -> int:
        return self._simulation.wall_us * 1000

    def monotonic(self) -> float:
        return self._simulation.now

    def perf_counter(self) -> float:
        return self._simulation.now

    def thread_time(self) -> float:
        """Return how long this thread has worked: no time of a simulation passes with work."""
        return 0.0

    def sleep(self, seconds: float) -> None:
        """Let time pass; for a real thread, which another test left behind, real time."""
        if threading.get_ident() == self._thread:
            self._simulation.wait(seconds)
        else:
            time.sleep(seconds)


@contextmanager
def replaced(names: Mapping[tuple[ModuleType | type, str], Any]) -> Iterator[None]:
    """Have names of modules mean something else for a while."""
    before = {place: getattr(*place) for place in names}
    try:
        for (owner, name), stand_in in names.items():
            setattr(owner, name, stand_in)
        yield
    finally:
        for (owner, name), value in before.items():
            setattr(owner, name, value)
