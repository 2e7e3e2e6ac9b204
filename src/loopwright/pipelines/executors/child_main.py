"""The child process: imports the code of one digest, then answers calls until its worker is gone.

Started as ``python -m loopwright.pipelines.executors.child_main <read> <write>`` with the numbers of two pipes. What
user code prints goes to stdout and stderr, which are the log; the pipes carry nothing but frames.
"""

import contextlib
import importlib
import linecache
import os
import queue
import resource
import signal
import sys
import threading
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

from loopwright.kernel.errors import InvalidInput, LoopwrightError, StepFailed
from loopwright.kernel.plugins import add_built_in
from loopwright.kernel.storable import storable, words_of
from loopwright.pipelines.agenda import why_skipped
from loopwright.pipelines.codecs import Files, decode, encode
from loopwright.pipelines.executors.frames import read_frame, write_frame
from loopwright.pipelines.functions import unwrap
from loopwright.wire.walls import raise_walls

_PLATFORM = str(Path(__file__).resolve().parents[2])
_PLAN = "\n\nResolved plan until failure"
OUT = "out.parquet"
"""What a transform writes into its scratch folder."""


class _ReturnedError(Exception):
    """What a function returned raised, which is not what its author can see in a traceback.

    Args:
        function: The function.
    """

    def __init__(self, function: Any) -> None:
        super().__init__(function)
        self.function = function


def main() -> None:
    """Serve calls until the pipe closes."""
    incoming, outgoing = int(sys.argv[1]), int(sys.argv[2])
    setup = read_frame(incoming)
    _be_the_first_to_go()
    try:
        ready = {"ready": os.getpid(), "holds": [] if setup["walls"] is None else raise_walls(setup["walls"])}
    except (OSError, RuntimeError) as error:
        ready = {"error": str(error)}
    calls: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(incoming, calls), daemon=True).start()
    for kind, plugins in setup["plugins"].items():
        add_built_in(kind, plugins)
    code = setup["code"]
    if code:
        sys.path[:0] = [code, str(Path(code, "src"))]
    write_frame(outgoing, ready)
    while True:
        call = calls.get()
        try:
            answer = _OPERATIONS[call["operation"]](call)
        except BaseException as error:  # noqa: BLE001 - whatever user code raises, SystemExit too, is told
            answer = {"error": _describe(error, code)}
        sys.stdout.flush()
        sys.stderr.flush()
        try:
            write_frame(outgoing, answer)
        except OSError:
            raise
        except Exception as error:  # noqa: BLE001 - what cannot be said is told, and was not begun to be sent
            write_frame(outgoing, {"error": _describe(error, code)})


def _listen(incoming: int, calls: "queue.SimpleQueue[dict[str, Any]]") -> None:
    """Queue calls; end this process and all it started as soon as the worker is gone, even in the middle of a call."""
    try:
        while True:
            calls.put(read_frame(incoming))
    except (EOFError, OSError):
        os.killpg(0, signal.SIGKILL)


def _call(call: dict[str, Any]) -> dict[str, Any]:
    function = _function(call["module"], call["qualname"])
    files = Files(Path(call["scratch"]), call["paths"])
    inputs = {name: decode(document, files) for name, document in call["inputs"].items()}
    positional = [inputs.pop("")] if "" in inputs else []
    returned = function(*positional, **inputs)
    if why_skipped(returned) is not None:
        returned = storable(returned)  # by a codec's name it would skip nothing
    with _returned_by(function):
        output = encode(returned, files)
    return {"output": output, "files": {digest: str(path) for digest, path in files.kept.items()}}


def _transform(call: dict[str, Any]) -> dict[str, Any]:
    import polars as pl

    function = _function(call["module"], call["qualname"])
    made = function(pl.scan_parquet(call["paths"]["rows"]))
    if isinstance(made, pl.DataFrame):
        made = made.lazy()
    if not isinstance(made, pl.LazyFrame):
        raise InvalidInput(
            f"{call['qualname']} returned a {type(made).__qualname__}",
            field="return",
            rule="a polars LazyFrame or DataFrame",
            next_step="return the frame that the function made",
        )
    with _returned_by(function):
        made.sink_parquet(Path(call["scratch"]) / OUT, compression="zstd")
    return {"output": None, "files": {}}


def _read(call: dict[str, Any]) -> dict[str, Any]:
    """Have files read by a function of the platform; it writes rows into the scratch folder."""
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    most = call["most_file_bytes"] if hard == resource.RLIM_INFINITY else min(call["most_file_bytes"], hard)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, hard))
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))  # every file of a source is open at once
    scratch = Path(call["scratch"])
    files = {name: Path(path) for name, path in call["paths"].items()}
    told = _function(call["module"], call["qualname"])(scratch / OUT, scratch, files, **call["inputs"])
    return {"output": told, "files": {}}


_OPERATIONS = {"call": _call, "transform": _transform, "read": _read}


@contextlib.contextmanager
def _returned_by(function: Any) -> Iterator[None]:
    try:
        yield
    except LoopwrightError:
        raise
    except Exception as error:
        raise _ReturnedError(function) from error


def _be_the_first_to_go() -> None:
    """Have the system take this process, not its worker, where memory ends before anybody has looked."""
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")


def _function(module: str, qualname: str) -> Any:
    found: Any = importlib.import_module(module)
    for part in qualname.split("."):
        found = getattr(found, part)
    return unwrap(found)


def _describe(error: BaseException, code: str) -> dict[str, Any]:
    """Return an error with the frames of the user's own files."""
    if isinstance(error, LoopwrightError):
        return error.to_dict()
    lines = []
    if isinstance(error, _ReturnedError):
        made, error = error.function.__code__, error.__cause__ or error
        lines = [f"{_shown(made.co_filename, code)}, line {made.co_firstlineno}, in {made.co_name}: what it returned"]
    kind = type(error)
    name = kind.__name__ if kind.__module__ in ("builtins", "__main__") else f"{kind.__module__}.{kind.__qualname__}"
    lines += _user_frames(error.__traceback__, code)
    if isinstance(error, SyntaxError) and error.filename:
        lines.append(f"{_shown(error.filename, code)}, line {error.lineno}: {(error.text or '').strip()}")
    hint = _about_missing(error, code)
    return StepFailed(
        f"{name}: {_words(error)}".strip(), next_step=hint or None, details={"traceback": lines}
    ).to_dict()


def _words(error: BaseException) -> str:
    """Return what an error says, without the query plan that Polars appends: it names files of ours."""
    return words_of(error).partition(_PLAN)[0]


def _about_missing(error: BaseException, code: str) -> str:
    """Say how a file that lies beside the code reaches it; empty where another file is missing."""
    if not isinstance(error, FileNotFoundError) or not error.filename:
        return ""
    path = os.fsdecode(error.filename)
    if code and path.startswith(code):
        name = path.removeprefix(code).lstrip("/")
        return f"let it travel with the code: lw.Project(…, files=[{name!r}])"
    if os.path.isabs(path):
        return ""
    return f"code runs in a folder of its own: open Path(__file__).parent / {path!r}, and declare files=[{path!r}]"


def _user_frames(trace: TracebackType | None, code: str) -> list[str]:
    """Return one line a frame; frames of ours and of installed packages are left out."""
    lines = []
    for frame in traceback.extract_tb(trace):
        is_ours = frame.filename.startswith((_PLATFORM, sys.prefix, sys.base_prefix, "<"))
        if (code and frame.filename.startswith(code)) or not is_ours:
            linecache.checkcache(frame.filename)
            lines.append(f"{_shown(frame.filename, code)}, line {frame.lineno}, in {frame.name}: {frame.line}")
    return lines


def _shown(filename: str, code: str) -> str:
    return filename.removeprefix(code).lstrip("/") if code else filename


if __name__ == "__main__":
    main()
