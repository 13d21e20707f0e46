"""Deliver by Apprise: e-mail through the house's mail server, or a service whose host nobody can choose."""

from __future__ import annotations

import html
from typing import Final
from urllib.parse import quote, urlsplit

import apprise

from workflow.deliver_webhook import DeliveryFailedError

#: Services at fixed hosts. Those where the person names the host (json, gotify, matrix ...) would be a way
#: to reach internal addresses past the webhook's guard.
SERVICES: Final = ("tgram", "slack", "discord", "whatsapp", "pover")
_MAIL: Final = ("mailto", "mailtos")


class ServiceRefusedError(ValueError):
    """The address of the service cannot be used."""


def check_service(address: str) -> str:
    """A label that may be shown. Raises ``ServiceRefusedError``."""
    scheme = urlsplit(address).scheme.lower()
    if scheme not in SERVICES or apprise.Apprise.instantiate(address, suppress_exceptions=True) is None:
        raise ServiceRefusedError
    return scheme


def check_mail_server(address: str) -> None:
    """Raises ``ServiceRefusedError`` unless it is an Apprise mail address of the house."""
    scheme = urlsplit(address).scheme.lower()
    if scheme not in _MAIL or apprise.Apprise.instantiate(_mail_to(address, "a@b.example")) is None:
        raise ServiceRefusedError


def send_mail(mail_url: str, to: str, title: str, paragraphs: list[tuple[str, str, str]]) -> None:
    """An e-mail in plain text and HTML. Raises ``DeliveryFailedError``.

    ``paragraphs``: what happened, what to do, and the link to where it can be done.
    """
    body = "".join(
        f"<p>{html.escape(what)}<br>{html.escape(action)}</p>"
        f'<p><a href="{html.escape(link)}">{html.escape(link)}</a></p>'
        for what, action, link in paragraphs
    )
    _notify(_mail_to(mail_url, to), title, body, apprise.NotifyFormat.HTML)


def send_to_service(address: str, title: str, paragraphs: list[tuple[str, str, str]]) -> None:
    """A message in plain text. Raises ``DeliveryFailedError``."""
    body = "\n\n".join("\n".join(part for part in each if part) for each in paragraphs)
    _notify(address, title, body, apprise.NotifyFormat.TEXT)


def _notify(address: str, title: str, body: str, body_format: apprise.NotifyFormat) -> None:
    sender = apprise.Apprise.instantiate(address, suppress_exceptions=True)
    if sender is None:
        raise DeliveryFailedError("address_unusable")
    if not sender.notify(body=body, title=title, body_format=body_format):
        raise DeliveryFailedError("not_taken")


def _mail_to(mail_url: str, to: str) -> str:
    joined = "&" if "?" in mail_url else "?"
    return f"{mail_url}{joined}to={quote(to)}&format=html"
