"""A web hook as a channel: one POST of JSON."""

import ipaddress
import socket

import httpx

from loopwright.kernel.documents import to_json
from loopwright.kernel.errors import InvalidInput, Unavailable
from loopwright.monitoring.channels import Notice

TIMEOUT_S = 5.0


def send(target: str, notice: Notice, allowed_hosts: frozenset[str]) -> None:
    """Post ``{"text", "project", "change", "incident"}`` to a URL.

    The host's address is looked up once and that address is called, so that it cannot change between check and call.
    Redirects are not followed.

    Args:
        target: An http or https URL.
        notice: What happened.
        allowed_hosts: Hosts that may have private addresses.

    Raises:
        InvalidInput: It is no such URL, or it leads into a private network.
        Unavailable: Nobody answered, or not well.
    """
    url = httpx.URL(target)
    if url.scheme not in ("http", "https") or not url.host:
        raise InvalidInput("this is no web hook", field="channel", value=target, rule="http:// or https://")
    address = public_address(url.host, url.port or (443 if url.scheme == "https" else 80), allowed_hosts)
    document = {"text": str(notice), "project": notice.project, "change": notice.change, "incident": notice.incident}
    host = url.netloc.decode()
    try:
        with httpx.Client(timeout=TIMEOUT_S, trust_env=False) as client:
            answer = client.post(
                url.copy_with(host=address),
                content=to_json(document),
                headers={"content-type": "application/json", "host": host},
                extensions={"sni_hostname": url.host},
            )
    except httpx.HTTPError as error:
        raise Unavailable("the web hook did not answer", field="channel", value=url.host, rule=str(error)) from None
    if answer.status_code >= 300:
        raise Unavailable(f"the web hook answered {answer.status_code}", field="channel", value=url.host)


def public_address(host: str, port: int, allowed_hosts: frozenset[str]) -> str:
    """Return an address of a host, all of whose addresses are public unless the host is allowed.

    Raises:
        InvalidInput: One of them is private, loopback, link-local or otherwise not of the public Internet.
        Unavailable: The name leads nowhere.
    """
    try:
        found = [str(entry[4][0]) for entry in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
    except OSError:
        raise Unavailable("this host cannot be found", field="channel", value=host) from None
    private = [address for address in found if not ipaddress.ip_address(address.split("%")[0]).is_global]
    if private and host not in allowed_hosts:
        raise InvalidInput(
            "web hooks do not call into private networks",
            field="channel",
            value=host,
            rule="public addresses only",
            next_step="an operator may list the host in the file webhook-hosts of the state folder",
        )
    return found[0]
