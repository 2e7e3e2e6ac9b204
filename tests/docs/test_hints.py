"""Every hint works when it is typed: commands, verbs, calls, variables and files that texts of the sources name."""

import ast
import inspect
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import click
import pytest

import loopwright
from loopwright.cli.main import LazyGroup, cli
from loopwright.client import Project, Remote
from loopwright.config import _NAMES as VARIABLES
from loopwright.kernel.verbs import VERBS
from loopwright.server import ROLES

ROOT = Path(__file__).parents[2]
PLACEHOLDER = "{}"
"""What stands in a text where its f-string puts a value in."""
HINTS = ("next_step", "step", "hint", "otherwise")
NODES = (ast.Constant, ast.JoinedStr, ast.keyword, ast.Assign)
TOKEN = re.compile(r"""(?:[^\s"']|"[^"]*"|'[^']*')+""")
COMMAND = re.compile(r"(?<![\w./@-])loopwright (?P<rest>[a-z-].*|\{\}.*)", re.DOTALL)
CALL = re.compile(r"(?<![\w.])(?P<root>p|lw)\.(?P<path>[A-Za-z_.]+)(?=\()")
VARIABLE = re.compile(r"(?<!\w)LOOPWRIGHT_[A-Z_]+(?!\w*[{*])")
FILE = re.compile(r"(?<![\w/])docs/[\w/.-]+\.md")

Text = tuple[str, str]
"""Where it stands, and what it says."""


def rendered(node: ast.expr) -> str | None:
    """Return the text of a string or an f-string; None for anything else."""
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else None
    if isinstance(node, ast.JoinedStr):
        return "".join(rendered(part) or PLACEHOLDER for part in node.values)
    return None


@pytest.fixture(scope="module")
def nodes() -> list[tuple[str, ast.AST]]:
    """Every node of the sources but what documents them, and but the parts of f-strings."""
    found = []
    for path in sorted((ROOT / "src/loopwright").rglob("*.py")):
        every = list(ast.walk(ast.parse(path.read_text("utf-8"))))
        left_out = {id(node.value) for node in every if isinstance(node, ast.Expr)}
        left_out |= {id(part) for node in every if isinstance(node, ast.JoinedStr) for part in node.values}
        kept = [node for node in every if isinstance(node, NODES) and id(node) not in left_out]
        found += [(f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 0)}", node) for node in kept]
    return found


@pytest.fixture(scope="module")
def texts(nodes: list[tuple[str, ast.AST]]) -> list[Text]:
    """Every text of the sources but what documents them."""
    found = [(where, rendered(node)) for where, node in nodes if isinstance(node, ast.expr)]
    return [(where, text) for where, text in found if text]


@pytest.fixture(scope="module")
def hints(nodes: list[tuple[str, ast.AST]]) -> list[Text]:
    """Texts that become the next step of an error, a need or a finding, wherever in an expression they stand."""
    found = []
    for where, node in nodes:
        is_named = isinstance(node, ast.keyword) and node.arg in HINTS
        is_kept = isinstance(node, ast.Assign) and any(getattr(one, "id", "") in HINTS for one in node.targets)
        if (is_named or is_kept) and isinstance(node, ast.keyword | ast.Assign):
            found += [(where, rendered(part)) for part in ast.walk(node.value) if isinstance(part, ast.expr)]
    return [(where, text) for where, text in found if text]


def wrong(found: list[tuple[str, str, str | None]]) -> list[str]:
    return [f"{where}: {text!r}: {why}" for where, text, why in found if why]


@pytest.fixture(scope="module")
def pages() -> list[Text]:
    """Texts of the pages' templates, with a placeholder where a value is put in."""
    found = []
    for path in sorted((ROOT / "src/loopwright/ui/templates").rglob("*.html")):
        text = re.sub(
            r"\{\{.*?\}\}", lambda one: one.group() if '"' in one.group() else PLACEHOLDER, path.read_text("utf-8")
        )
        text = re.sub(r'"\s*~\s*(?:\([^()]*\)|[\w.]+)(?:\s*~\s*"|(?=\)))', PLACEHOLDER, text)
        found += [(path.name, part) for part in re.split(r"[<>]|\"\s*[,)]", text)]
    return found


def test_every_command_can_be_typed(texts: list[Text], pages: list[Text]) -> None:
    found = [(where, one, misuse(one)) for where, text in [*texts, *pages] for one in commands(text)]
    assert len(found) > 90
    assert wrong(found) == []


def test_every_verb_that_a_hint_names_is_one(hints: list[Text]) -> None:
    rooms = "|".join({name.partition(".")[0] for name in VERBS})
    pattern = re.compile(rf"(?<![\w./-])(?:{rooms})\.[a-z_]+(?![\w.(=])")
    found = [
        (where, name, None if name in VERBS else "no verb") for where, text in hints for name in pattern.findall(text)
    ]
    assert len(found) > 8
    assert wrong(found) == []


def test_every_call_fits_the_function_that_it_names(texts: list[Text]) -> None:
    found = [(where, call, misfit(call)) for where, text in texts for call in calls(text)]
    assert len(found) > 15
    assert wrong(found) == []


def test_every_variable_is_read_and_every_page_is_there(texts: list[Text]) -> None:
    named = [(where, name) for where, text in texts for name in VARIABLE.findall(text)]
    pages = [(where, page) for where, text in texts for page in FILE.findall(text)]
    assert len(named) > 30
    assert pages
    assert [one for one in named if one[1] not in VARIABLES] == []
    assert [one for one in pages if not (ROOT / one[1]).is_file()] == []


def test_a_hint_that_does_not_work_is_found() -> None:
    assert [misuse(one) for one in commands("look there (loopwright logs worker), then go on")] == [None]
    assert list(commands('loopwright rollback {} --reason "a b" or loopwright up; more')) == [
        'rollback {} --reason "a b"',
        "up",
    ]
    assert misuse("deploi late") == "no such command"
    assert "Missing" in str(misuse("start"))
    assert "No such option" in str(misuse("status --nowhere"))
    assert "Got unexpected extra argument" in str(misuse("status {}"))
    assert "is not one of" in str(misuse("up --role serve"))
    assert misuse("call registry.nothing") == "no such verb"
    assert misuse("call jobs.get job=1") == "jobs.get has no argument job"
    assert misuse("call jobs.get") == "jobs.get needs job_id"
    assert misfit('p.deployment("late", montor=1)') == "got an unexpected keyword argument 'montor'"
    assert misfit("lw.nothing()") == "there is none"
    assert list(calls("say lw.Retrain(fit, when=[...]), then")) == ["lw.Retrain(fit, when=[...])"]


# --- commands ---------------------------------------------------------------------------------------------------------


def commands(text: str) -> Iterator[str]:
    """Yield what a text says to type after ``loopwright``: words that are arguments, up to where prose goes on."""
    for part in re.split(r"(?=(?<![\w./@-])loopwright )", text):
        if match := COMMAND.match(part):
            yield " ".join(typed(TOKEN.findall(match["rest"])))


def typed(tokens: list[str]) -> list[str]:
    taken: list[str] = []
    for token in tokens:
        word = token.rstrip(",;:)`?|") if not token.endswith(("'", '"')) else token
        word = word.removesuffix(".") if not word.endswith("...") else word
        if taken and not (is_argument(word) or takes_value(taken)):
            break
        taken.append(word)
        if word != token:
            break
    return taken


def is_argument(word: str) -> bool:
    return bool(
        word.startswith("-")
        or PLACEHOLDER in word
        or re.fullmatch(r"[A-Z]+|[\w./-]+\.py", word)
        or re.match(r"[a-z_]+=|[\"']", word)
        or word in VERBS
        or word in ROLES
    )


@cache
def command_of(name: str) -> click.Command | None:
    return cli.get_command(click.Context(cli, resilient_parsing=True), name) if isinstance(cli, LazyGroup) else None


def takes_value(taken: list[str]) -> bool:
    command = command_of(taken[0])
    options = [one for one in command.params if isinstance(one, click.Option)] if command else []
    return any(taken[-1] in (*one.opts, *one.secondary_opts) and not one.is_flag for one in options)


def misuse(words: str) -> str | None:
    """Return why a command cannot be typed so; None where it can."""
    name, *arguments = TOKEN.findall(words)
    command = command_of(name)
    if command is None:
        return None if name == "--help" else "no such command"
    arguments = [one.replace(PLACEHOLDER, "1").strip("\"'") for one in arguments]
    program = click.Context(
        cli, info_name="loopwright", **cli.context_settings
    )  # a command keeps what it is first asked by
    context = click.Context(command, parent=program, info_name=name)
    try:
        values, extra, _ = command.make_parser(context).parse_args(list(arguments))
        if extra:
            context.fail(f"Got unexpected extra argument {extra}")
        for parameter in command.params:
            check_value(context, parameter, values.get(parameter.name or ""))
    except click.UsageError as error:
        return error.format_message()
    return misuse_of_verb(arguments) if name == "call" else None


def check_value(context: click.Context, parameter: click.Parameter, value: Any) -> None:
    is_given = value not in (None, ()) and "UNSET" not in repr(value)
    if parameter.required and not is_given:
        raise click.MissingParameter(ctx=context, param=parameter)
    if is_given and isinstance(parameter.type, click.Choice):
        for one in value if isinstance(value, list | tuple) else [value]:
            parameter.type.convert(one, parameter, context)


def misuse_of_verb(arguments: list[str]) -> str | None:
    verb, *values = (one for one in arguments if "=" in one or one in VERBS or "." in one)
    if verb not in VERBS:
        return "no such verb"
    known, given = VERBS[verb].parameters, {one.partition("=")[0] for one in values}
    if unknown := given - set(known):
        return f"{verb} has no argument {', '.join(unknown)}"
    needed = [name for name, one in known.items() if one.default is inspect.Parameter.empty and name not in given]
    return f"{verb} needs {', '.join(needed)}" if needed else None


# --- calls ------------------------------------------------------------------------------------------------------------


def calls(text: str) -> Iterator[str]:
    """Yield each whole call of a project's methods or of the package that a text names."""
    for match in CALL.finditer(text):
        depth = 0
        for place in range(match.end(), len(text)):
            depth += {"(": 1, ")": -1}.get(text[place], 0)
            if depth == 0:
                yield text[match.start() : place + 1]
                break


def misfit(call: str) -> str | None:
    """Return why a call does not fit what it names; None where it does."""
    parsed = ast.parse(call.replace(PLACEHOLDER, "_").replace("…", "..."), mode="eval").body
    assert isinstance(parsed, ast.Call)
    root, _, path = ast.unparse(parsed.func).partition(".")
    roots = [loopwright] if root == "lw" else [Project, Remote]
    why = [misfit_of(of, path, parsed) for of in roots]
    return None if None in why else why[0]


def misfit_of(root: Any, path: str, call: ast.Call) -> str | None:
    found = root
    for name in path.split("."):
        found = getattr(found, name, None)
    if found is None:
        return "there is none"
    values = [value for value in call.args if not (isinstance(value, ast.Constant) and value.value is ...)]
    values += [None] * inspect.isclass(root)  # self
    try:
        inspect.signature(found).bind_partial(*values, **{str(one.arg): None for one in call.keywords})
    except TypeError as error:
        return str(error)
    return None
