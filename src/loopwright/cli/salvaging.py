"""The command that puts rows back which a gateway had set aside."""

import click

from loopwright.cli.show import json_option, print_json, say
from loopwright.config import load_settings
from loopwright.gateway import salvage_spools


@click.command()
@json_option
def salvage(as_json: bool) -> None:
    """Put rows back into the spool that a gateway of this state folder had set aside as .bad, while it is stopped.

    Of a damaged segment that is whatever behind the damage can still be read. Rows that were sealed before keep their
    ids, so they count once.
    """
    done = salvage_spools(load_settings().state_dir)
    if as_json:
        print_json(done)
        return
    for salvaged in done:
        lost = f", {salvaged.lost_bytes} bytes cannot be read" if salvaged.lost_bytes else ""
        say(f"{salvaged.segment}: {salvaged.rows} rows are back{lost}")
    say(f"{len(done)} segments" if done else "nothing was set aside")
