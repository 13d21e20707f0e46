"""The API's part for administrators: dead letters, keys, policies, health; and the records for auditors."""

from __future__ import annotations

import uuid
from dataclasses import asdict
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from optimizer.policy import PolicyError
from portal.access import NotFoundError, Permission, require
from portal.accounts.sign_in import now
from portal.administration.dead_letters import LARGEST_ID, DeadLetterId
from portal.api import shapes
from portal.api.change import IdempotencyKey, IfMatch, IfNoneMatch, answer_tagged, carry_out, etag_of
from portal.api.collection import Asked, Page, read_asked, read_page
from portal.api.problem import ProblemError
from workflow.api_key import KeyUnknownError, find_key, list_keys, revoke_key
from workflow.policy_versions import (
    Choice,
    PolicyChangedError,
    PolicyUnknownError,
    SavedPolicy,
    choose_policy,
    list_choices,
    list_policies,
    list_versions,
    save_policy,
)
from workflow.read_health import read_health
from workflow.replay import replay_for
from workflow.sign_in import Visitor

router = APIRouter(prefix="/api/v1")

Replayer = Annotated[Visitor, require(Permission.REPLAY_DEAD_LETTERS)]
KeyManager = Annotated[Visitor, require(Permission.MANAGE_API_KEYS)]
PolicyManager = Annotated[Visitor, require(Permission.MANAGE_POLICIES)]
Auditor = Annotated[Visitor, require(Permission.READ_AUDIT)]
AskedPage = Annotated[Asked, Depends(read_asked)]
PolicyName = Annotated[str, Path(pattern=r"^[a-z0-9][a-z0-9-]{0,49}$")]
RegencyCode = Annotated[str, Path(pattern=r"^\d{2}\.\d{2}$")]

_LETTERS: Final = """
    SELECT id, topic, reason, detail, attempt, received_at, replayed_at FROM dead_letter
    WHERE (CAST(:reason AS text) IS NULL OR reason = CAST(:reason AS text))
      AND (CAST(:number AS int8) IS NULL OR id = CAST(:number AS int8))
"""
# A record has no regency of its own: it is told by who acted, or by what was acted on.
_RECORDS: Final = """
    SELECT number, actor, action, subject, detail, recorded_at, encode(hash, 'hex') AS hash FROM audit_record
    WHERE CAST(:regency AS text) IS NULL OR subject = :regency OR detail->>'regency' = :regency
       OR actor IN (SELECT email FROM account WHERE regency_code = :regency)
       OR detail->>'fund' IN (SELECT code FROM fund WHERE regency_code = :regency)
       OR subject IN (SELECT code FROM fund WHERE regency_code = :regency)
"""


class ReplayRequest(BaseModel):
    """Which dead letters to send again: these, or all that wait with this reason."""

    model_config = ConfigDict(extra="forbid")

    ids: list[Annotated[int, Field(ge=1, le=LARGEST_ID)]] | None = Field(default=None, max_length=1000)
    reason: Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[a-z_]+$")] | None = None


class ChoiceRequest(BaseModel):
    """The version to follow; ``default`` 0 is the policy that is shipped."""

    model_config = ConfigDict(extra="forbid")

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,49}$")]
    version: Annotated[int, Field(ge=0, le=1_000_000)]


class PolicyRequest(BaseModel):
    """A policy's aims, as in a policy file, without its name."""

    model_config = ConfigDict(extra="forbid")

    coverage_counts: str = "workers"
    tiers: Annotated[list[str | dict[str, Any]], Field(min_length=1, max_length=20)]


@router.get("/audit-records", response_model=Page[shapes.Record])
def list_records(request: Request, visitor: Auditor, asked: AskedPage) -> dict[str, Any]:
    """Who did what when, oldest first; for a regency's people what concerns the regency."""
    return _page(request, _RECORDS, {"number": "int8"}, asked, regency=visitor.regency)


@router.get("/dead-letters", response_model=Page[shapes.DeadLetter])
def list_letters(
    request: Request,
    visitor: Replayer,
    asked: AskedPage,
    reason: Annotated[str | None, Query(pattern=r"^[a-z_]{1,100}$")] = None,
) -> dict[str, Any]:
    """Dead letters, newest first; their contents stay sealed."""
    return _page(request, _LETTERS, {"id": "int8"}, asked, descending=True, reason=reason, number=None)


@router.get("/dead-letters/{number}", response_model=shapes.DeadLetter)
def show_letter(
    request: Request, visitor: Replayer, number: DeadLetterId, if_none_match: IfNoneMatch = None
) -> Response:
    """One dead letter; its ETag is what a replay names."""
    letter = _find_letter(request, number)
    return answer_tagged(letter, etag_of(letter), if_none_match)


@router.post("/dead-letters/{number}/replay", response_model=shapes.ReplayAnswer)
def post_replay_one(
    request: Request,
    visitor: Replayer,
    number: DeadLetterId,
    if_match: IfMatch = None,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Send one dead letter again."""
    return carry_out(
        request,
        visitor,
        None,
        key=idempotency_key,
        find=lambda: etag_of(_find_letter(request, number)),
        if_match=if_match,
        act=lambda: _replay(request, visitor, [number], None),
    )


@router.post("/dead-letters/replay", response_model=shapes.ReplayAnswer)
def post_replay(
    request: Request, visitor: Replayer, asked: ReplayRequest, idempotency_key: IdempotencyKey = None
) -> Response:
    """Send several dead letters again."""

    def act() -> dict[str, Any]:
        if asked.ids is None and asked.reason is None:
            raise ProblemError(422, "nothing_chosen", "Name dead letters or a reason")
        return _replay(request, visitor, asked.ids, asked.reason)

    return carry_out(request, visitor, asked.model_dump(), key=idempotency_key, act=act)


@router.get("/keys", response_model=Page[shapes.Key])
def show_keys(request: Request, visitor: KeyManager) -> dict[str, Any]:
    """Every API key, without its secret; keys are made on their page, where the secret is shown once."""
    keys = list_keys(request.app.state.portal.engine, now())
    return {"items": [asdict(key) for key in keys], "next": None}


@router.get("/keys/{key_id}", response_model=shapes.Key)
def show_key(
    request: Request, visitor: KeyManager, key_id: uuid.UUID, if_none_match: IfNoneMatch = None
) -> Response:
    """One API key; its ETag is what revoking names."""
    key = _find_key(request, key_id)
    return answer_tagged(key, _key_tag(key), if_none_match)


@router.delete("/keys/{key_id}", response_model=shapes.Key)
def delete_key(
    request: Request,
    visitor: KeyManager,
    key_id: uuid.UUID,
    if_match: IfMatch = None,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Revoke a key: its program is shut out from the next request on."""

    def act() -> dict[str, Any]:
        try:
            revoke_key(request.app.state.portal.engine, visitor.email, key_id, now())
        except KeyUnknownError:
            raise ProblemError(409, "revoked_already", "This key was revoked already") from None
        return _find_key(request, key_id)

    return carry_out(
        request,
        visitor,
        None,
        key=idempotency_key,
        find=lambda: _key_tag(_find_key(request, key_id)),
        if_match=if_match,
        act=act,
    )


@router.get("/policies", response_model=Page[shapes.SavedPolicy])
def show_policies(request: Request, visitor: PolicyManager) -> dict[str, Any]:
    """The newest version of each policy."""
    return {
        "items": [_policy(saved) for saved in list_policies(request.app.state.portal.engine)],
        "next": None,
    }


@router.get("/policies/{name}", response_model=shapes.SavedPolicy)
def show_policy(
    request: Request, visitor: PolicyManager, name: PolicyName, if_none_match: IfNoneMatch = None
) -> Response:
    """A policy's newest version; its ETag is what a new version names."""
    saved = _policy(_find_policy(request, name))
    return answer_tagged(saved, etag_of(saved), if_none_match)


@router.put("/policies/{name}", response_model=shapes.SavedPolicy)
def put_policy(
    request: Request,
    visitor: PolicyManager,
    name: PolicyName,
    asked: PolicyRequest,
    if_match: IfMatch = None,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Save the next version of a policy. A policy that is new needs no If-Match."""
    engine, seen = request.app.state.portal.engine, list_versions(request.app.state.portal.engine, name)

    def act() -> dict[str, Any]:
        mapping = asked.model_dump() | {"name": name}
        try:
            made_from = seen[0].version if seen else 0
            return _policy(save_policy(engine, visitor.email, mapping, now(), made_from=made_from))
        except PolicyError as error:
            raise ProblemError(422, "policy_invalid", "This policy cannot be followed", str(error)) from None
        except PolicyChangedError:
            raise ProblemError(412, "changed_meanwhile", "Somebody saved a newer version") from None

    return carry_out(
        request,
        visitor,
        asked.model_dump(),
        key=idempotency_key,
        find=lambda: etag_of(_policy(seen[0])) if seen else None,
        if_match=if_match,
        act=act,
    )


@router.get("/regencies/{regency}/policy", response_model=shapes.ChosenPolicy)
def show_choice(
    request: Request, visitor: PolicyManager, regency: RegencyCode, if_none_match: IfNoneMatch = None
) -> Response:
    """The policy in force in a regency."""
    choice = _choice(_find_choice(request, regency))
    return answer_tagged(choice, etag_of(choice), if_none_match)


@router.put("/regencies/{regency}/policy", response_model=shapes.ChosenPolicy)
def put_choice(
    request: Request,
    visitor: PolicyManager,
    regency: RegencyCode,
    asked: ChoiceRequest,
    if_match: IfMatch = None,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Let the regency's next runs follow a policy version."""
    engine = request.app.state.portal.engine

    def act() -> dict[str, Any]:
        try:
            return _choice(choose_policy(engine, visitor.email, regency, asked.name, asked.version, now()))
        except PolicyUnknownError as error:
            raise ProblemError(422, "policy_unknown", "There is no such policy version", str(error)) from None

    return carry_out(
        request,
        visitor,
        asked.model_dump(),
        key=idempotency_key,
        find=lambda: etag_of(_choice(_find_choice(request, regency))),
        if_match=if_match,
        act=act,
    )


@router.get("/health", response_model=shapes.Health)
def show_health(
    request: Request, visitor: Annotated[Visitor, require(Permission.READ_HEALTH)]
) -> dict[str, Any]:
    """What runs, what waits and what stands still."""
    health = read_health(request.app.state.portal.engine)
    return {
        "well": health.well,
        "workers_connected": health.worker is not None,
        "leaders": health.leaders,
        "intake_waiting": health.intake_waiting,
        "intake_in_flight": health.intake_in_flight,
        "dead_letters": health.dead_letters,
        "halted": [regency.code for regency in health.regencies if regency.halted_reason],
        "paused": [pause.cause.topic for pause in health.pauses],
    }


def _page(
    request: Request,
    sql: str,
    keys: dict[str, str],
    asked: Asked,
    *,
    descending: bool = False,
    **parameters: Any,
) -> dict[str, Any]:
    with request.app.state.portal.engine.connect() as connection:
        rows, following = read_page(connection, sql, keys, asked, descending=descending, **parameters)
    return {"items": [dict(row) for row in rows], "next": following}


def _find_letter(request: Request, number: int) -> dict[str, Any]:
    found = _page(request, _LETTERS, {"id": "int8"}, Asked(None, 1), reason=None, number=number)["items"]
    if not found:
        raise NotFoundError
    letter: dict[str, Any] = found[0]
    return letter


def _replay(request: Request, visitor: Visitor, ids: list[int] | None, reason: str | None) -> dict[str, Any]:
    portal = request.app.state.portal
    if portal.vault is None:
        raise ProblemError(503, "no_keys", "This portal was started without the house's keys")
    outcome = replay_for(portal.engine, portal.vault, visitor.email, now(), ids, reason=reason)
    skipped = {str(number): why for number, why in outcome.skipped.items()}
    return {"replayed": list(outcome.replayed), "skipped": skipped}


def _find_key(request: Request, key_id: uuid.UUID) -> dict[str, Any]:
    key = find_key(request.app.state.portal.engine, key_id, now())
    if key is None:
        raise NotFoundError
    shown = asdict(key)
    del shown["created_by"]
    return shown


def _key_tag(key: dict[str, Any]) -> str:
    """When it was last used makes no other key of it."""
    return etag_of({name: value for name, value in key.items() if name != "used_at"})


def _find_policy(request: Request, name: str) -> SavedPolicy:
    versions = list_versions(request.app.state.portal.engine, name)
    if not versions:
        raise NotFoundError
    return versions[0]


def _policy(saved: SavedPolicy) -> dict[str, Any]:
    mapping = saved.policy.to_mapping()
    return {"name": saved.name, "version": saved.version, "policy": mapping, "saved_at": saved.saved_at}


def _find_choice(request: Request, regency: str) -> Choice:
    for choice in list_choices(request.app.state.portal.engine):
        if choice.regency == regency:
            return choice
    raise NotFoundError


def _choice(choice: Choice) -> dict[str, Any]:
    return {"regency": choice.regency, "name": choice.name, "version": choice.version}
