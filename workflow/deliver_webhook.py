"""Deliver by webhook: signed after the Standard Webhooks specification, and never to an internal address.

The host is resolved once; every address it has must be public, or in a network that the house allows; and
the connection goes to the address that was looked at, so that a second answer of the name cannot
lead elsewhere. Redirects are not followed, proxies of the environment not used.
https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

from __future__ import annotations

import asyncio
import base64
import datetime as dt
import hashlib
import hmac
import ipaddress
import secrets
import socket
import uuid
from collections.abc import Sequence
from typing import Final

import httpx

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

#: For the whole exchange, well within a lease: a receiver that sends a byte now and then gains no time by it.
TIMEOUT_SECONDS: Final = 10.0
_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")


class WebhookRefusedError(ValueError):
    """The address cannot be used. ``problem`` is a code that the portal says in words."""

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.problem = problem


class DeliveryFailedError(Exception):
    """The attempt did not succeed. ``problem`` is a code that the portal says in words, ``detail`` a status
    or a number of seconds; neither holds a secret or a person."""

    def __init__(self, problem: str, detail: str = "") -> None:
        super().__init__(f"{problem}: {detail}" if detail else problem)
        self.problem = problem
        self.detail = detail


def make_secret() -> str:
    """A new signing secret, as the specification writes them."""
    return "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()


def check_webhook(address: str, allowed: Sequence[Network] = ()) -> httpx.URL:
    """The address as a URL. Raises ``WebhookRefusedError``: not https (http within ``allowed`` alone), with a
    password or fragment in it, unresolvable, or leading to an internal address."""
    url, _ = _resolve(address, allowed)
    return url


def send_webhook(
    address: str,
    secret: str,
    delivery_id: uuid.UUID,
    body: bytes,
    now: dt.datetime,
    allowed: Sequence[Network],
) -> None:
    """POST ``body``. The id is the same for every attempt; anything but a 2xx is a failure.

    Raises ``DeliveryFailedError``.
    """
    try:
        url, ip = _resolve(address, allowed)
    except WebhookRefusedError as error:
        raise DeliveryFailedError("address_refused", error.problem) from None
    headers = {
        "host": url.netloc.decode("ascii"),
        "content-type": "application/json",
        "user-agent": "Gotong",
        **sign(secret, delivery_id, now, body),
    }
    try:
        answer = asyncio.run(_post(url, ip, body, headers))
    except TimeoutError:
        raise DeliveryFailedError("no_answer_in_seconds", f"{TIMEOUT_SECONDS:.0f}") from None
    except httpx.HTTPError as error:
        raise DeliveryFailedError("no_answer", type(error).__name__) from None
    if answer.is_redirect:
        raise DeliveryFailedError("redirected")
    if not answer.is_success:
        raise DeliveryFailedError("receiver_answered", str(answer.status_code))


async def _post(url: httpx.URL, ip: Address, body: bytes, headers: dict[str, str]) -> httpx.Response:
    """The answer's head; what it says beyond is of no use, and may be endless. Raises ``TimeoutError``."""
    client = httpx.AsyncClient(follow_redirects=False, trust_env=False, timeout=TIMEOUT_SECONDS)
    async with asyncio.timeout(TIMEOUT_SECONDS), client:
        request = client.build_request(
            "POST",
            url.copy_with(host=str(ip)),
            content=body,
            headers=headers,
            extensions={"sni_hostname": url.raw_host.decode("ascii")},
        )
        answer = await client.send(request, stream=True)
        await answer.aclose()
        return answer


def sign(secret: str, delivery_id: uuid.UUID, now: dt.datetime, body: bytes) -> dict[str, str]:
    """The headers that let a receiver check who sent it, when, and whether it came before."""
    moment = str(int(now.timestamp()))
    key = base64.b64decode(secret.removeprefix("whsec_"))
    seal = hmac.digest(key, f"{delivery_id}.{moment}.".encode() + body, hashlib.sha256)
    return {
        "webhook-id": str(delivery_id),
        "webhook-timestamp": moment,
        "webhook-signature": "v1," + base64.b64encode(seal).decode(),
    }


def _resolve(address: str, allowed: Sequence[Network]) -> tuple[httpx.URL, Address]:
    try:
        url = httpx.URL(address)
    except (httpx.InvalidURL, TypeError):
        raise WebhookRefusedError("not_an_address") from None
    if url.scheme not in ("https", "http") or not url.host:
        raise WebhookRefusedError("not_an_address")
    if url.userinfo or url.fragment:
        raise WebhookRefusedError("password_in_address")
    try:
        found = socket.getaddrinfo(
            url.raw_host.decode("ascii"),
            url.port or (443 if url.scheme == "https" else 80),
            type=socket.SOCK_STREAM,
        )
    except (OSError, UnicodeError):
        raise WebhookRefusedError("unresolvable") from None
    addresses = [ipaddress.ip_address(str(each[4][0]).partition("%")[0]) for each in found]
    for ip in addresses:
        inside = any(ip in network for network in allowed)
        if not inside and not is_public(ip):
            raise WebhookRefusedError("internal_address")
        if url.scheme == "http" and not inside:
            raise WebhookRefusedError("not_https")
    return url, addresses[0]


def is_public(ip: Address) -> bool:
    """Whether an address belongs to the open internet, whatever it is wrapped in."""
    if isinstance(ip, ipaddress.IPv6Address):
        if ip in _NAT64:
            return is_public(ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF))
        if ip.ipv4_mapped is not None:
            return is_public(ip.ipv4_mapped)
        if ip.sixtofour is not None or ip.teredo is not None:
            return False
    return ip.is_global and not (ip.is_multicast or ip.is_reserved or ip.is_unspecified)
