"""The command group. Commands are imported when they are called, so that ``--help`` is quick."""

import importlib
import json
import signal
import sys

import click

from loopwright.cli.terminals import guard_terminals
from loopwright.kernel.errors import InvalidInput, LoopwrightError
from loopwright.kernel.suggestions import nearest
from loopwright.kernel.version import VERSION

COMMANDS = {
    "init": ("loopwright.cli.project:init", "Start a project from a template."),
    "up": ("loopwright.cli.starting:up", "Run server, worker, gateway and UI here."),
    "apply": ("loopwright.cli.project:apply", "Show the plan of a project file, then make it so."),
    "import": ("loopwright.cli.importing:import_rows", "Bring rows into a dataset; or read its source again."),
    "start": ("loopwright.cli.project:start", "Run a pipeline now."),
    "retry": ("loopwright.cli.project:retry", "Run a failed execution on from the step that failed; or a failed job."),
    "cancel": ("loopwright.cli.project:cancel", "End an execution; what runs is killed."),
    "evaluate": ("loopwright.cli.serving:evaluate", "Run a version's gates on held-out rows."),
    "deploy": ("loopwright.cli.serving:deploy", "Roll a model version out."),
    "approve": ("loopwright.cli.serving:approve", "Say yes to what waits for a person."),
    "reject": ("loopwright.cli.serving:reject", "Say no, with a reason."),
    "rollback": ("loopwright.cli.serving:rollback", "Abort a live rollout, or return to the last good release."),
    "retire": ("loopwright.cli.serving:retire", "End an endpoint; its history stays."),
    "predict": ("loopwright.cli.serving:predict", "Ask a deployment for predictions."),
    "features": ("loopwright.cli.features:features", "Look features up by key, as predictions would be given them."),
    "score": ("loopwright.cli.serving:score", "Score a file in one batch, into the same log."),
    "label": ("loopwright.cli.serving:label", "Send observed outcomes."),
    "why": ("loopwright.cli.loop:why", "Where did this answer come from?"),
    "backtest": ("loopwright.cli.loop:backtest", "Would this policy have worked?"),
    "demo": ("loopwright.demo:demo", "A year of flights through the whole loop."),
    "status": ("loopwright.cli.processes:status", "What runs, what waits, what needs me."),
    "projects": ("loopwright.cli.asking:projects", "List projects."),
    "datasets": ("loopwright.cli.asking:datasets", "List datasets and their versions."),
    "suggest-checks": ("loopwright.cli.asking:suggest_checks", "Suggest checks of a dataset by its rows."),
    "export-contract": ("loopwright.cli.contracts:export_contract", "Print a dataset as an open data contract."),
    "import-contract": ("loopwright.cli.contracts:import_contract", "Print the declaration that a contract asks for."),
    "runs": ("loopwright.cli.asking:runs", "List or search runs."),
    "incidents": ("loopwright.cli.asking:incidents", "List incidents; acknowledge or resolve one."),
    "delete": ("loopwright.cli.ending:delete", "Delete a thing by its ref, or a project; --plan says what goes."),
    "tokens": ("loopwright.cli.asking:tokens", "List, create or revoke access tokens."),
    "call": ("loopwright.cli.asking:call", "Call any verb: call VERB name=value."),
    "logs": ("loopwright.cli.processes:logs", "The last lines of a process or an execution."),
    "backup": ("loopwright.cli.backing_up:backup", "Copy database, blobs and spools to a folder or bucket."),
    "restore": ("loopwright.cli.backing_up:restore", "Set a platform up from a backup, in an empty place."),
    "gc": ("loopwright.cli.storing:gc", "Free what no row names; --plan says what it would."),
    "verify": ("loopwright.cli.processes:verify", "Check blobs, references, chunks and the chain of events."),
    "salvage": (
        "loopwright.cli.salvaging:salvage",
        "Put rows back that a gateway set aside; it is stopped meanwhile.",
    ),
    "doctor": ("loopwright.cli.processes:doctor", "Check this machine and say what to do."),
    "login": ("loopwright.cli.processes:login", "Keep an access token for a server."),
    "import-model": ("loopwright.cli.serving:import_model", "Register a model that was trained elsewhere."),
}


class LazyGroup(click.Group):
    """A group that knows its commands by name and imports the one that is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the commands in the order of the loop."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return a command; of a name nearly right, say which is meant."""
        if cmd_name not in COMMANDS:
            near = nearest(cmd_name, COMMANDS)
            if near and not ctx.resilient_parsing:
                ctx.fail(f"No such command '{cmd_name}'. Did you mean {near}?")
            return None
        module, name = COMMANDS[cmd_name][0].split(":")
        found: click.Command = getattr(importlib.import_module(module), name)
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(VERSION, prog_name="loopwright")
def cli() -> None:
    """From a team's data to a governed, monitored, self-retraining prediction service."""


def main() -> None:
    """Entry point of ``loopwright``: errors of ours end as one clear message, never as a stack trace.

    Under ``--json`` the message is one document on standard error, in the form that errors have over HTTP.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what a command started is ended with it
    as_json = "--json" in sys.argv[1:]
    guard_terminals()
    try:
        cli.main(prog_name="loopwright", standalone_mode=False)
    except LoopwrightError as error:
        sys.stderr.write(_document(error) if as_json else error.explain())
        sys.exit(1)
    except click.ClickException as error:
        sys.stderr.write(_document(_misused(error))) if as_json else error.show()
        sys.exit(error.exit_code)
    except click.Abort:
        sys.stderr.write(_document(LoopwrightError("stopped")) if as_json else "stopped\n")
        sys.exit(130)


def _document(error: LoopwrightError) -> str:
    return json.dumps({"error": error.to_dict()}, indent=2) + "\n"


def _misused(error: click.ClickException) -> InvalidInput:
    """Return what is wrong with how a command was called: its argument or option, and where usage is explained."""
    context = getattr(error, "ctx", None)
    param = getattr(error, "param", None)
    field = getattr(error, "option_name", None) or (param.get_error_hint(context).strip("'") if param else None)
    next_step = f"{context.command_path} --help" if context else "loopwright --help"
    return InvalidInput(error.format_message(), field=field, next_step=next_step)
