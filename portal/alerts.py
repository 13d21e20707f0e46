"""Budget alerts: what to act on, who owns it, and through which channels it reaches a person."""

from __future__ import annotations

import ipaddress
import uuid
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Form, Request, Response
from fastapi.responses import RedirectResponse
from sqlalchemy import select

from models.alert_tables import AlertChannel
from portal.access import GRANTS, NotFoundError, Permission, require
from portal.accounts.sign_in import now
from portal.page import page_language, render_page
from portal.unit import open_unit
from workflow.alert_channels import (
    add_service,
    add_webhook,
    list_dead,
    list_failing,
    send_again,
    switch_channel,
)
from workflow.alert_list import (
    LONGEST_NOTE,
    STATES,
    acknowledge,
    actionable_kinds,
    count_alerts,
    list_alerts,
    name_owners,
    resolve,
)
from workflow.alert_rules import KINDS, may_be_told
from workflow.alert_wishes import Wishes, WishRefusedError, parse_clock, read_wishes, save_wishes
from workflow.alert_words import act, path_of, say
from workflow.deliver_message import ServiceRefusedError
from workflow.deliver_webhook import DeliveryFailedError, Network, WebhookRefusedError
from workflow.sign_in import Visitor
from workflow.try_channel import try_channel

router = APIRouter()

Reader = Annotated[Visitor, require(Permission.READ_ALERTS)]
Manager = Annotated[Visitor, require(Permission.MANAGE_ALERTS, Permission.MANAGE_HOUSE_ALERTS)]
Note = Annotated[str, Form(max_length=LONGEST_NOTE)]
Optional = Annotated[str, Form(max_length=6)]


@router.get("/alerts")
def show_alerts(request: Request, visitor: Reader, state: str = "open") -> Response:
    """What stands open, newest first; ``state`` shows the acknowledged or the resolved ones."""
    state = state if state in STATES else "open"
    portal = request.app.state.portal
    with open_unit(portal.engine, visitor) as connection:
        alerts, counts = list_alerts(connection, visitor, state), count_alerts(connection, visitor)
    owners = name_owners(portal.engine, {alert.owner_id for alert in alerts if alert.owner_id})
    language = page_language(request)
    shown: list[dict[str, Any]] = []
    for alert in alerts:
        message = (alert.kind, alert.subject, alert.value, alert.facts)
        shown.append(
            {
                "alert": alert,
                "says": say(*message, language),
                "action": act(*message, language),
                "path": path_of(alert.kind, alert.subject, alert.facts, visitor.role),
                "owner": owners.get(alert.owner_id),
            }
        )
    may_manage = bool(GRANTS[visitor.role] & {Permission.MANAGE_ALERTS, Permission.MANAGE_HOUSE_ALERTS})
    return render_page(
        request,
        "alerts/list.html",
        visitor=visitor,
        shown=shown,
        counts=counts,
        state=state,
        may_manage=may_manage,
        actionable=actionable_kinds(visitor),
        longest=LONGEST_NOTE,
    )


@router.get("/alerts/badge")
def show_badge(request: Request, visitor: Reader) -> Response:
    """The number beside the menu's entry, asked for again when an alert has changed."""
    return render_page(request, "alerts/_badge.html", visitor=visitor)


@router.post("/alerts/{alert_id}/acknowledge")
def post_acknowledge(request: Request, visitor: Manager, alert_id: uuid.UUID, note: Note = "") -> Response:
    """Take an alert on."""
    if not acknowledge(request.app.state.portal.engine, alert_id, visitor, note, now()):
        raise NotFoundError
    return RedirectResponse("/alerts", 303)


@router.post("/alerts/{alert_id}/resolve")
def post_resolve(request: Request, visitor: Manager, alert_id: uuid.UUID, note: Note = "") -> Response:
    """Close an alert by hand."""
    if not resolve(request.app.state.portal.engine, alert_id, visitor, note, now()):
        raise NotFoundError
    return RedirectResponse("/alerts", 303)


@router.get("/alerts/channels")
def show_channels(request: Request, visitor: Reader) -> Response:
    """One's own channels."""
    return _render_channels(request, visitor)


@router.post("/alerts/channels")
def post_channel(
    request: Request, visitor: Reader, address: Annotated[str, Form(max_length=1000)]
) -> Response:
    """Add a webhook (https) or a messaging service; a wrong or internal address is refused in words."""
    portal = request.app.state.portal
    if portal.vault is None:
        return _render_channels(request, visitor, 422, "no_key")
    try:
        if address.startswith(("https:", "http:")):
            networks = read_networks(request)
            secret = add_webhook(portal.engine, portal.vault, visitor.account_id, address, networks)
            return _render_channels(request, visitor, secret=secret)
        add_service(portal.engine, portal.vault, visitor.account_id, address)
    except WebhookRefusedError as error:
        return _render_channels(request, visitor, 422, error.problem)
    except ServiceRefusedError:
        return _render_channels(request, visitor, 422, "service_unknown")
    return RedirectResponse("/alerts/channels", 303)


@router.post("/alerts/channels/{channel_id}/on")
def post_on(request: Request, visitor: Reader, channel_id: uuid.UUID) -> Response:
    """Switch one's own channel on."""
    return _switch(request, visitor, channel_id, True)


@router.post("/alerts/channels/{channel_id}/off")
def post_off(request: Request, visitor: Reader, channel_id: uuid.UUID) -> Response:
    """Switch one's own channel off; what waits for it stays."""
    return _switch(request, visitor, channel_id, False)


@router.post("/alerts/channels/{channel_id}/again")
def post_again(request: Request, visitor: Reader, channel_id: uuid.UUID) -> Response:
    """Send the dead deliveries of one's own channel again."""
    answer = _switch(request, visitor, channel_id, True)
    send_again(request.app.state.portal.engine, channel_id, now())
    return answer


@router.post("/alerts/channels/{channel_id}/test")
def post_test(request: Request, visitor: Reader, channel_id: uuid.UUID) -> Response:
    """Send a test message through one's own channel, and say what came of it."""
    portal = request.app.state.portal
    if portal.vault is None:
        return _render_channels(request, visitor, 422, "no_key")
    try:
        networks = read_networks(request)
        try_channel(portal.engine, portal.vault, visitor.account_id, channel_id, now(), networks)
    except LookupError:
        raise NotFoundError from None
    except DeliveryFailedError as error:
        return _render_channels(request, visitor, tried=channel_id, failure=str(error))
    return _render_channels(request, visitor, tried=channel_id)


def read_networks(request: Request) -> list[Network]:
    """Internal networks that a webhook may reach here."""
    return [ipaddress.ip_network(each) for each in request.app.state.portal.settings.webhook_networks]


def _switch(request: Request, visitor: Visitor, channel_id: uuid.UUID, enabled: bool) -> Response:
    """Who looks after the house may do it to everybody's: a failing channel's alert leads here."""
    whose = None if Permission.MANAGE_HOUSE_ALERTS in GRANTS[visitor.role] else visitor.account_id
    if not switch_channel(request.app.state.portal.engine, whose, channel_id, enabled):
        raise NotFoundError
    return RedirectResponse("/alerts/channels", 303)


@router.post("/alerts/wishes")
def post_wishes(
    request: Request,
    visitor: Reader,
    language: Annotated[Literal["id", "en"], Form()],
    quiet_from: Optional = "",
    quiet_to: Optional = "",
    digest_at: Optional = "",
    kinds: Annotated[list[str], Form()] = [],  # noqa: B006 - FastAPI copies it
) -> Response:
    """One's own language, quiet hours, digest and kinds of alert."""
    try:
        times = (parse_clock(quiet_from), parse_clock(quiet_to), parse_clock(digest_at))
        wishes = Wishes(language, *times, frozenset(kinds))
        save_wishes(request.app.state.portal.engine, visitor.account_id, visitor.role, wishes)
    except WishRefusedError as error:
        return _render_channels(request, visitor, 422, error.problem)
    return RedirectResponse("/alerts/channels", 303)


def _render_channels(
    request: Request,
    visitor: Visitor,
    status_code: int = 200,
    problem: str = "",
    secret: str = "",
    tried: uuid.UUID | None = None,
    failure: str = "",
) -> Response:
    portal = request.app.state.portal
    with portal.engine.connect() as connection:
        channels = connection.execute(
            select(AlertChannel.__table__)
            .where(AlertChannel.account_id == visitor.account_id)
            .order_by(AlertChannel.created_at)
        ).all()
        dead = list_dead(connection, visitor.account_id)
        looks_after_house = Permission.MANAGE_HOUSE_ALERTS in GRANTS[visitor.role]
        failing = list_failing(connection) if looks_after_house else []
    return render_page(
        request,
        "alerts/channels.html",
        visitor=visitor,
        status_code=status_code,
        channels=channels,
        dead=[
            (row, say(row.kind, row.subject, row.value, row.facts, page_language(request))) for row in dead
        ],
        failing=failing,
        wishes=read_wishes(portal.engine, visitor.account_id, visitor.role),
        kinds=[name for name in KINDS if may_be_told(visitor.role, name)],
        has_mail=portal.settings.has_mail,
        problem=problem,
        secret=secret,
        tried=tried,
        failure=failure,
    )
