"""``loopwright up``: a module of its own, for what it imports is waited for before a process starts."""

from pathlib import Path
from typing import Any

import click
import msgspec

from loopwright.cli.show import json_option, print_json, say
from loopwright.config import check_gateway_name, load_settings, unknown_settings
from loopwright.server import ROLES, Supervisor


@click.command()
@click.option("--state", type=click.Path(path_type=Path), help="State folder; default ./.loopwright.")
@click.option("--host", help="Address to listen on; others than loopback need --auth.")
@click.option("--port", type=int, help="Port of server and UI.")
@click.option("--gateway-port", type=int, help="Port of the gateway.")
@click.option("--gateway-name", help="Parts several gateways on one state folder; default 0.")
@click.option("--auth", is_flag=True, help="Ask every caller for a token.")
@click.option("--role", type=click.Choice(["server", "worker", "gateway"]), multiple=True, help="Only these processes.")
@json_option
def up(
    state: Path | None,
    host: str | None,
    port: int | None,
    gateway_port: int | None,
    gateway_name: str | None,
    auth: bool,
    role: tuple[str, ...],
    as_json: bool,
) -> None:
    """Run server, worker, gateway and UI here until Ctrl C."""
    settings = load_settings(state, here=True)
    changes: dict[str, Any] = {"host": host, "port": port, "gateway_port": gateway_port, "auth": "on" if auth else None}
    changes["gateway_name"] = None if gateway_name is None else check_gateway_name(gateway_name)
    settings = msgspec.structs.replace(settings, **{key: value for key, value in changes.items() if value is not None})
    for name, meant in unknown_settings().items():
        say(f"nothing reads {name}{f'; did you mean {meant}?' if meant else ''}", err=True)
    supervisor = Supervisor(settings, role or ROLES, lambda told: say(told, err=True))
    supervisor.start()
    if supervisor.warning:
        say(supervisor.warning, err=True)
    if as_json:
        where = {"url": supervisor.server_url, "gateway_url": _gateway_here(supervisor) or None}
        print_json({**where, "state": str(settings.state_dir), "logs": str(settings.state_dir / "logs")})
    else:
        tell_where(supervisor)
    try:
        supervisor.watch()
    except (KeyboardInterrupt, SystemExit):
        say("stopping", err=as_json)
    finally:
        supervisor.stop()


def _gateway_here(supervisor: Supervisor) -> str:
    return supervisor.gateway_url if "gateway" in supervisor.runs else ""


def tell_where(supervisor: Supervisor) -> None:
    """Name what runs here, and the server that it belongs to."""
    state_dir, gateway = supervisor.settings.state_dir, _gateway_here(supervisor)
    if "server" in supervisor.runs:
        say(f"Loopwright is up: {supervisor.server_url}" + (f" (predictions: {gateway})" if gateway else ""))
    else:
        what = " and ".join(supervisor.runs) + (f" (predictions: {gateway})" if gateway else "")
        say(f"up: {what}, of the server at {supervisor.server_url}")
    say(f"state in {state_dir}, logs in {state_dir / 'logs'}; Ctrl C stops")
    if supervisor.settings.auth == "on":
        say("auth is on: create tokens with the service token, for example")
        say(f'  LOOPWRIGHT_TOKEN="$(cat {state_dir / "service.token"})" loopwright login --create person:you')
