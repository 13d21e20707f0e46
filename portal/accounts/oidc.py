"""Signing in at the organisation's own identity provider: OpenID Connect, code flow with PKCE."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from authlib.integrations.base_client.errors import OAuthError
from authlib.integrations.requests_client import OAuth2Session
from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet
from requests import RequestException, Session

from portal.access import NotFoundError
from portal.accounts.sign_in import address_of, device_of, go_on, local_address, now
from portal.cookies import read_oidc_cookie, set_oidc_cookie, set_session_cookie
from portal.page import render_page
from workflow.sign_in import OIDC_LASTS, OidcStart, SignInRefusedError, sign_in_by_oidc, start_oidc, take_oidc

router = APIRouter()

_TIMEOUT_SECONDS: Final = 10
#: Signatures with the provider's public key only: "none" and shared secrets are not among them.
_ALGORITHMS: Final = ["RS256", "PS256", "ES256", "RS384", "ES384", "RS512", "EdDSA"]


@dataclass(frozen=True, slots=True)
class OidcSettings:
    """The provider and this portal's registration there; the redirect address is /login/oidc/callback."""

    issuer: str
    client_id: str
    client_secret: str = field(repr=False)


class ProviderError(Exception):
    """The provider does not answer, or not as the standard says."""


@router.get("/login/oidc")
def go_to_provider(request: Request, next: str = "/") -> Response:
    """Send the browser to the provider."""
    settings = _settings(request)
    try:
        metadata = _read_metadata(settings)
    except ProviderError:
        return _refuse(request, 503, "provider")
    start = start_oidc(request.app.state.portal.engine, local_address(next), now())
    with _client(request, settings) as client:
        address, _ = client.create_authorization_url(
            metadata["authorization_endpoint"],
            state=start.state,
            nonce=start.nonce,
            code_verifier=start.code_verifier,
        )
    response = RedirectResponse(address, 303)
    set_oidc_cookie(request, response, start.browser_token, int(OIDC_LASTS.total_seconds()))
    return response


@router.get("/login/oidc/callback")
def come_back(request: Request, state: str = "", code: str = "") -> Response:
    """Take the provider's word for who it is, once it is proven to be the provider's."""
    settings, portal = _settings(request), request.app.state.portal
    try:
        start, address = take_oidc(portal.engine, read_oidc_cookie(request) or "", state, now())
        claims = _read_identity(request, settings, start, code)
        signed_in = sign_in_by_oidc(
            portal.engine,
            issuer=settings.issuer,
            subject=str(claims["sub"]),
            email=str(claims.get("email", "")),
            email_verified=claims.get("email_verified") is True,
            address=address_of(request),
            device=device_of(request),
            now=now(),
        )
    except SignInRefusedError:
        return _refuse(request, 401, "refused")
    except ProviderError:
        return _refuse(request, 503, "provider")
    response = go_on(signed_in.missing, address)
    set_oidc_cookie(request, response, "", 0)
    set_session_cookie(request, response, signed_in.token)
    return response


def _read_identity(request: Request, settings: OidcSettings, start: OidcStart, code: str) -> dict[str, Any]:
    """The verified claims of the ID token. Raises ``SignInRefusedError`` or :class:`ProviderError`."""
    metadata = _read_metadata(settings)
    try:
        with _client(request, settings) as client:
            token = client.fetch_token(
                metadata["token_endpoint"],
                code=code,
                code_verifier=start.code_verifier,
                timeout=_TIMEOUT_SECONDS,
            )
    except OAuthError:
        raise SignInRefusedError from None
    except (RequestException, ValueError) as error:
        raise ProviderError from error
    try:
        keys = KeySet.import_key_set(_get_json(metadata["jwks_uri"]))  # type: ignore[arg-type]
        claims = jwt.decode(str(token["id_token"]), keys, algorithms=_ALGORITHMS).claims
        jwt.JWTClaimsRegistry(
            leeway=60,
            iss={"essential": True, "value": settings.issuer},
            aud={"essential": True, "value": settings.client_id},
            nonce={"essential": True, "value": start.nonce},
            sub={"essential": True},
            exp={"essential": True},
            iat={"essential": True},
        ).validate(claims)
    except (JoseError, KeyError, ValueError):
        raise SignInRefusedError from None
    if claims.get("azp", settings.client_id) != settings.client_id:
        raise SignInRefusedError
    return dict(claims)


def _read_metadata(settings: OidcSettings) -> dict[str, Any]:
    metadata = _get_json(f"{settings.issuer.rstrip('/')}/.well-known/openid-configuration")
    if metadata.get("issuer") != settings.issuer:
        raise ProviderError("the provider calls itself otherwise than GOTONG_OIDC_ISSUER")
    if not all(name in metadata for name in ("authorization_endpoint", "token_endpoint", "jwks_uri")):
        raise ProviderError("the provider's configuration lacks an endpoint")
    return metadata


def _get_json(address: str) -> dict[str, Any]:
    try:
        with Session() as session:
            answer = session.get(address, timeout=_TIMEOUT_SECONDS)
            answer.raise_for_status()
            content = answer.json()
    except (RequestException, ValueError) as error:
        raise ProviderError from error
    if not isinstance(content, dict):
        raise ProviderError("the provider answered something else than an object")
    return content


def _client(request: Request, settings: OidcSettings) -> Any:
    return OAuth2Session(
        settings.client_id,
        settings.client_secret,
        scope="openid email profile",
        redirect_uri=f"{request.url.scheme}://{request.url.netloc}/login/oidc/callback",
        code_challenge_method="S256",
    )


def _settings(request: Request) -> OidcSettings:
    settings: OidcSettings | None = request.app.state.portal.settings.oidc
    if settings is None:
        raise NotFoundError
    return settings


def _refuse(request: Request, status_code: int, problem: str) -> Response:
    response = render_page(request, "accounts/oidc_refused.html", status_code=status_code, problem=problem)
    set_oidc_cookie(request, response, "", 0)
    return response
