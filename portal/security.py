"""Security of every request: no change from another site, no flood, the same words for every refusal."""

from __future__ import annotations

import time
from typing import Final
from urllib.parse import urlsplit

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter
from sqlalchemy.exc import OperationalError
from starlette.types import ASGIApp, Receive, Scope, Send

from portal.access import ForbiddenError, NotFoundError, NotSignedInError, read_api_key
from portal.cookies import read_session_cookie
from portal.page import render_refusal
from workflow.lock_out import LockedOutError
from workflow.sign_in import Visitor

SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
#: Paths where guessing pays, whatever the method.
_GUESSABLE: Final = ("/login", "/invitation/", "/reset/")


class TooManyRequestsError(Exception):
    """429: come back after ``retry_after_seconds``."""

    def __init__(self, retry_after_seconds: int) -> None:
        super().__init__(f"retry after {retry_after_seconds} s")
        self.retry_after_seconds = retry_after_seconds


class RequestLimits:
    """How many changes an address and an account may ask for in a minute, in this process.

    Programs' reads are counted too, and apart: nobody's patience slows them down. Lock-outs after
    failed sign-ins are kept in the database instead (``workflow.lock_out``).
    """

    def __init__(self, changes_per_minute: int, sign_ins_per_minute: int, reads_per_minute: int) -> None:
        self._limiter = MovingWindowRateLimiter(MemoryStorage())
        self._changes = RateLimitItemPerMinute(changes_per_minute)
        self._sign_ins = RateLimitItemPerMinute(sign_ins_per_minute)
        self._reads = RateLimitItemPerMinute(reads_per_minute)

    def check_address(self, request: Request) -> None:
        """Raise :class:`TooManyRequestsError` when the request's address asks too much."""
        address = request.client.host if request.client else "unknown"
        if request.url.path.startswith(_GUESSABLE) and request.method not in SAFE_METHODS:
            self._hit(self._sign_ins, "sign-in", address)
        elif request.method not in SAFE_METHODS:
            self._hit(self._changes, "address", address)
        elif read_api_key(request) is not None:
            self._hit(self._reads, "address", address)

    def check_account(self, request: Request, visitor: Visitor) -> None:
        """Raise :class:`TooManyRequestsError` when the account or key asks too much, from wherever."""
        if request.method not in SAFE_METHODS:
            self._hit(self._changes, "account", str(visitor.account_id))
        elif visitor.by_key:
            self._hit(self._reads, "key", str(visitor.account_id))

    def _hit(self, limit: RateLimitItemPerMinute, kind: str, who: str) -> None:
        if not self._limiter.hit(limit, kind, who):
            reset_time = self._limiter.get_window_stats(limit, kind, who).reset_time
            raise TooManyRequestsError(max(1, int(reset_time - time.time()) + 1))


def is_own_change(request: Request) -> bool:
    """Whether a change was asked for by a page of this very site.

    Browsers say so in Sec-Fetch-Site; older ones send at least Origin. A request with neither, and
    without a session that would count, may come from a program that shows a key in Authorization, which
    no foreign page can make a browser send.
    """
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        return site == "same-origin"
    origin = request.headers.get("origin")
    if origin is not None:
        return urlsplit(origin).netloc.lower() == request.headers.get("host", "").lower() != ""
    if read_api_key(request) is not None:
        return True
    return "authorization" in request.headers and read_session_cookie(request) is None


class GuardChanges:
    """Refuses changes from other sites and from who asks too often, before anything else is done."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As ASGI has it."""
        refusal = _refuse(Request(scope)) if scope["type"] == "http" else None
        await (refusal or self._app)(scope, receive, send)


def _refuse(request: Request) -> Response | None:
    if request.method not in SAFE_METHODS and not is_own_change(request):
        return render_refusal(request, 403, "cross_site")
    try:
        request.app.state.portal.limits.check_address(request)
    except TooManyRequestsError as error:
        return _too_many(request, error.retry_after_seconds)
    return None


def install_security(app: FastAPI) -> None:
    """Add the guard and the answers to refusals. Add middleware that sets headers after this."""
    app.add_middleware(GuardChanges)

    @app.exception_handler(NotSignedInError)
    def _not_signed_in(request: Request, error: NotSignedInError) -> Response:
        return render_refusal(request, 401, error.missing or "not_signed_in")

    @app.exception_handler(ForbiddenError)
    def _forbidden(request: Request, error: ForbiddenError) -> Response:
        return render_refusal(request, 403, "forbidden")

    @app.exception_handler(NotFoundError)
    def _not_found(request: Request, error: NotFoundError) -> Response:
        return render_refusal(request, 404, "not_found")

    @app.exception_handler(TooManyRequestsError)
    @app.exception_handler(LockedOutError)
    def _locked(request: Request, error: TooManyRequestsError | LockedOutError) -> Response:
        return _too_many(request, error.retry_after_seconds)

    @app.exception_handler(404)
    def _no_route(request: Request, error: Exception) -> Response:
        return render_refusal(request, 404, "not_found")

    @app.exception_handler(405)
    def _no_method(request: Request, error: Exception) -> Response:
        answer = render_refusal(request, 405, "method_not_allowed")
        answer.headers.update(getattr(error, "headers", None) or {})
        return answer

    @app.exception_handler(RequestValidationError)
    def _invalid(request: Request, error: RequestValidationError) -> Response:
        if any(each["loc"][0] == "path" for each in error.errors()):
            return render_refusal(request, 404, "not_found")  # a malformed id names nothing
        return render_refusal(request, 422, "invalid")

    @app.exception_handler(OperationalError)
    def _database_away(request: Request, error: OperationalError) -> Response:
        return render_refusal(request, 503, "unavailable")


def _too_many(request: Request, retry_after_seconds: int) -> Response:
    answer = render_refusal(request, 429, "too_many", seconds=retry_after_seconds)
    answer.headers["Retry-After"] = str(retry_after_seconds)
    return answer
