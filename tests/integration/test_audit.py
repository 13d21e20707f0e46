"""The audit finds what somebody changed behind the program's back, and names it."""

from __future__ import annotations

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError, IntegrityError

from tests.builders import apply_fund, pledge
from tests.integration.test_allocate import add_needs, allocate, engine
from workflow.audit import audit

__all__ = ["engine"]


@pytest.fixture
def books(engine: Engine) -> Engine:
    """Three workers proposed by one pledge of 500,000 rupiah."""
    add_needs(engine, 1, 2, 3)
    apply_fund(engine, pledge(amount_rupiah=500_000))
    allocate(engine)
    assert audit(engine) == []
    return engine


TAMPERINGS = {
    "a balance": (
        "UPDATE fund SET reserved_rupiah = reserved_rupiah + 7",
        ("balances_equal_journal", "csr-1", 7),
    ),
    "a line's amount": (
        "UPDATE proposal SET amount_rupiah = amount_rupiah - 100 WHERE id = (SELECT min(id) FROM proposal)",
        ("lines_equal_entries", "csr-1", -100),
    ),
    "a journal entry": (
        "ALTER TABLE journal_entry DISABLE TRIGGER USER;"
        " UPDATE journal_entry SET amount_rupiah = amount_rupiah + 5 WHERE kind = 'pledge'",
        ("balances_equal_journal", "csr-1", -5),
    ),
    "a line's state": (
        "UPDATE proposal SET state = 'approved', version = version + 1"
        " WHERE id = (SELECT min(id) FROM proposal)",
        ("buckets_equal_lines", "csr-1", 50_400),
    ),
    "a missing line": (
        "DELETE FROM proposal WHERE id = (SELECT min(id) FROM proposal)",
        ("lines_equal_entries", "csr-1", -50_400),
    ),
    "a cap": (
        "UPDATE fund SET head_count_cap = 2",
        ("rules_hold", "csr-1", 0),
    ),
    "a month paid for a line that nobody approved": (
        "INSERT INTO funded_month (worker_id, programme, month, proposal_id)"
        " SELECT worker_id, 1, start_month, min(p.id) FROM proposal p JOIN coverage_need n ON n.id = need_id"
        " WHERE n.id = 1 GROUP BY 1, 3",
        ("months_follow_lines", "csr-1", 0),
    ),
    "a need's state": (
        "UPDATE coverage_need SET state = 'waiting', version = version + 1 WHERE id = 1",
        ("states_agree", "need 1", 0),
    ),
    "promises beyond the pledge, once the CHECK is gone": (
        "ALTER TABLE fund DROP CONSTRAINT ck_fund_never_overdrawn;"
        " UPDATE fund SET expired_rupiah = pledged_rupiah",
        ("no_fund_overdrawn", "csr-1", 151_200),
    ),
}


@pytest.mark.parametrize("tampering", TAMPERINGS)
def test_tampering_is_named_with_the_fund_and_the_difference(books: Engine, tampering: str) -> None:
    statement, expected = TAMPERINGS[tampering]
    with books.begin() as connection:
        connection.execute(text(statement))
    assert expected in {
        (finding.check, finding.subject, finding.difference_rupiah) for finding in audit(books)
    }


def test_a_changed_journal_entry_breaks_the_hash_chain(books: Engine) -> None:
    with books.begin() as connection:
        connection.execute(
            text(
                "ALTER TABLE journal_entry DISABLE TRIGGER USER;"
                " UPDATE journal_entry SET recorded_at = recorded_at + interval '1 day' WHERE number = 2;"
                " ALTER TABLE journal_entry ENABLE TRIGGER USER"
            )
        )
    assert [finding.check for finding in audit(books)] == ["chain_intact"]


def test_a_removed_journal_entry_breaks_the_hash_chain(books: Engine) -> None:
    with books.begin() as connection:
        connection.execute(
            text("ALTER TABLE journal_entry DISABLE TRIGGER USER; DELETE FROM journal_entry WHERE number = 1")
        )
    assert "chain_intact" in {finding.check for finding in audit(books)}


@pytest.mark.parametrize(
    "statement", ["UPDATE journal_entry SET amount_rupiah = 1", "DELETE FROM journal_entry"]
)
def test_the_journal_refuses_to_be_changed(books: Engine, statement: str) -> None:
    with pytest.raises(DBAPIError, match="append-only"), books.begin() as connection:
        connection.execute(text(statement))


REFUSED_BY_DATABASE = {
    "ck_fund_never_overdrawn": "UPDATE fund SET reserved_rupiah = pledged_rupiah + 1",
    "ck_fund_reserved_not_negative": "UPDATE fund SET reserved_rupiah = -1",
    "ck_fund_committed_not_negative": "UPDATE fund SET committed_rupiah = -1",
    "ck_fund_disbursed_not_negative": "UPDATE fund SET disbursed_rupiah = -1",
    "ck_fund_expired_not_negative": "UPDATE fund SET expired_rupiah = -1",
    "ck_fund_within_ceiling_and_release": (
        "UPDATE fund SET kind = 'apbd', fiscal_year = 2026, account_code = '5.1',"
        " ceiling_rupiah = pledged_rupiah, released_rupiah = pledged_rupiah - 1"
    ),
    "ck_fund_window_in_order": "UPDATE fund SET window_to = window_from - 31",
    "ck_proposal_amount_positive": "UPDATE proposal SET amount_rupiah = 0",
    "ck_proposal_months_1_to_12": "UPDATE proposal SET months = 13",
    "ck_proposal_closed_has_time": "UPDATE proposal SET state = 'superseded', version = version + 1",
    "no transition from proposed to enrolled": (
        "UPDATE proposal SET state = 'enrolled', version = version + 1"
    ),
    "version must grow": "UPDATE proposal SET state = 'approved'",
    "ck_coverage_need_months_1_to_12": "UPDATE coverage_need SET months = 0",
    "ck_coverage_need_priority_1_to_100": "UPDATE coverage_need SET priority = 101",
    "no transition from proposed to lost": "UPDATE coverage_need SET state = 'lost'",
    "uq_proposal_one_live_per_need": (
        "INSERT INTO proposal (need_id, fund_id, run_id, months, amount_rupiah)"
        " SELECT need_id, fund_id, run_id, months, amount_rupiah FROM proposal LIMIT 1"
    ),
}


@pytest.mark.parametrize("constraint", REFUSED_BY_DATABASE)
def test_the_database_refuses_by_name(books: Engine, constraint: str) -> None:
    with pytest.raises(IntegrityError, match=constraint), books.begin() as connection:
        connection.execute(text(REFUSED_BY_DATABASE[constraint]))
