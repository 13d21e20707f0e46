"""Rows of the access matrix: alerts, their rules, one's own channels."""

from __future__ import annotations

import uuid
from typing import Final

from sqlalchemy import Engine, insert, select

from models.account_tables import Account
from models.alert_tables import Alert, AlertChannel
from tests.integration.portal.rows import Maker, Row, signed_in
from tests.integration.portal.site import now
from workflow.alert_rules import read_rules


def make_alert(engine: Engine, kind: str, visitor: str) -> str:
    """An open alert that the visitor may act on (of the regency, for an administrator of the house), or one
    that somebody else may."""
    of_house = (visitor == "administrator") != (kind == "foreign")
    scope, alert_id = "house" if of_house else "64.02", uuid.uuid4()
    with engine.begin() as connection:
        rule = read_rules(connection, scope)[0]
        values = {"rule_id": rule.id, "scope": scope, "kind": rule.kind, "subject": str(alert_id)}
        values |= {"period": "2026", "severity": "info", "value": 1, "fire": 1, "opened_at": now()}
        facts = {"message_id": "Contoh.", "message_en": "Example."}
        connection.execute(insert(Alert).values(id=alert_id, facts=facts, **values))
    return str(alert_id)


def make_channel(engine: Engine, kind: str, visitor: str) -> str:
    """A service channel of the visitor, or of another account."""
    channel_id = uuid.uuid4()
    email = "asing@matriks.example" if kind == "foreign" else f"{visitor}@matriks.example"
    with engine.begin() as connection:
        account = connection.scalar(select(Account.id).where(Account.email == email))
        account = account or connection.scalar(
            select(Account.id).where(Account.email == "asing@matriks.example")
        )
        connection.execute(
            insert(AlertChannel).values(
                id=channel_id, account_id=account, kind="service", label="tgram", address_sealed=b"x"
            )
        )
    return str(channel_id)


def name_rule(_engine: Engine, kind: str, visitor: str) -> str:
    """A rule that is shipped: a regency's for an officer, the house's for an administrator."""
    regency_rule = (visitor == "administrator") == (kind == "foreign")
    return "fund_lapse" if regency_rule else "dead_letters"


def make_place(engine: Engine, kind: str, visitor: str) -> str:
    """A district of the officer's regency, or of another one."""
    return "64.03.01" if kind == "foreign" else "64.02.06"


def name_role(_engine: Engine, kind: str, _visitor: str) -> str:
    """A role that alerts are for, or one that they are not for."""
    return "verifier" if kind == "foreign" else "officer"


_READERS: Final = ("officer", "auditor", "administrator")
_MANAGERS: Final = ("officer", "administrator")
_RULE: Final = {"fire": "20", "clear": "10", "severity": "warning", "days": "90"}

ROWS: Final[dict[tuple[str, str], Row]] = {
    ("GET", "/alerts"): Row(signed_in(200, *_READERS)),
    ("GET", "/alerts/badge"): Row(signed_in(200, *_READERS)),
    ("POST", "/alerts/{alert_id}/acknowledge"): Row(
        signed_in(303, *_MANAGERS), objects="alert", scoped=frozenset(_MANAGERS)
    ),
    ("POST", "/alerts/{alert_id}/resolve"): Row(
        signed_in(303, *_MANAGERS), objects="alert", scoped=frozenset(_MANAGERS)
    ),
    ("GET", "/alerts/rules"): Row(signed_in(200, *_MANAGERS)),
    ("POST", "/alerts/rules"): Row(signed_in(422, *_MANAGERS), {"kind": "no_such_kind"}),
    ("POST", "/alerts/rules/{name}"): Row(
        signed_in(303, *_MANAGERS), _RULE, objects="alert rule", scoped=frozenset(_MANAGERS)
    ),
    ("GET", "/alerts/overrides"): Row(signed_in(404, "officer")),
    **{
        (method, f"/alerts/overrides/{place}s/{{code}}{step}"): Row(
            signed_in(status, "officer"),
            {"rule": rule, "fire": "20", "clear": "10"},
            objects=objects,
            scoped=frozenset({"officer"}),
        )
        for place, rule, objects in (
            ("fund", "fund_lapse", "fund"),
            ("district", "waiting_long", "district"),
        )
        for method, step, status in (("GET", "", 200), ("POST", "", 303), ("POST", "/remove", 303))
    },
    ("GET", "/alerts/roles"): Row(signed_in(200, "administrator")),
    ("POST", "/alerts/roles/{role}"): Row(
        signed_in(303, "administrator"), {"fund_lapse": "email"}, objects="told role"
    ),
    ("GET", "/alerts/channels"): Row(signed_in(200, *_READERS)),
    ("POST", "/alerts/channels"): Row(signed_in(422, *_READERS), {"address": "https://127.0.0.1/"}),
    ("POST", "/alerts/wishes"): Row(
        signed_in(303, *_READERS), {"language": "en", "quiet_from": "21:00", "quiet_to": "06:00"}
    ),
    **{
        ("POST", f"/alerts/channels/{{channel_id}}/{change}"): Row(
            signed_in(303, *_READERS), objects="alert channel", scoped=frozenset({"officer", "auditor"})
        )
        for change in ("on", "off", "again")
    },
    # The channel's address was sealed with a key that is gone: said on the page, without a message.
    ("POST", "/alerts/channels/{channel_id}/test"): Row(
        signed_in(200, *_READERS), objects="alert channel", scoped=frozenset(_READERS)
    ),
}

MAKERS: Final[dict[str, Maker]] = {
    "alert": make_alert,
    "alert channel": make_channel,
    "alert rule": name_rule,
    "district": make_place,
    "told role": name_role,
}
