"""The alerts' pages: rules and roles refused in words, links that lead somewhere, one's own number."""

from __future__ import annotations

import datetime as dt
import re
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Engine, insert, select, text

from models.alert_tables import Alert, AlertChannel, AlertDelivery
from models.tables import Fund
from tests.builders import apply_fund, pledge
from tests.integration.portal.site import Browser, add_person, now, sign_in_wholly, words
from workflow.alert_rules import HOUSE, KINDS, SAID_KINDS, may_be_told, read_rules
from workflow.alert_words import act, path_of, say

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
