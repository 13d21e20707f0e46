"""The alerts' pages: rules and roles refused in words, links that lead somewhere, one's own number."""

from __future__ import annotations

import datetime as dt
import json
import re
import time
import uuid
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import Engine, insert, select, text

from models.alert_tables import Alert, AlertChannel, AlertDelivery
from models.tables import Fund
from portal.unit import open_unit
from tests.builders import apply_fund, pledge
from tests.integration.portal.site import Browser, add_person, now, sign_in_wholly, words
from tests.integration.portal.test_row_security import visitor
from tests.integration.test_alert_life import Receiver, check_seal, receiver
from tests.integration.test_allocate import add_needs, allocate
from tests.integration.test_review import request
from workflow.alert_rules import HOUSE, KINDS, SAID_KINDS, may_be_told, read_rules
from workflow.alert_words import act, path_of, say
from workflow.review import Batch, decide

__all__ = ["receiver"]

#: Facts as the readings give them; a kind that is not here has none.
FACTS: dict[str, dict[str, Any]] = {
    "fund_reserved": {
        "available_rupiah": 1,
        "raise_rupiah": 5_040_000,
        "more_workers": 100,
        "until": "2027-12-31",
    },
    "fund_committed": {"available_rupiah": 1},
    "fund_exhaustion": {
        "likely": "2026-12-20",
        "early": "2026-12-10",
        "late": "2026-12-30",
        "ends_on": "2027-12-31",
        "missing_rupiah": 5_040_000,
        "more_workers": 100,
    },
    "fund_lapse": {
        "left_rupiah": 1_000_000,
        "ends_on": "2027-12-31",
        "waiting": 5,
        "stopped": 7,
        "rule": "occupation_accepted",
        "could_carry": 19,
    },
    "pledge_unpaid": {"unpaid_rupiah": 1_000_000},
    "pledge_reduced": {"reduced_rupiah": 1_000_000},
    "coverage_falling": {"points": 4.0, "now_share": 5_000, "days": 30},
    "coverage_lapsing": {"lapsing": 12, "covered": 40, "days": 45},
    "waiting_long": {
        "days": 60,
        "raise_rupiah": 1_512_000,
        "more_workers": 30,
        "until": "2026-12-31",
    },
    "enrolment_refused": {"answered": 40, "refused": 8, "days": 30},
    "dead_letters": {"refused": 30, "received": 100, "days": 1},
    "channel_failing": {"label": "webhook contoh.example"},
}
for said_kind in SAID_KINDS:
    FACTS[said_kind] = {"message_id": "Contoh.", "message_en": "Example."}
SUBJECTS = {
    "fund": "csr-1",
    "district": "64.02.05",
    "regency": "64.02",
    "topic": "coverage.worker-uncovered.v1",
    "books": "csr-1",
    "channel": str(uuid.uuid4()),
}


@pytest.fixture(scope="module")
def people(engine: Engine, url: str) -> dict[str, Browser]:
    apply_fund(engine, pledge(amount_rupiah=1_000_000))
    browsers = {}
    for number, role in enumerate(("officer", "auditor", "administrator")):
        person = add_person(engine, f"{role}@halaman.example", role)  # type: ignore[arg-type]  # one of the roles
        browsers[role] = Browser(url, f"10.9.0.{number + 1}")
        sign_in_wholly(browsers[role], engine, f"{role}@halaman.example", person)
    return browsers


def open_alert(engine: Engine, kind: str, subject: str = "csr-1", scope: str = "") -> uuid.UUID:
    scope, alert_id = scope or (HOUSE if KINDS[kind].house else "64.02"), uuid.uuid4()
    with engine.begin() as connection:
        rule = next(rule for rule in read_rules(connection, scope) if rule.kind == kind)
        connection.execute(
            insert(Alert).values(
                id=alert_id,
                rule_id=rule.id,
                scope=scope,
                kind=kind,
                subject=subject,
                period=str(alert_id),
                severity="warning",
                value=9_000,
                fire=1,
                facts=FACTS.get(kind, {}),
                opened_at=now(),
            )
        )
    return alert_id


@pytest.mark.parametrize("kind", sorted(set(KINDS) - {"large_decision"}))
def test_every_alert_says_what_to_do_and_links_to_a_page_that_whoever_is_told_may_open(
    people: dict[str, Browser], kind: str
) -> None:
    subject = SUBJECTS[KINDS[kind].subject]
    facts = FACTS.get(kind, {})
    for language in ("id", "en"):
        assert "{" not in say(kind, subject, 9_000, facts, language)
        action = act(kind, subject, 9_000, facts, language)
        assert (len(action) > 15 or "message_id" in facts) and "–" not in action and "{" not in action
    for role, browser in people.items():
        if not may_be_told(role, kind):
            continue
        answer = browser.get(path_of(kind, subject, facts, role))
        assert answer.status_code == 200, (role, path_of(kind, subject, facts, role))


def test_a_sum_that_would_help_is_said_and_filled_in(people: dict[str, Browser]) -> None:
    for kind in ("fund_reserved", "fund_exhaustion"):
        said = act(kind, "csr-1", 9_000, FACTS[kind], "en")
        assert "Rp 5,040,000" in said and "100 more workers" in said and "31 Dec 2027" in said
        page = people["officer"].get(path_of(kind, "csr-1", FACTS[kind])).text
        assert re.search(r'name="more_millions"[^>]* value="6"', page)
    page = people["officer"].get(path_of("fund_lapse", "csr-1", FACTS["fund_lapse"])).text
    assert 'name="every_occupation" value="1" checked' in page
    assert "30 workers until 31 Dec 2026" in act("waiting_long", "64.02.05", 30, FACTS["waiting_long"], "en")
    page = words(people["officer"].get("/unfunded?district=64.02.05&lang=en").text)
    assert "Workers waiting here" in page
    assert people["officer"].get("/unfunded?district=%22%3E").status_code == 200


@pytest.mark.parametrize(
    ("changes", "english"),
    [
        ({"fire": "130"}, "No reading can ever reach this threshold"),
        ({"fire": "0"}, "The smallest threshold is 1"),
        ({"clear": "95"}, "the alert could never close"),
        ({"fire": "banyak"}, "This must be a percentage"),
        ({"fire": "75.123"}, "This must be a percentage"),
        ({"severity": "dire"}, "There is no such severity"),
        ({"days": "30"}, "The days do not fit this rule"),
        ({"escalate_after_hours": "1000"}, "Tell again after 1 to 720 hours"),
        ({"escalate_after_hours": "-1"}, "This must be a whole number"),
        ({"treshold": "80"}, "There is no such field in a rule. Field: treshold"),
    ],
)
def test_a_rule_that_cannot_be_is_refused_in_words_and_what_was_typed_stays(
    people: dict[str, Browser], engine: Engine, changes: dict[str, str], english: str
) -> None:
    form = {"fire": "90", "clear": "85", "severity": "info", "enabled": "true"} | changes
    for path in ("/alerts/rules/fund_reserved_90", "/alerts/rules"):
        sent = form if path.endswith("90") else form | {"kind": "fund_reserved"}
        answer = people["officer"].post(f"{path}?lang=en", sent)
        assert answer.status_code == 422 and english in words(answer.text)
        assert f'value="{form["fire"]}"' in answer.text
        assert f'value="{form["clear"]}"' in answer.text
    with engine.begin() as connection:
        [rule] = [rule for rule in read_rules(connection, "64.02") if rule.name == "fund_reserved_90"]
    assert (rule.fire, rule.clear) == (9_000, 8_500)


def test_thresholds_are_edited_and_added_by_who_may(people: dict[str, Browser], engine: Engine) -> None:
    officer, administrator = people["officer"], people["administrator"]
    rule = {"fire": "42,5 %", "clear": "40", "severity": "info", "enabled": "true"}
    assert officer.post("/alerts/rules", rule | {"kind": "fund_reserved"}).status_code == 303
    again = officer.post("/alerts/rules?lang=en", rule | {"kind": "fund_reserved"})
    assert "There is a rule with this threshold already" in words(again.text)
    large = {"fire": "500.000.000", "clear": "500.000.000", "severity": "info", "enabled": "true"}
    assert officer.post("/alerts/rules/large_decision", large).status_code == 303
    off = {"fire": "5", "clear": "2", "severity": "critical", "days": "1"}
    assert administrator.post("/alerts/rules/dead_letters", off).status_code == 303
    assert administrator.post("/alerts/rules", rule | {"kind": "fund_reserved"}).status_code == 422
    with engine.begin() as connection:
        rules = {rule.name: rule for scope in ("64.02", HOUSE) for rule in read_rules(connection, scope)}
        said = connection.scalars(text("SELECT action FROM audit_record")).all()
    assert (rules["fund_reserved_at_4250"].fire, rules["fund_reserved_at_4250"].clear) == (4_250, 4_000)
    assert rules["large_decision"].fire == 500_000_000
    assert not rules["dead_letters"].enabled
    assert {"add_alert_rule", "change_alert_rule"} <= set(said)


def test_roles_are_told_what_was_chosen_and_nothing_that_is_not_theirs(
    people: dict[str, Browser], engine: Engine
) -> None:
    administrator = people["administrator"]
    before = badge(people["auditor"])
    open_alert(engine, "enrolment_refused")
    assert badge(people["auditor"]) == before, "shipped: not the auditor's"
    chosen = {kind: "email" for kind, of in KINDS.items() if "auditor" in of.roles}
    answer = administrator.post("/alerts/roles/auditor", chosen | {"enrolment_refused": "webhook"})
    assert answer.status_code == 303
    assert badge(people["auditor"]) == before + 1
    for form, english in (
        ({"no_such_kind": "email"}, "Field: no_such_kind"),
        ({"fund_lapse": "pigeon"}, "There is no such channel. Field: fund_lapse"),
        ({"dead_letters": "email"}, "This role cannot be told of such a kind of alert. Field: dead_letters"),
    ):
        refused = administrator.post("/alerts/roles/auditor?lang=en", form)
        assert refused.status_code == 422 and english in words(refused.text)


def badge(browser: Browser) -> int:
    page = browser.get("/alerts/badge?lang=en").text
    return int(page.partition('data-count="')[2].partition('"')[0])


def test_the_number_in_the_menu_is_one_s_own_and_falls_when_an_alert_is_taken_on(
    people: dict[str, Browser], engine: Engine
) -> None:
    officer, administrator = people["officer"], people["administrator"]
    before = badge(officer), badge(administrator)
    alert, of_house = open_alert(engine, "fund_committed"), open_alert(engine, "dead_letters")
    assert (badge(officer), badge(administrator)) == (before[0] + 1, before[1] + 1)
    assert f"{before[0] + 1} open alerts" in words(officer.get("/funds?lang=en").text) or before[0] == 0
    assert officer.post(f"/alerts/{of_house}/acknowledge").status_code == 404
    assert administrator.post(f"/alerts/{alert}/acknowledge").status_code == 404
    assert officer.post(f"/alerts/{alert}/acknowledge", {"note": "Ditelepon"}).status_code == 303
    assert administrator.post(f"/alerts/{of_house}/resolve").status_code == 303
    assert (badge(officer), badge(administrator)) == before
    form = {"language": "id", "kinds": "fund_lapse"}
    open_alert(engine, "fund_committed")
    assert badge(officer) == before[0] + 1
    assert officer.post("/alerts/wishes", form).status_code == 303
    with engine.begin() as connection:
        assert badge(officer) == connection.scalar(
            text("SELECT count(*) FROM alert WHERE state = 'open' AND kind = 'fund_lapse'")
        )


def test_what_was_given_up_is_listed_with_its_reason_and_sent_again(
    people: dict[str, Browser], engine: Engine, new_browser: Callable[[], Browser]
) -> None:
    alert, channel = open_alert(engine, "fund_committed"), uuid.uuid4()
    with engine.begin() as connection:
        owner = connection.scalar(text("SELECT id FROM account WHERE email = 'officer@halaman.example'"))
        values = {"id": channel, "account_id": owner, "kind": "service", "label": "tgram"}
        values |= {"address_sealed": b"x", "failures": 6, "last_error": "the receiver answered 500"}
        connection.execute(insert(AlertChannel).values(**values))
        delivery = {"id": uuid.uuid4(), "alert_id": alert, "channel_id": channel, "occasion": "raised"}
        times = {"due_at": now(), "dead_at": now(), "attempts": 6}
        connection.execute(
            insert(AlertDelivery).values(**delivery, **times, last_error="the receiver answered 500")
        )
    page = words(people["officer"].get("/alerts/channels?lang=en").text)
    assert "Given up after several attempts" in page and "the receiver answered 500" in page
    assert "E-mail Not set up" in page, "this house has no mail server"
    assert "Given up" not in words(people["auditor"].get("/alerts/channels?lang=en").text)
    assert people["auditor"].post(f"/alerts/channels/{channel}/again").status_code == 404
    house = words(people["administrator"].get("/alerts/channels?lang=en").text)
    assert "Channels of the house that fail" in house and "officer@halaman.example" in house
    assert people["administrator"].post(f"/alerts/channels/{channel}/again").status_code == 303
    with engine.connect() as connection:
        row = connection.execute(select(AlertDelivery).where(AlertDelivery.channel_id == channel)).one()
    assert row.dead_at is None and row.attempts == 0 and row.id == delivery["id"]
    assert row.due_at <= now() + dt.timedelta(seconds=1)
    with engine.connect() as connection:
        assert connection.scalar(select(Fund.code)) == "csr-1"


OVERRIDES = "/alerts/overrides/funds/csr-1"
OWN = {"rule": "fund_committed_90", "fire": "62,5", "clear": "60", "enabled": "true"}


@pytest.mark.parametrize(
    ("changes", "english", "indonesian"),
    [
        ({"fire": "130"}, "No reading can ever reach this threshold", "tidak akan pernah"),
        ({"clear": "63"}, "the alert could never close", "tidak akan pernah selesai"),
        ({"fire": "banyak"}, "This must be a percentage", "persentase"),
        ({"severity": "info"}, "There is no such field in a rule. Field: severity", "severity"),
        ({"fire": "75"}, "There is a rule with this threshold already", "sudah ada"),
    ],
)
def test_a_threshold_of_a_fund_s_own_that_cannot_be_is_refused_in_words(
    people: dict[str, Browser], changes: dict[str, str], english: str, indonesian: str
) -> None:
    form = OWN | {"clear": "60"} | changes
    for language, said in (("en", english), ("id", indonesian)):
        answer = people["officer"].post(f"{OVERRIDES}?lang={language}", form)
        assert answer.status_code == 422 and said.lower() in words(answer.text).lower(), words(answer.text)
        assert f'value="{form["fire"]}"' in answer.text, "what was typed stays"
    assert "Own threshold" not in words(people["officer"].get(f"{OVERRIDES}?lang=en").text)


def test_a_fund_s_own_threshold_is_seen_on_its_page_and_gone_when_removed(
    people: dict[str, Browser], engine: Engine
) -> None:
    officer = people["officer"]
    assert officer.get("/alerts/overrides?fund=csr-1").headers["location"] == OVERRIDES
    assert officer.post(OVERRIDES, OWN).status_code == 303
    held = "opens at 62.5 %, closes below 60 %"
    for reader in (officer, people["auditor"]):
        assert held in words(reader.get("/funds/csr-1?lang=en").text)
    assert "muncul pada 62.5 %" in words(officer.get("/funds/csr-1?lang=id").text)
    for who, seen in (
        (visitor("officer", regency="64.02"), 1),
        (visitor("officer", regency="64.03"), 0),
        (visitor("company_user", funder="0013000666091000"), 0),
    ):
        with open_unit(engine, who) as connection:
            assert connection.scalar(text("SELECT count(*) FROM alert_override")) == seen
    page = officer.get(f"{OVERRIDES}?lang=en").text
    assert 'value="62.5"' in page and "opens at 90 %, closes below 85 %" in words(page)
    assert OVERRIDES in officer.get("/alerts/rules").text, "the rules say where they do not hold"
    assert officer.post(f"{OVERRIDES}/remove", {"rule": "fund_committed_90"}).status_code == 303
    assert held not in words(officer.get("/funds/csr-1?lang=en").text)
    with engine.connect() as connection:
        done = connection.scalars(text("SELECT action FROM audit_record ORDER BY number DESC LIMIT 2")).all()
    assert done == ["remove_alert_override", "override_alert_rule"]


def test_a_district_s_own_threshold_is_named_by_the_district(people: dict[str, Browser]) -> None:
    officer, path = people["officer"], "/alerts/overrides/districts/64.02.06"
    own = {"rule": "waiting_long", "fire": "40", "clear": "20", "enabled": "true"}
    assert officer.post(path, own).status_code == 303
    assert "Thresholds of Tenggarong" in words(officer.get(f"{path}?lang=en").text)
    assert "Tenggarong (64.02.06)" in words(officer.get("/alerts/rules").text)
    assert officer.post(path, own | {"rule": "fund_lapse"}).status_code == 404, "that is of funds"
    assert officer.post(f"{path}/remove", {"rule": "waiting_long"}).status_code == 303


def test_a_large_decision_leads_to_the_page_of_that_decision(
    people: dict[str, Browser], engine: Engine
) -> None:
    add_needs(engine, 1)
    run_id = allocate(engine).run_id
    assert run_id is not None
    decision = decide(engine, request(engine, Batch(run_id, "csr-1", "64.02.05")), now()).decision_id
    facts = {"fund": "csr-1", "district": "64.02.05", "lines": 1, "district_name": "Muara Badak"}
    for role in ("officer", "auditor"):
        assert may_be_told(role, "large_decision")
        answer = people[role].get(path_of("large_decision", str(decision), facts, role) + "?lang=en")
        assert answer.status_code == 200 and "Muara Badak" in words(answer.text)
        assert str(decision) in answer.text or "csr-1" in answer.text
    assert "Muara Badak (64.02.05)" in say("large_decision", str(decision), 50_400, facts, "id")


def test_a_test_message_is_signed_and_its_result_said(
    people: dict[str, Browser],
    engine: Engine,
    app: FastAPI,
    receiver: Receiver,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    officer, state = people["officer"], app.state.portal
    settings = state.settings
    monkeypatch.setattr(state, "settings", replace(settings, webhook_networks=("127.0.0.0/8",)))
    secret = re.search(r"whsec_[\w+/=]+", officer.post("/alerts/channels", {"address": receiver.url}).text)
    assert secret is not None
    with engine.connect() as connection:
        channel = connection.scalar(
            select(AlertChannel.id)
            .where(AlertChannel.kind == "webhook")
            .order_by(AlertChannel.created_at.desc())
        )
    path = f"/alerts/channels/{channel}/test"
    receiver.answers = [200, 503, 302]
    arrived = words(officer.post(f"{path}?lang=id").text)
    assert "Pesan uji sudah sampai" in arrived
    [(headers, body)] = receiver.got
    check_seal(secret[0], headers, body)
    assert json.loads(body)["type"] == "alert.test" and "pesan uji" in json.loads(body)["message_id"]
    failed = words(officer.post(f"{path}?lang=en").text)
    assert "The test message did not arrive. The receiver answered 503" in failed
    assert "redirects are not followed" in words(officer.post(f"{path}?lang=en").text)
    assert people["auditor"].post(path).status_code == 404, "one's own channels alone"
    monkeypatch.setattr(state, "settings", settings)
    inside = words(officer.post(f"{path}?lang=en").text)
    assert "did not arrive" in inside and "internal network" in inside, (
        "the guard looks again at each message"
    )
    assert len(receiver.got) == 3
    with engine.connect() as connection:
        assert connection.scalar(select(AlertChannel.failures).where(AlertChannel.id == channel)) == 0
        assert connection.scalar(select(AlertDelivery.id).where(AlertDelivery.channel_id == channel)) is None


def next_event(browser: Browser, last: str, *, until_event: bool) -> tuple[str, str]:
    """The name of a stream's first event (none before the first mark) and the id that came with it."""
    headers = browser.headers() | ({"last-event-id": last} if last else {})
    name = found = ""
    with httpx.stream("GET", f"{browser.url}/live", headers=headers, timeout=20, trust_env=False) as answer:
        for line in answer.iter_lines():
            field, _, value = line.partition(": ")
            name, found = (value if field == "event" else name), (value if field == "id" else found)
            if not line and found and (name or not until_event):
                return name, found
    raise AssertionError("the stream ended")


def test_what_changes_between_two_streams_is_told_by_the_next(
    people: dict[str, Browser], engine: Engine
) -> None:
    officer = people["officer"]
    _, seen = next_event(officer, "", until_event=False)
    open_alert(engine, "fund_committed")
    time.sleep(0.5)  # the watch looks a few times a second
    name, now_seen = next_event(officer, seen, until_event=True)
    assert name == "alert" and now_seen != seen
    assert next_event(officer, "rubbish-00000000.alert-x", until_event=False)[1] == now_seen
