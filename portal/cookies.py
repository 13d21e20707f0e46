"""Cookies: the session's token in the browser.

``__Host-gotong`` is Secure, so it needs TLS; a proxy provides that. Only a demo, opened over plain http
from its own machine, uses ``gotong_demo`` instead, because not every browser keeps a Secure cookie there.
"""

from __future__ import annotations

import ipaddress
from typing import Final

from fastapi import Request, Response

SESSION_COOKIE: Final = "__Host-gotong"
DEMO_COOKIE: Final = "gotong_demo"
OIDC_COOKIE: Final = "__Host-gotong-oidc"
OIDC_DEMO_COOKIE: Final = "gotong_demo_oidc"


def read_session_cookie(request: Request) -> str | None:
    """The session's token, if the browser sent one."""
    return request.cookies.get(DEMO_COOKIE if _is_plain_demo(request) else SESSION_COOKIE)


def set_session_cookie(request: Request, response: Response, token: str) -> None:
    """Give the browser the token: out of scripts' reach, gone when the browser closes."""
    _set(request, response, SESSION_COOKIE, DEMO_COOKIE, token, None)


def clear_session_cookie(request: Request, response: Response) -> None:
    """Take the token back."""
    _set(request, response, SESSION_COOKIE, DEMO_COOKIE, "", 0)


def read_oidc_cookie(request: Request) -> str | None:
    """The token of a sign-in that is with the identity provider."""
    return request.cookies.get(OIDC_DEMO_COOKIE if _is_plain_demo(request) else OIDC_COOKIE)


def set_oidc_cookie(request: Request, response: Response, token: str, lasts_seconds: int) -> None:
    """Bind a sign-in at the identity provider to this browser; 0 seconds take it back."""
    _set(request, response, OIDC_COOKIE, OIDC_DEMO_COOKIE, token, lasts_seconds)


def _set(
    request: Request, response: Response, name: str, demo_name: str, token: str, lasts_seconds: int | None
) -> None:
    plain = _is_plain_demo(request)
    response.set_cookie(
        demo_name if plain else name,
        token,
        max_age=lasts_seconds,
        path="/",
        secure=not plain,
        httponly=True,
        samesite="lax",
    )


def _is_plain_demo(request: Request) -> bool:
    return (
        bool(request.app.state.portal.settings.demo)
        and request.url.scheme == "http"
        and _is_loopback(request.url.hostname)
        and _is_loopback(request.client.host if request.client else None)
    )


def _is_loopback(host: str | None) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host or "").is_loopback
    except ValueError:
        return False
