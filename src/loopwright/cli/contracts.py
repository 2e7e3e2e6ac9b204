"""Commands that tell a dataset as a contract, and read contracts of others as declarations."""

from pathlib import Path

import click

from loopwright import data
from loopwright.cli.connection import remote
from loopwright.cli.show import json_option, print_json, project_option, say, say_lines
from loopwright.kernel.errors import InvalidInput


@click.command()
@click.argument("dataset")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="Write it there; without it, print it.")
@project_option
def export_contract(dataset: str, out: Path | None, project: str | None) -> None:
    """Print DATASET as a contract of the Open Data Contract Standard 3.1.0, in YAML.

    It tells columns and types, the key, personal columns, every check, and how fresh the rows are to be.
    """
    text = remote(project).dataset(dataset).contract()
    if out is None:
        say_lines(text, nl=False)
        return
    try:
        out.write_text(text, "utf-8")
    except OSError as error:
        why = error.strerror or str(error)
        raise InvalidInput("this file cannot be written", field="--out", value=str(out), rule=why) from None
    say(f"{out} has the contract of {dataset}")


@click.command()
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@json_option
def import_contract(file: Path, as_json: bool) -> None:
    """Print the lines of a project file that say what the contract in FILE says, and what they leave out, with why.

    FILE is a contract of the Open Data Contract Standard, a schema of pandera as its to_yaml or to_json writes it, or a
    suite of Great Expectations as JSON. It is read and nothing of it is run; no server is asked.
    """
    try:
        with file.open("rb") as opened:
            body = opened.read(data.contracts.MOST_BYTES + 1)
    except OSError as error:
        why = error.strerror or str(error)
        raise InvalidInput("this file cannot be read", field="FILE", value=str(file), rule=why) from None
    found = data.contracts.read_contract(body)
    if as_json:
        print_json(found)
        return
    for number, one in enumerate(found):
        if number:
            say()
        for line in data.contracts.project_lines(one):
            say(line)
