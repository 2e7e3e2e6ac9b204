"""Write ``docs/reference/`` from the code: verbs, command line, SDK, events, plugins, settings.

``python -m tools.write_reference`` writes; a test compares what is kept with what would be written.
"""

import ast
import importlib
import inspect
import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import click

from loopwright.rooms import import_rooms
from tools.figures import figures
from tools.reference_arguments import described_arguments
from tools.reference_events import event_types

Function = ast.FunctionDef | ast.AsyncFunctionDef
FOLDER = Path("docs/reference")
CONTRACTS = {
    "alert_channels": "Function `(target, notice, allowed_hosts)`; called when an incident opens or resolves.",
    "blob_stores": "Class `(url, cache)` with the methods of `store/blobs/base.py`; the name is the scheme of the URL.",
    "brokers": "Class with the methods of `gateway/topics/base.py` `Topic`; the name is the scheme of the address.",
    "sources": "Class under `FileKind` of `loopwright.data.sources`: endings of such files, how they are opened.",
    "checks": "Struct under `RowCheck` or `AggregateCheck` of `loopwright.data.checks`; its fields are the arguments.",
    "codecs": "Class under `Codec` of `loopwright.pipelines.codecs`: how a value passes between steps. Never a pickle.",
    "drift_metrics": "Function `(reference: ColumnProfile, current: ColumnProfile) -> float`; 0 without drift.",
    "flavours": "Class with `name`, `suffix`, `can_save`, `save`, `load`, `inspect`; see `registry/flavours/base.py`.",
    "gates": "Function `(evidence: Evidence, **args) -> (verdict, sentence)`; pure.",
    "guards": "Class with the methods of `serving/rollouts/guards.py` `Guard`; one guard of a canary step.",
    "surfaces": "Function `() -> list of Starlette routes`: what a server answers beside verbs, blobs and pages.",
    "online_servers": "`StoreServer` of `features/online/base.py`: holds the stores of several projects; by scheme.",
    "online_stores": "Class with the methods of `features/online/base.py`; the name is the scheme of the URL.",
}
"""What a plugin of each kind is."""
PRIVATE_KINDS = {"gateway_parts", "step_kinds"}
"""Joints of the platform itself, which no other package fills."""
SETTINGS = {
    "LOOPWRIGHT_STATE": "State folder: database, blobs, spool, online store, logs, tokens.",
    "LOOPWRIGHT_DATABASE": "Metadata database: `sqlite:///path` or `postgresql://user:password@host/name`.",
    "LOOPWRIGHT_ONLINE": "Online stores: `redis://user:password@host:port/0`, or `rediss://`; empty: files in the "
    "state folder.",
    "LOOPWRIGHT_SOURCES": "Brokers and databases that datasets may be read from, for gateways and workers: "
    "`project/name=address`, separated by blanks; `*/name` is for every project. Addresses: `redis://`, `rediss://`, "
    "`nats://`, `kafka://`, or of databases, `postgresql://…`.",
    "LOOPWRIGHT_BLOBS": "Blob store: a folder, `s3://bucket/prefix`, `gs://…` or `az://…`.",
    "LOOPWRIGHT_HOST": "Address that server and gateway listen on; other than loopback needs auth.",
    "LOOPWRIGHT_PORT": "Port of server and UI.",
    "LOOPWRIGHT_GATEWAY_PORT": "Port of the gateway.",
    "LOOPWRIGHT_URL": "Server that CLI, SDK, workers and gateways call; several on one database are separated by "
    "commas; empty: the one that runs on the state folder.",
    "LOOPWRIGHT_GATEWAY_URL": "Address under which clients reach the gateway, for clients also several; empty: the "
    "server is asked.",
    "LOOPWRIGHT_GATEWAY_NAME": "Parts several gateways on one state folder; `0` where none is given.",
    "LOOPWRIGHT_TOKEN": "Access token of CLI and SDK; for `LOOPWRIGHT_URL`, or a server of yours on this machine.",
    "LOOPWRIGHT_PROJECT": "Project of CLI and SDK where none is named.",
    "LOOPWRIGHT_SERVICE_TOKEN": "Secret of the platform's own processes; empty: `service.token` of the state folder.",
    "LOOPWRIGHT_AUTH": "`on` asks every caller for a token.",
    "LOOPWRIGHT_DURABILITY": "`process`: rows survive the death of the process; `power`: answers wait for the disk.",
    "LOOPWRIGHT_SOURCE_ROOTS": "Folders whose files datasets may read, separated by `:`; empty: the one `up` was "
    "started in. Links are followed before the check; hidden files, those of the platform and those of "
    "`LOOPWRIGHT_HIDDEN` are never read.",
    "LOOPWRIGHT_SLOTS": "Jobs a worker does at once, by lane: `looks=2,work=2,training=2,upkeep=2,backtests=2`; "
    "what is not named is 2. Of several projects the one with the fewest jobs at work is next. As many children with "
    "user code are at work for a lane; as many steps of one execution run at once as `training` has slots.",
    "LOOPWRIGHT_WALLS": "How user code is shut in where the kernel can (Linux with Landlock and seccomp): `on`, "
    "`strict` or `off`; see [the threat model](../explanation/threat-model.md).",
    "LOOPWRIGHT_USER_FOLDERS": "Folders that user code may write to beside its own scratch space, and read where walls "
    "are strict; separated by `:`.",
    "LOOPWRIGHT_HIDDEN": "Further files and folders that are closed to user code and to sources, separated by `:`.",
    "LOOPWRIGHT_CHECKPOINTS": "Where servers keep signed checkpoints of the event log: a folder, `s3://bucket/prefix`, "
    "`gs://…` or `az://…`; best where who writes the database cannot write, and one for all servers.",
    "LOOPWRIGHT_CHECKPOINT_KEY": "File with the keys of checkpoints, one a line of at least 32 characters: the first "
    "signs, all are known; empty: a key derived from the service token.",
    "LOOPWRIGHT_RATE": "Requests a second that one token may send to the server, and to a gateway; 0 for any number. "
    "So many may all those send together who come from one address with no valid token. Others are answered 429 with "
    "`Retry-After`.",
    "LOOPWRIGHT_SUPERVISED": "Set by `loopwright up` for its children; they end with it.",
}


def pages() -> dict[str, str]:
    """Return the text of each reference page by file name."""
    import_rooms()
    for module in ("gateway.releases.loading", "server.surfaces"):  # kinds of plugins
        importlib.import_module(f"loopwright.{module}")
    makers: dict[str, Callable[[], Iterable[str]]] = {
        "verbs.md": _verbs,
        "cli.md": _cli,
        "sdk.md": _sdk,
        "events.md": _events,
        "plugins.md": _plugins,
        "settings.md": _settings,
        "figures.md": figures,
    }
    note = "<!-- Written by `make docs` from the code; edit the code instead. -->"
    return {name: "\n".join([note, "", *maker()]).rstrip() + "\n" for name, maker in makers.items()}


# --- signatures, as they stand in the source ---


def arguments(function: Callable[..., Any], *, skip: int) -> str:
    """Return a function's parameters as they are written, without the first ``skip``.

    >>> arguments(arguments, skip=1)
    '*, skip: int'
    """
    found = _definition(function).args
    positional = [*found.posonlyargs, *found.args]
    defaults = [None] * (len(positional) - len(found.defaults)) + list(found.defaults)
    parts = [_parameter(one, default) for one, default in zip(positional, defaults, strict=True)][skip:]
    if found.vararg:
        parts.append(f"*{_parameter(found.vararg, None)}")
    elif found.kwonlyargs:
        parts.append("*")
    parts += [_parameter(one, default) for one, default in zip(found.kwonlyargs, found.kw_defaults, strict=True)]
    if found.kwarg:
        parts.append(f"**{_parameter(found.kwarg, None)}")
    return ", ".join(parts)


def _definition(function: Callable[..., Any]) -> Function:
    (found,) = ast.parse(textwrap.dedent(inspect.getsource(function))).body
    assert isinstance(found, Function), f"{function} is no function"
    return found


def _parameter(one: ast.arg, default: ast.expr | None) -> str:
    kind = _kind(one.annotation)
    text = f"{one.arg}: {kind}" if kind else one.arg
    return text if default is None else f"{text} = {ast.unparse(default)}"


def _kind(annotation: ast.expr | None) -> str:
    if annotation is None:
        return ""
    is_quoted = isinstance(annotation, ast.Constant) and isinstance(annotation.value, str)
    return str(annotation.value) if is_quoted and isinstance(annotation, ast.Constant) else ast.unparse(annotation)


def first_line(thing: Any) -> str:
    """Return the first line of a docstring, fit for a cell."""
    return first_sentence(inspect.getdoc(thing) or "")


def first_sentence(text: str) -> str:
    """Return the first line of a text, fit for a cell."""
    return _cell(text.split("\n")[0].replace("``", "`"))


def _cell(text: str) -> str:
    return text.replace("|", r"\|")


def _code(text: str) -> str:
    return f"`{_cell(text)}`" if text else "–"


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> Iterator[str]:
    names = list(head)
    yield f"| {' | '.join(names)} |"
    yield f"|{'---|' * len(names)}"
    for row in rows:
        yield f"| {' | '.join(row)} |"
    yield ""


# --- one function a page ---


def _verbs() -> Iterator[str]:
    from loopwright.kernel.verbs import VERBS, Verb

    def kind(found: Verb) -> str:
        if found.is_query:
            return "query"
        return "operation" if found.is_operation else "verb"

    yield from (
        "# Verbs, queries, operations",
        "",
        "`POST /v1/{project}/verbs/{name}` with the arguments as JSON, or `lw.connect(project=…).call(name, **args)`.",
        "A verb changes rows in one transaction; a query changes nothing; an operation runs outside one transaction.",
        "Each asks for at least its role: viewer < editor < approver < admin. Internal ones are for service tokens.",
        "`GET /v1/openapi.json` describes the public ones, with their types.",
        "",
    )
    rooms: dict[str, list[Verb]] = {}
    for name, found in sorted(VERBS.items()):
        rooms.setdefault(name.split(".")[0], []).append(found)
    for room, members in rooms.items():
        yield from (f"## {room}", "")
        ordered = sorted(members, key=lambda one: (one.surface == "internal", one.name))
        yield from _table(
            ("name", "kind", "role", "surface", "arguments", "what it does"),
            (
                (
                    _code(one.name),
                    kind(one),
                    one.role.value,
                    one.surface,
                    _code(arguments(one.function, skip=1).removeprefix("*, ")),
                    first_line(one.function),
                )
                for one in ordered
            ),
        )


def _cli() -> Iterator[str]:
    from loopwright.cli.main import COMMANDS, cli

    yield from (
        "# Command line",
        "",
        "An error says field, value, rule and next step, and ends with status 1; wrong usage ends with 2.",
        'Under `--json` it is one document on standard error: `{"error": {"code": …, "message": …, "next_step": …}}`.',
        "",
    )
    yield from _table(
        ("command", "what it does"), ((f"[`{name}`](#{name})", _cell(text)) for name, (_, text) in COMMANDS.items())
    )
    with click.Context(cli, info_name="loopwright", **cli.context_settings) as parent:
        for name in COMMANDS:
            command = cli.get_command(parent, name)
            assert command is not None
            context = click.Context(command, parent=parent, info_name=name, terminal_width=110, max_content_width=110)
            yield from (f"## {name}", "", "```", command.get_help(context), "```", "")


def _sdk() -> Iterator[str]:
    import loopwright as lw

    yield from ("# SDK", "", "`import loopwright as lw`. Declaring does nothing; `apply` makes it so.", "")
    later: list[Any] = []
    for name in sorted(set(lw.__all__) - {"__version__"}, key=str.lower):
        found = getattr(lw, name)
        if inspect.isclass(found):
            later.append((name, found))
        else:
            yield from (f"### `lw.{name}({arguments(found, skip=0)})`", "", first_line(found), "")
            yield from _explained(found)
    for name, found in later:
        yield from _class(f"lw.{name}", found)
    yield from ("## What these return", "")
    for module, names in (
        ("client.handles", ("Dataset", "Deployment")),
        ("client.remote", ("Remote", "RemoteDataset", "RemoteDeployment")),
        ("client.external", ("External",)),
    ):
        for name in names:
            yield from _class(name, getattr(importlib.import_module(f"loopwright.{module}"), name))


def _class(name: str, found: type) -> Iterator[str]:
    yield from (f"## `{name}`", "", first_line(found), "")
    made = vars(found).get("__init__")
    if made is not None and not issubclass(found, Exception):
        yield from (_code(f"{name}({arguments(made, skip=1)})"), "")
        yield from _explained(found)
    rows, explained = [], []
    for label, member in vars(found).items():
        function = member.__func__ if isinstance(member, staticmethod | classmethod) else member
        function = function.fget if isinstance(function, property) else function
        if label.startswith("_") or not inspect.isfunction(function):
            continue
        skip = 0 if isinstance(member, staticmethod) else 1
        shown = label if isinstance(member, property) else f"{label}({arguments(function, skip=skip)})"
        rows.append((_code(shown), first_line(function)))
        if table := list(_explained(function)):
            explained += [f"Arguments of `{label}`:", "", *table]
    if rows:
        yield from _table(("member", "what it does"), rows)
    yield from explained


def _explained(function: Callable[..., Any] | type) -> Iterator[str]:
    rows = [(_code(name), _cell(text.replace("``", "`"))) for name, text in described_arguments(function)]
    if rows:
        yield from _table(("argument", "what it is"), rows)


def _events() -> Iterator[str]:
    yield from (
        "# Events",
        "",
        "Every change is one event in its own transaction: who, what, which ref, why, in event time and wall time.",
        "They are the audit trail (`audit.list`); `loop/reactions.py` answers those it names.",
        "",
    )
    yield from _table(
        ("type", "what happened", "facts", "emitted in", "answered by"),
        (
            (
                _code(event.name),
                first_sentence(event.meaning) or "–",
                ", ".join(map(_code, event.facts)) or "–",
                ", ".join(map(_code, event.files)),
                ", ".join(map(_code, event.answers)) or "–",
            )
            for event in event_types(Path("src/loopwright"))
        ),
    )


def _plugins() -> Iterator[str]:
    from loopwright.kernel.plugins import BUILT_IN, load_plugin

    unknown = set(BUILT_IN) - set(CONTRACTS) - PRIVATE_KINDS
    assert not unknown, f"say in CONTRACTS what a plugin of these kinds is: {', '.join(sorted(unknown))}"
    yield from (
        "# Plugins",
        "",
        "One file and one entry point each; nothing is imported until it is used. A package adds one under the group",
        "`loopwright.<kind>` and is installed where server, worker and gateway run. Built-in names win.",
        "",
    )
    for kind in sorted(set(BUILT_IN) & set(CONTRACTS)):
        yield from (f"## `loopwright.{kind}`", "", CONTRACTS[kind], "")
        yield from _table(
            ("name", "what it does", "file"),
            (
                (
                    _code(name),
                    first_line(load_plugin(kind, name)) or "–",
                    _code(place.split(":")[0].removeprefix("loopwright.").replace(".", "/") + ".py"),
                )
                for name, place in sorted(BUILT_IN[kind].items())
            ),
        )


def _settings() -> Iterator[str]:
    found = dict(_variables(ast.parse(Path("src/loopwright/config.py").read_text("utf-8"))))
    assert set(found) == set(SETTINGS), f"say in SETTINGS what these are: {set(found) ^ set(SETTINGS)}"
    yield from (
        "# Settings",
        "",
        "Read from the environment in `config.py` and nowhere else. Options of `loopwright up` win over them.",
        "",
    )
    yield from _table(
        ("variable", "default", "what it is"),
        ((_code(name), _code(default), SETTINGS[name]) for name, default in found.items()),
    )
    yield "Credentials of object stores come from the provider's usual variables (`AWS_ACCESS_KEY_ID` …)."
    yield ""
    yield "User code is given what computing needs of the environment (`PATH`, `LANG`, `OMP_*`, `CUDA_*` …) and what"
    yield "`LOOPWRIGHT_USER_ENVIRONMENT` names beside that, such as `HF_HOME,MY_*`. The rest may be credentials."


def _variables(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Yield each variable that is read, with its default as it stands in the source."""
    (reader,) = (node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "load_settings")
    defaults = {ast.unparse(one.values[-2]): _default(one.values[-1]) for one in _of(reader, ast.BoolOp)}
    for call in _of(reader, ast.Call):
        names = [str(one.value) for one in call.args if isinstance(one, ast.Constant)]
        if names and names[0].startswith("LOOPWRIGHT_"):
            yield names[0], names[1] if len(names) > 1 else defaults.get(ast.unparse(call), "")


def _of(node: ast.AST, kind: type[Any]) -> list[Any]:
    found = [one for one in ast.walk(node) if isinstance(one, kind)]
    return sorted(found, key=lambda one: (one.lineno, one.col_offset))


def _name(part: ast.expr) -> str:
    return ast.unparse(part.value) if isinstance(part, ast.FormattedValue) else ast.unparse(part)


def _default(value: ast.expr) -> str:
    if isinstance(value, ast.Constant):
        return str(value.value)
    if isinstance(value, ast.JoinedStr):
        parts = [str(part.value) if isinstance(part, ast.Constant) else _name(part) for part in value.values]
        return "".join(parts).replace("folder / ", "<state>/").replace("'", "")
    return ast.unparse(value).removeprefix("str(").removesuffix(")").replace("folder / ", "<state>/").replace("'", "")


def main() -> None:
    """Write the pages and remove those that are no longer made."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    written = pages()
    for stale in {path.name for path in FOLDER.glob("*.md")} - set(written):
        (FOLDER / stale).unlink()
    for name, text in written.items():
        (FOLDER / name).write_text(text, "utf-8")
    print(f"wrote {len(written)} pages to {FOLDER}")


if __name__ == "__main__":
    sys.path.insert(0, "src")
    main()
