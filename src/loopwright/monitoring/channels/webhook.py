"""A web hook as a channel: one POST of JSON."""

import httpx

from loopwright.kernel.documents import to_json
from loopwright.kernel.errors import InvalidInput, Unavailable
from loopwright.monitoring.channels import Notice
from loopwright.wire.outgoing import public_address

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
        raise InvalidInput("this is no web hook", field="channel", value=url.scheme, rule="http:// or https://")
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
