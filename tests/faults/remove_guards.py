"""Mutation proof: take every guard away once, and see a test turn red.

Each guard is one named replacement of text in a copy of the tree. A guard whose removal nobody
notices is a finding: it has no test, or does nothing.

    python -m tests.faults.remove_guards                 # all, and write the table into docs/RELIABILITY.md
    python -m tests.faults.remove_guards four_eyes ...   # only those whose name holds one of these words
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gotong.postgres import EmbeddedPostgres
from tests.stack.postgres import TEST_SETTINGS

ROOT: Final = Path(__file__).parents[2]
REPORT: Final = ROOT / "docs" / "RELIABILITY.md"
BEGIN, END = "<!-- guards: begin -->", "<!-- guards: end -->"

CROSSING: Final = "tests/integration/test_crossing_steps.py::"
REVIEW: Final = "tests/integration/test_review.py::"
ALLOCATE: Final = "tests/integration/test_allocate.py::"
LIFE: Final = "tests/integration/test_fund_life.py::"
ENROL: Final = "tests/integration/test_enrol.py::"
AUDIT: Final = "tests/integration/test_audit.py::"
RACES: Final = "tests/faults/test_races.py::"
REGISTER: Final = "tests/integration/test_register.py::"
ALERTS: Final = "tests/integration/test_alerts.py::"
ALERT_LIFE: Final = "tests/integration/test_alert_life.py::"
ALERT_PAGES: Final = "tests/integration/portal/test_alert_pages.py::"
MATRIX: Final = "tests/integration/portal/test_access_matrix.py::test_the_matrix"
LEADER: Final = "tests/integration/streams/test_leader.py::"
_NEXT_LINE: Final = "\n" + 12 * " "
JOURNAL: Final = "tests/unit/test_journal.py"
FIRST: Final = "models/migrations/versions/0001_first_tables.py"
SECOND: Final = "models/migrations/versions/0002_review_and_enrolment.py"


@dataclass(frozen=True, slots=True)
class Guard:
    """What is taken away: ``old`` becomes ``new`` in ``file``; ``tests`` must notice."""

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Outcome:
    """``red``: a test failed, as it should. Otherwise ``word`` says what happened instead."""

    guard: Guard
    word: str
    seconds: float


def _refused(name: str) -> str:
    return f"{AUDIT}test_the_database_refuses_by_name[{name}]"


def _named(name: str, condition: str, *, between: str = " ") -> Guard:
    """A CHECK of the first tables that the audit's test knows by name."""
    old = f'"{condition}",{between}name=op.f("{name}")'
    return Guard(f"CHECK {name}", FIRST, old, old.replace(condition, "true"), (_refused(name),))


def _off(name: str, file: str, condition: str, *tests: str) -> Guard:
    """``if condition:`` never holds any more."""
    return Guard(name, file, f"if {condition}:", f"if False and ({condition}):", tests)


def _unaudited(check: str, test: str) -> Guard:
    return Guard(f"audit: {check}", "workflow/audit.py", f"\n    {check},\n", "\n", (test,))


GUARDS: Final = (
    # --- money
    Guard(
        "funds locked FOR UPDATE",
        "workflow/move_money.py",
        ".order_by(Fund.id)\n        .with_for_update(key_share=True)",
        ".order_by(Fund.id)",
        (f"{RACES}test_reservations_of_the_last_rupiah[short]",),
    ),
    _off(
        "promises within the pledge", "models/journal.py", "sum(buckets[1:]) > self.pledged_rupiah", JOURNAL
    ),
    _off("no bucket below zero", "models/journal.py", "min(buckets) < 0", JOURNAL),
    _off("an entry moves a positive amount", "models/journal.py", "amount_rupiah <= 0", JOURNAL),
    Guard(
        "an entry seals its predecessor",
        "models/journal.py",
        "hashlib.sha256(previous_hash + body.encode())",
        "hashlib.sha256(body.encode())",
        (JOURNAL,),
    ),
    # --- a run
    _off(
        "generation fence",
        "workflow/propose.py",
        "home.generation != generation",
        f"{ALLOCATE}test_a_run_that_was_overtaken_writes_nothing",
    ),
    _off(
        "a halted regency gets no proposals",
        "workflow/propose.py",
        "home.halted_reason is not None",
        f"{CROSSING}test_a_regency_halted_during_the_solve_gets_no_proposals",
    ),
    Guard(
        "need's version in a run",
        "workflow/propose.py",
        " AND n.version = u.version",
        "",
        (f"{ALLOCATE}test_a_need_that_changed_during_the_solve_keeps_its_old_line",),
    ),
    _off(
        "fund's revision in a run",
        "workflow/propose.py",
        "fund.revision != seen[fund.id]",
        f"{CROSSING}test_a_fund_ruled_anew_during_the_solve_gets_no_line_it_does_not_accept",
    ),
    _off(
        "only open lines are moved by a run",
        "workflow/propose.py",
        "len(closed) != len(closing)",
        f"{CROSSING}test_a_line_signed_during_the_solve_is_not_moved",
    ),
    Guard(
        "caps counted again before proposing",
        "workflow/propose.py",
        "    _check_heads(connection, sorted(locked))\n",
        "",
        (f"{CROSSING}test_a_claim_during_the_solve_does_not_let_a_cap_be_exceeded",),
    ),
    Guard(
        "claimed batches stay out of a run",
        "workflow/snapshot.py",
        "p.state = 'proposed' AND c.run_id IS NULL)\n    ORDER",
        "p.state = 'proposed')\n    ORDER",
        (f"{REVIEW}test_a_claimed_batch_is_not_moved_by_runs_nor_decided_by_others",),
    ),
    Guard(
        "a claim moves the needs' versions on",
        "workflow/review.py",
        "UPDATE coverage_need n SET version = n.version + 1\n    FROM proposal p\n    WHERE",
        "UPDATE coverage_need n SET version = n.version\n    FROM proposal p\n    WHERE",
        (f"{REVIEW}test_a_claim_made_during_the_solve_keeps_the_batch_from_moving",),
    ),
    Guard(
        "rejections are remembered",
        "workflow/snapshot.py",
        'rejected = connection.execute(_REJECTED, {"regency": regency}).all()',
        'rejected = connection.execute(_REJECTED, {"regency": regency}).all()[:0]',
        (f"{REVIEW}test_a_rejected_need_is_not_proposed_from_that_fund_again",),
    ),
    # --- events
    _off(
        "inbox knows a worker's event again",
        "workflow/register.py",
        "content_hash is None",
        f"{REGISTER}test_a_repeated_event_changes_nothing",
    ),
    Guard(
        "other content under a known id is a conflict",
        "workflow/register.py",
        "elif content_hash == report.content_hash:",
        "elif True:",
        (f"{REGISTER}test_the_same_id_with_other_content_is_a_conflict_and_the_first_stands",),
    ),
    Guard(
        "inbox knows a fund's event again",
        "workflow/fund_change.py",
        "if claimed is not None:",
        "if True:",
        (f"{CROSSING}test_a_fund_event_again_is_a_repeat_and_with_other_content_a_conflict",),
    ),
    Guard(
        "other content under a known fund event is a conflict",
        "workflow/fund_change.py",
        "if known == content_hash:",
        "if True:",
        (f"{CROSSING}test_a_fund_event_again_is_a_repeat_and_with_other_content_a_conflict",),
    ),
    Guard(
        "events that make one fund wait for each other",
        "workflow/fund_change.py",
        '    connection.execute(_LOCK_CODE, {"code": change.fund_id})\n',
        "",
        (f"{CROSSING}test_two_events_that_make_the_same_fund_at_once_are_both_accepted",),
    ),
    _off(
        "a late fund event changes nothing",
        "workflow/fund_change.py",
        "change.revision <= standing.revision",
        f"{ALLOCATE}test_a_late_or_repeated_fund_event_adds_nothing",
    ),
    _off(
        "the NIK's hash is that of the NIK",
        "workflow/validate.py",
        "context.vault.hash_nik(nik) != nik_hash",
        "tests/unit/test_validate.py::test_a_wrong_worker_event_is_refused_with_its_reason",
    ),
    Guard(
        "only the same bytes settle an outbox row",
        "workflow/outbox.py",
        " AND o.value_hash = m.value_hash",
        "",
        ("tests/integration/test_outbox.py::test_another_message_cannot_settle_a_row_by_claiming_its_id",),
    ),
    # --- a fund's life
    Guard(
        "no reduction below what is committed",
        "workflow/fund_change.py",
        "elif -difference > available_rupiah:",
        "elif False and -difference > available_rupiah:",
        (f"{LIFE}test_a_reduction_stops_at_what_is_committed",),
    ),
    Guard(
        "new rules release what was proposed under the old ones",
        "workflow/fund_change.py",
        "if withdrawn or ruled_anew or",
        "if withdrawn or",
        (
            f"{CROSSING}test_what_a_fund_no_longer_accepts_is_not_signed",
            f"{CROSSING}test_what_a_fund_no_longer_accepts_is_not_confirmed",
        ),
    ),
    _off(
        "an expired fund is not stretched",
        "workflow/fund_change.py",
        'standing.expired_rupiah and values["window_to"] != standing.window_to',
        f"{LIFE}test_an_expired_fund_is_not_stretched",
    ),
    _off(
        "expiry looks again under the fund's lock",
        "workflow/expire.py",
        "not _has_ended(window_to, timezone, now)",
        f"{CROSSING}test_a_window_stretched_while_funds_expire_keeps_its_money",
    ),
    # --- review
    _off(
        "four eyes: never the same officer twice",
        "workflow/review.py",
        "decision.officer == officer",
        f"{REVIEW}test_above_the_threshold_a_second_officer_signs",
    ),
    Guard(
        "four eyes: small pieces are counted together",
        "workflow/review.py",
        "amount_rupiah + _signed_alone_rupiah(connection, fund.id, request.officer, now)",
        "amount_rupiah",
        (f"{REVIEW}test_signing_in_small_pieces_does_not_avoid_the_second_officer",),
    ),
    _off(
        "nobody decides what he asked for",
        "workflow/review.py",
        "proposer == request.officer",
        f"{REVIEW}test_whoever_asked_for_the_run_does_not_decide_it",
    ),
    _off(
        "a key means one decision",
        "workflow/review.py",
        "known.content_hash != request.content_hash",
        f"{REVIEW}test_the_same_key_with_other_content_is_refused",
    ),
    Guard(
        "two requests with one key wait for each other",
        "workflow/review.py",
        "SELECT pg_advisory_xact_lock(hashtextextended(:key, 1))",
        "SELECT hashtextextended(:key, 1)",
        (f"{RACES}test_the_same_request_at_once[short]",),
    ),
    _off(
        "a decision is about what the officer saw",
        "workflow/review.py",
        'view.token.partition("@")[0] != request.token.partition("@")[0]',
        f"{REVIEW}test_a_decision_on_a_batch_that_changed_says_what_changed",
    ),
    Guard(
        "lines are locked before they are decided",
        "workflow/review.py",
        "view = read_batch(connection, request.batch, lock=True)",
        "view = read_batch(connection, request.batch)",
        (f"{RACES}test_approve_against_another_decision[reject-short]",),
    ),
    Guard(
        "a claim keeps other officers out",
        "workflow/review.py",
        "        _check_claim(connection, fund.id, request, now)\n",
        "",
        (f"{REVIEW}test_a_claimed_batch_is_not_moved_by_runs_nor_decided_by_others",),
    ),
    _off(
        "of two claims at once one stands",
        "workflow/review.py",
        "standing.officer != officer and standing.lapses_at > now",
        f"{CROSSING}test_of_two_officers_who_open_a_batch_at_once_one_is_told_who_has_it",
    ),
    _off(
        "an outdated line is not signed",
        "workflow/review.py",
        'outdated := connection.scalars(_OUTDATED, {"lines": [line[0] for line in chosen]}).all()',
        f"{REVIEW}test_a_line_whose_worker_changed_since_is_not_signed",
    ),
    _off(
        "an outdated line is not confirmed",
        "workflow/review.py",
        "changes",
        f"{CROSSING}test_a_report_that_crosses_the_first_signature_stops_the_second",
    ),
    _off(
        "only what awaits a second officer is confirmed",
        "workflow/review.py",
        'decision.state != "awaiting_second"',
        f"{REVIEW}test_until_confirmed_an_approval_can_be_undone",
    ),
    _off(
        "only open lines are committed",
        "workflow/commit.py",
        "len(amounts) != len(chosen)",
        f"{CROSSING}test_only_open_lines_are_committed",
    ),
    _off(
        "a month is not paid twice",
        "workflow/commit.py",
        'taken := connection.scalars(_TAKEN_LINES, {"lines": lines}).all()',
        f"{REVIEW}test_a_month_is_never_funded_twice",
    ),
    Guard(
        "key of funded_month",
        SECOND,
        'sa.PrimaryKeyConstraint("worker_id", "programme", "month", name',
        'sa.PrimaryKeyConstraint("worker_id", "programme", "month", "proposal_id", name',
        (f"{REVIEW}test_a_month_is_never_funded_twice",),
    ),
    Guard(
        "a run that is being stored keeps no report waiting",
        "workflow/propose.py",
        "with_for_update(key_share=True)",
        "with_for_update()",
        (f"{CROSSING}test_reports_need_not_wait_for_a_run_that_is_being_stored",),
    ),
    Guard(
        "a month is of its line's worker",
        "models/migrations/versions/0017_month_of_its_worker.py",
        "n.worker_id <> f.worker_id",
        "false",
        (f"{REVIEW}test_a_month_is_paid_for_its_lines_own_worker",),
    ),
    # --- enrolment
    Guard(
        "a line is sent once",
        "workflow/enrol.py",
        "AND NOT EXISTS (SELECT 1 FROM enrolment_line e WHERE e.proposal_id = p.id)",
        "",
        (f"{ENROL}test_a_line_is_sent_once_and_the_file_can_be_written_again",),
    ),
    Guard(
        "an answer file is known again",
        "workflow/reconcile.py",
        "        if known is not None:\n            return ReconcileOutcome",
        "        if known is not None and False:\n            return ReconcileOutcome",
        (f"{ENROL}test_the_same_file_twice_changes_nothing",),
    ),
    _off(
        "a line is answered once",
        "workflow/reconcile.py",
        "known.answered is not None",
        f"{ENROL}test_a_repeated_line_in_another_file_changes_nothing",
        f"{ENROL}test_a_contradiction_moves_nothing_and_waits_for_a_person",
    ),
    Guard(
        "no more is paid than was approved",
        "workflow/reconcile.py",
        "paid = min(billed, known.amount_rupiah)",
        "paid = billed",
        (f"{ENROL}test_a_surplus_goes_to_suspense_and_never_below_zero",),
    ),
    # --- the database itself
    _named(
        "ck_fund_never_overdrawn",
        "reserved_rupiah + committed_rupiah + disbursed_rupiah + expired_rupiah <= pledged_rupiah",
        between=_NEXT_LINE,
    ),
    _named("ck_fund_reserved_not_negative", "reserved_rupiah >= 0"),
    _named("ck_fund_committed_not_negative", "committed_rupiah >= 0"),
    _named("ck_fund_disbursed_not_negative", "disbursed_rupiah >= 0"),
    _named("ck_fund_expired_not_negative", "expired_rupiah >= 0"),
    _named(
        "ck_fund_within_ceiling_and_release",
        "kind = 'csr' OR pledged_rupiah <= least(ceiling_rupiah, released_rupiah)",
        between=_NEXT_LINE,
    ),
    _named("ck_proposal_amount_positive", "amount_rupiah > 0"),
    _named(
        "ck_proposal_closed_has_time",
        "(state IN ('superseded', 'released', 'rejected', 'returned', 'refused')) = (closed_at IS NOT NULL)",
        between=_NEXT_LINE,
    ),
    Guard(
        "CHECK ck_decision_four_eyes",
        SECOND,
        '"second_officer IS NULL OR second_officer <> officer"',
        '"true"',
        (f"{REVIEW}test_the_database_itself_wants_two_officers",),
    ),
    Guard(
        "CHECK ck_decision_second_signed",
        SECOND,
        "\"NOT needs_second OR state <> 'done' OR second_officer IS NOT NULL\"",
        '"true"',
        (f"{REVIEW}test_the_database_itself_wants_two_officers",),
    ),
    Guard(
        "index uq_proposal_one_live_per_need",
        FIRST,
        '"uq_proposal_one_live_per_need",\n        "proposal",\n        ["need_id"],\n        unique=True,',
        '"uq_proposal_one_live_per_need",\n        "proposal",\n        ["need_id"],\n        unique=False,',
        (_refused("uq_proposal_one_live_per_need"),),
    ),
    Guard(
        "trigger: the journal is append-only",
        FIRST,
        "BEFORE UPDATE OR DELETE OR TRUNCATE ON journal_entry",
        "BEFORE TRUNCATE ON journal_entry",
        (f"{AUDIT}test_the_journal_refuses_to_be_changed",),
    ),
    Guard(
        "trigger: the records are append-only",
        SECOND,
        "BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_record",
        "BEFORE TRUNCATE ON audit_record",
        (f"{CROSSING}test_the_records_of_what_people_did_refuse_to_be_changed",),
    ),
    Guard(
        "trigger: only legal transitions",
        SECOND,
        "IF NOT EXISTS (SELECT 1 FROM legal_transition",
        "IF false AND NOT EXISTS (SELECT 1 FROM legal_transition",
        (_refused("no transition from proposed to enrolled"),),
    ),
    Guard(
        "trigger: the version grows with the state",
        SECOND,
        "IF NEW.version <> OLD.version + 1 THEN",
        "IF false THEN",
        (_refused("version must grow"),),
    ),
    Guard(
        "the application's role may not change the books",
        "models/migrations/versions/0005_application_role.py",
        "CONTINUE WHEN named = ANY (ARRAY{list(_APPEND_ONLY)!r});",
        "",
        ("tests/integration/test_application_role.py",),
    ),
    Guard(
        "a lead that stands still ends",
        "streams/leader.py",
        "set_config('idle_session_timeout', :patience, false)",
        "CAST(:patience AS text)",
        (f"{LEADER}test_a_leader_that_says_nothing_loses_the_lead_and_learns_it",),
    ),
    Guard(
        "a transaction that stands still ends",
        "models/database.py",
        "        _limit_transactions(engine, transaction_patience_seconds)",
        "        pass",
        (f"{LEADER}test_a_transaction_that_stands_still_lets_go_of_its_rows",),
    ),
    # --- alerts
    Guard(
        "alerts: a reading that trembles is told once",
        "workflow/alert.py",
        "or (reading.value >= rule.clear and any(above.id in current for above in ladder[place:]))",
        "or False",
        ("tests/unit/test_alert.py::test_a_reading_that_trembles_around_the_threshold_is_told_once",),
    ),
    Guard(
        "alerts: a fund's own thresholds go before the rule's",
        "workflow/alert.py",
        "return at_subject.get((rule.id, subject), rule)",
        "return rule",
        (f"{ALERT_LIFE}test_a_fund_s_own_thresholds_go_before_the_regency_s_until_they_are_removed",),
    ),
    _off(
        "alerts: an officer overrides in the own regency alone",
        "workflow/alert_override.py",
        "not _is_of(connection, regency, place, subject)",
        f"{MATRIX}[POST-/alerts/overrides/funds/{{code}}]",
        f"{MATRIX}[POST-/alerts/overrides/districts/{{code}}]",
    ),
    _off(
        "alerts: a webhook reaches no internal address",
        "workflow/deliver_webhook.py",
        "not inside and not is_public(ip)",
        f"{ALERT_LIFE}test_a_webhook_never_reaches_an_internal_address",
        f"{ALERT_PAGES}test_a_test_message_is_signed_and_its_result_said",
    ),
    Guard(
        "alerts: a test goes through one's own channel alone",
        "workflow/try_channel.py",
        "AlertChannel.account_id == account_id",
        "True",
        (f"{ALERT_PAGES}test_a_test_message_is_signed_and_its_result_said",),
    ),
    Guard(
        "alerts: what is being sent is leased",
        "workflow/deliver.py",
        "SET due_at = :until, attempts",
        "SET attempts",
        (f"{ALERT_LIFE}test_killed_between_lease_and_sending_nothing_is_lost",),
    ),
    Guard(
        "live pages: what was seen comes back with the next stream",
        "portal/live.py",
        "seen = marks | _read(last_event_id, marks)",
        "seen = dict(marks)",
        (f"{ALERT_PAGES}test_what_changes_between_two_streams_is_told_by_the_next",),
    ),
    # --- the audit
    _unaudited("balances_equal_journal", f"{AUDIT}test_tampering_is_named_with_the_fund_and_the_difference"),
    _unaudited("no_fund_overdrawn", f"{AUDIT}test_tampering_is_named_with_the_fund_and_the_difference"),
    _unaudited("lines_equal_entries", f"{AUDIT}test_tampering_is_named_with_the_fund_and_the_difference"),
    _unaudited("buckets_equal_lines", f"{AUDIT}test_tampering_is_named_with_the_fund_and_the_difference"),
    _unaudited("months_follow_lines", f"{AUDIT}test_tampering_is_named_with_the_fund_and_the_difference"),
    _unaudited("states_agree", f"{AUDIT}test_tampering_is_named_with_the_fund_and_the_difference"),
    _unaudited("rules_hold", f"{AUDIT}test_tampering_is_named_with_the_fund_and_the_difference"),
    _unaudited("chain_intact", f"{AUDIT}test_a_changed_journal_entry_breaks_the_hash_chain"),
    _unaudited("records_intact", f"{ALERTS}test_the_audit_finds"),
    _unaudited("events_have_one_outcome", f"{ALERTS}test_the_audit_finds"),
    _unaudited("transitions_guarded", f"{ALERTS}test_the_audit_finds"),
    _unaudited("intake_settles", f"{ALERTS}test_intake_without_an_outcome_warns_and_halts_nobody"),
)


def remove_guards(guards: Sequence[Guard]) -> list[Outcome]:
    """Run each guard's tests without it. First all of them with every guard in place: they must be green."""
    outcomes = []
    with tempfile.TemporaryDirectory(prefix="gotong-guards-") as folder:
        tree = Path(folder) / "tree"
        ignored = shutil.ignore_patterns(".*", "__pycache__", "build", "*.egg-info")
        shutil.copytree(ROOT, tree, ignore=ignored)
        with EmbeddedPostgres(Path(folder) / "postgres", settings=TEST_SETTINGS) as server:
            url = server.url()
            everything = list(dict.fromkeys(test for guard in guards for test in guard.tests))
            code, said = _run_tests(tree, everything, url, first_failure_ends=False)
            if code:
                raise RuntimeError(f"the tests are not green with every guard in place:\n{said[-4000:]}")
            for guard in guards:
                begun = time.monotonic()
                word = _try_without(tree, guard, url)
                outcomes.append(Outcome(guard, word, time.monotonic() - begun))
                print(f"{word:<12} {outcomes[-1].seconds:5.1f} s  {guard.name}", flush=True)  # noqa: T201
    return outcomes


def _try_without(tree: Path, guard: Guard, url: str) -> str:
    path = tree / guard.file
    whole = path.read_text(encoding="utf-8")
    if guard.old not in whole:
        return "not found"
    try:
        path.write_text(whole.replace(guard.old, guard.new), encoding="utf-8")
        code, said = _run_tests(tree, guard.tests, url)
    finally:
        path.write_text(whole, encoding="utf-8")
    if code == 1 and " failed" in said:
        return "red"
    return "STILL GREEN" if code == 0 else f"broken ({code})"


def _run_tests(
    tree: Path, tests: Sequence[str], url: str, *, first_failure_ends: bool = True
) -> tuple[int, str]:
    environment = {**os.environ, "GOTONG_TEST_DATABASE_URL": url, "PYTHONDONTWRITEBYTECODE": "1"}
    environment.pop("CI", None)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--tb=line"]
    done = subprocess.run(
        [*command, *(["-x"] if first_failure_ends else []), *tests],
        cwd=tree,
        env=environment,
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def write_table(outcomes: Sequence[Outcome]) -> None:
    """Put the outcomes between the markers of docs/RELIABILITY.md."""
    rows = ["| guard removed | in | noticed by | outcome |", "|---|---|---|---|"]
    for outcome in outcomes:
        guard = outcome.guard
        tests = ", ".join(f"`{test.rpartition('::')[2] or test}`" for test in guard.tests)
        rows.append(f"| {guard.name} | `{guard.file}` | {tests} | {outcome.word} |")
    red = sum(outcome.word == "red" for outcome in outcomes)
    summary = f"{len(outcomes)} guards removed one at a time, {red} noticed."
    before, _, rest = REPORT.read_text(encoding="utf-8").partition(BEGIN)
    after = rest.partition(END)[2]
    table = "\n".join(rows)
    REPORT.write_text(f"{before}{BEGIN}\n{summary}\n\n{table}\n{END}{after}", encoding="utf-8")


def main() -> int:
    """The command line; exit code 1 when a removal was not noticed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("words", nargs="*", help="only guards whose name or file holds one of these")
    words = parser.parse_args().words
    chosen = [
        guard for guard in GUARDS if not words or any(word in f"{guard.name} {guard.file}" for word in words)
    ]
    outcomes = remove_guards(chosen)
    if len(chosen) == len(GUARDS):
        write_table(outcomes)
    unnoticed = [outcome for outcome in outcomes if outcome.word != "red"]
    print(f"{len(outcomes)} guards, {len(unnoticed)} unnoticed")  # noqa: T201 - a command's own output
    return 1 if unnoticed else 0


if __name__ == "__main__":
    raise SystemExit(main())
