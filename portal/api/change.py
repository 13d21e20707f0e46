"""Change: what every change through the API goes by.

``Idempotency-Key`` first (a repeat gets the first answer, whatever became of the object since), then
whether the object is there, then ``If-Match`` against what stands now, then the change itself.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from typing import Annotated, Any, Final

import orjson
from fastapi import Header, Request, Response
from fastapi.responses import JSONResponse

from portal.accounts.sign_in import now
from portal.api.problem import ProblemError
from workflow.idempotency import (
    KeyReusedError,
    StillUnderWayError,
    StoredAnswer,
    begin_request,
    give_up_request,
    keep_answer,
)
from workflow.sign_in import Visitor

_LONGEST_KEY: Final = 255
IdempotencyKey = Annotated[
    str | None, Header(description="Names this request; a repeat under it is answered alike")
]
IfMatch = Annotated[str | None, Header(description="The ETag of what is changed, as it was read")]
IfNoneMatch = Annotated[str | None, Header()]


def etag_of(content: Any) -> str:
    """The ETag of a representation: a digest of its canonical JSON."""
    canonical = orjson.dumps(content, option=orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS, default=str)
    return f'"{hashlib.sha256(canonical).hexdigest()[:32]}"'


def answer_tagged(content: Any, tag: str, if_none_match: str | None) -> Response:
    """A representation with its ETag, or 304 when the reader has it."""
    if if_none_match is not None and tag in [each.strip() for each in if_none_match.split(",")]:
        return Response(status_code=304, headers={"ETag": tag})
    return JSONResponse(orjson.loads(orjson.dumps(content, default=str)), headers={"ETag": tag})


def carry_out(
    request: Request,
    visitor: Visitor,
    content: Any,
    *,
    key: str | None,
    act: Callable[[], Any],
    find: Callable[[], str | None] = lambda: None,
    if_match: str | None = None,
    status: int = 200,
    told_once: tuple[str, ...] = (),
) -> Response:
    """Carry a change out once.

    ``told_once`` names the answer's secrets: they are not kept, and a repeat gets null for them.

    ``content`` is what was asked, in plain data; ``find`` gives the ETag of what stands now, or ``None``
    when there is nothing to match, and raises ``NotFoundError``; ``act`` makes the change and gives the
    answer, in plain data too.
    """
    engine, caller = request.app.state.portal.engine, visitor.account_id
    if key is not None:
        _check_key(key)
        # Not orjson: it refuses lone surrogates and whole numbers beyond 64 bits, which anybody may send.
        asked = json.dumps([request.method, request.url.path, content], sort_keys=True, default=str)
        digest = hashlib.sha256(asked.encode()).digest()
        try:
            stored = begin_request(engine, caller, key, digest, now())
        except KeyReusedError:
            raise ProblemError(
                422, "idempotency_key_reused", "This Idempotency-Key belongs to another request"
            ) from None
        except StillUnderWayError:
            raise ProblemError(
                409, "idempotency_key_in_use", "The first request with this Idempotency-Key is under way"
            ) from None
        if stored is not None:
            return JSONResponse(stored.body["answer"], stored.status)
    try:
        _check_match(find(), if_match)
        if key is None:
            raise ProblemError(400, "idempotency_key_missing", "A change needs an Idempotency-Key header")
        body = orjson.loads(orjson.dumps(act(), default=str))
    except BaseException:
        if key is not None:
            give_up_request(engine, caller, key)
        raise
    assert key is not None
    kept = body | dict.fromkeys(told_once) if told_once else body
    keep_answer(engine, caller, key, StoredAnswer(status, {"answer": kept}))
    return JSONResponse(body, status)


def _check_key(key: str) -> None:
    if not 0 < len(key) <= _LONGEST_KEY or not key.isprintable():
        raise ProblemError(400, "idempotency_key_invalid", "An Idempotency-Key has 1 to 255 characters")


def _check_match(standing: str | None, if_match: str | None) -> None:
    if standing is None:
        return
    if if_match is None:
        raise ProblemError(428, "if_match_missing", "A change must say with If-Match what it is a change of")
    if if_match.strip() != standing:
        raise ProblemError(412, "changed_meanwhile", "This is not as you read it any more; read it again")
