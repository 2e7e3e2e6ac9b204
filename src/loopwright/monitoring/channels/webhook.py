"""A web hook as a channel: one POST of JSON."""

import asyncio
from typing import Any

import httpx

from loopwright.kernel.documents import to_json
from loopwright.kernel.errors import InvalidInput, Unavailable
from loopwright.monitoring.channels import Notice
from loopwright.wire.outgoing import public_address

TIMEOUT_S, DEADLINE_S = 5.0, 15.0
"""How long the host may say nothing; and how long all of it may take, which holds up other jobs of the worker."""


def send(target: str, notice: Notice, allowed_hosts: frozenset[str]) -> None:
    """Post ``{"text", "project", "change", "incident"}`` to a URL.

    The host's address is looked up once and that address is called, so that it cannot change between check and call.
    Redirects are not followed, and what is answered is not read: it comes from whoever the target is.

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
        raise InvalidInput("this is no web hook", field="channel", value=url.scheme, rule="http:// or https://")
    address = public_address(url.host, url.port or (443 if url.scheme == "https" else 80), allowed_hosts)
    document = {"text": str(notice), "project": notice.project, "change": notice.change, "incident": notice.incident}
    try:
        status = asyncio.run(_post(url, address, to_json(document)))
    except TimeoutError:
        rule = f"an answer within {DEADLINE_S:g} s"
        raise Unavailable("the web hook did not answer in time", field="channel", value=url.host, rule=rule) from None
    except httpx.HTTPError as error:
        raise Unavailable("the web hook did not answer", field="channel", value=url.host, rule=str(error)) from None
    if status >= 300:
        raise Unavailable(f"the web hook answered {status}", field="channel", value=url.host)


async def _post(url: httpx.URL, address: str, body: bytes) -> int:
    """Return the status; what follows it is not read, and whoever sends that as slowly as they like is left."""
    headers = {"content-type": "application/json", "host": url.netloc.decode()}
    asked: dict[str, Any] = {"content": body, "headers": headers, "extensions": {"sni_hostname": url.host}}
    async with (
        asyncio.timeout(DEADLINE_S),
        httpx.AsyncClient(timeout=TIMEOUT_S, trust_env=False) as client,
        client.stream("POST", url.copy_with(host=address), **asked) as answer,
    ):
        return answer.status_code
