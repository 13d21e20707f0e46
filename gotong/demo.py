"""Demo: a regency's year in half a minute, through every part that works in production.

Workers, pledges and budget lines enter as events through the outbox and Kafka like everything else; the
figures come from ``workflow/report.py`` like the portal's. Event ids follow from the seed, so a second
start sends only what the first did not.
"""

from __future__ import annotations

import datetime as dt
import json
import os
import sys
import time
import webbrowser
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

from sqlalchemy import Engine, text

from gotong.demo_screen import DemoProgress, PlainScreen, Screen, TerminalScreen
from gotong.figures import say_gap, say_rupiah, say_short_rupiah
from gotong.sample import REGENCY, SampleWorker, demo_year, sample_funds, sample_workers
from gotong.settings import Settings
from gotong.supervise import StopSignals
from gotong.up import House, StartError, StopRequestedError, open_house
from models.event import EventData
from models.vault import Vault
from workflow.account import ensure_demo_accounts
from workflow.audit import audit
from workflow.outbox import NewMessage, count_unsettled, enqueue_messages, event_headers
from workflow.report import Overview, read_overview

WORKER_TYPE: Final = "coverage.worker-uncovered.v1"
_PLEDGE_TYPE: Final = "funding.pledge-changed.v1"
_BUDGET_TYPE: Final = "funding.budget-changed.v1"
SOURCE_PREFIX: Final = "/gotong/demo/"
_FUNDS_SEED: Final = 1  # other people meet the same funds
_DEMO_VILLAGE: Final = "64.02.05.2001"
_EVENTS_PER_SECOND: Final = 450
_LONGEST_STREAM_SECONDS: Final = 60
_TICK_SECONDS: Final = 0.1
_SETTLE_TIMEOUT_SECONDS: Final = 180.0

_FOREIGN = text(
    "SELECT source FROM inbox_event WHERE source NOT LIKE :demo AND source NOT LIKE '/gotong' LIMIT 1"
)
#: Ids are numbers; those of faulty events may be missing, so the greatest tells where to go on.
_LAST_NUMBER = text(
    r"SELECT max(event_id::int8) FROM inbox_event WHERE source = :source AND event_id ~ '^\d{1,9}$'"
)
_KNOWN_FUNDS = text("SELECT count(*) FROM inbox_event WHERE source = :source")
_MATCH_DUE = text(
    "SELECT EXISTS (SELECT 1 FROM allocation_signal WHERE regency_code = :regency)"
    " OR EXISTS (SELECT 1 FROM allocation_request WHERE regency_code = :regency AND answered_at IS NULL)"
    " OR EXISTS (SELECT 1 FROM allocation_run WHERE regency_code = :regency AND status = 'RUNNING')"
)


def run_demo(settings: Settings, *, workers: int, seed: int, browser: bool, stop_after: bool) -> int:
    """Run the demo until it is told to stop; return the exit code (1 when the audit finds a difference)."""
    if REGENCY not in settings.regencies:
        raise StartError(f"the demo plays in {REGENCY}, which GOTONG_REGENCIES does not name")
    screen: Screen = TerminalScreen() if sys.stdout.isatty() else PlainScreen()
    with StopSignals() as stop, suppress(StopRequestedError):
        with open_house(
            settings,
            command="demo",
            local_key_allowed=True,
            say=screen.say,
            stop=stop,
            check_database=refuse_real_data,
        ) as house:
            screen.say(f"The portal shows the same figures: {house.portal_url}")
            if browser and not stop_after and can_open_browser():
                webbrowser.open(house.portal_url)
            code = _play(house, screen, stop, workers=workers, seed=seed)
            if not stop_after:
                screen.say(f"Portal: {house.portal_url}")
                screen.say(f"Accounts to try, one for each role: {house.portal_url}/login")
                command = ".venv/bin/gotong" if Path(".venv/bin/gotong").exists() else "gotong"
                screen.say("It keeps serving until Ctrl-C. Meanwhile try in another terminal:")
                screen.say(f"  {command} status    {command} audit    {command} dlq list")
                while not stop.wait(1.0):
                    pass
            screen.say("Stopping")
        return code
    return 0


def refuse_real_data(engine: Engine) -> None:
    """Synthetic people must never mix with real ones. Raises ``StartError``."""
    with engine.connect() as connection:
        foreign = connection.scalar(_FOREIGN, {"demo": f"{SOURCE_PREFIX}%"})
    if foreign is not None:
        raise StartError(
            "this database holds events that are not the demo's; give the demo one of its own"
            " (GOTONG_DATABASE_URL, GOTONG_DATA_DIR), or run: gotong up"
        )


def _play(house: House, screen: Screen, stop: StopSignals, *, workers: int, seed: int) -> int:
    """Send what is missing, show it arriving, wait for the last match, sum up."""
    year = demo_year(dt.datetime.now(ZoneInfo("Asia/Makassar")).date())
    source = f"{SOURCE_PREFIX}{year}/seed-{seed}"
    vault = Vault(house.master_keys[0], retired_keys=house.master_keys[1:])
    ensure_demo_accounts(
        house.engine,
        vault,
        regency=REGENCY,
        funder=sample_funds(_FUNDS_SEED, year).pledges[0].npwp,
        village=_DEMO_VILLAGE,
        now=dt.datetime.now(dt.UTC),
    )
    # What an interrupted start left in the outbox comes first: until then nobody knows what is missing.
    if not _wait_until(lambda: _nothing_under_way(house.engine), stop, _SETTLE_TIMEOUT_SECONDS):
        raise StopRequestedError
    screen.say("Sending four budget lines and sixty pledges, and waiting for the worker and its solver")
    _send_funds(house.engine, year)
    if not _wait_until(lambda: _is_quiet(house.engine), stop, _SETTLE_TIMEOUT_SECONDS):
        raise StopRequestedError
    with house.engine.connect() as connection:
        last = connection.scalar(_LAST_NUMBER, {"source": source})
    first = 0 if last is None else last + 1
    missing = max(workers - first, 0)
    if first:
        screen.say(f"{min(first, workers):,} of {workers:,} sample workers are here from an earlier start")
    if not missing:
        screen.say("Nothing new to send. For more: --workers with a greater number, or another --seed")
    else:
        screen.say(f"Streaming {missing:,} synthetic workers through Kafka")
    with screen:
        _stream(house, screen, stop, vault, source, first, missing, seed, year)
    if stop.received:
        raise StopRequestedError
    return _sum_up(house.engine, screen)


def _stream(
    house: House,
    screen: Screen,
    stop: StopSignals,
    vault: Vault,
    source: str,
    first: int,
    missing: int,
    seed: int,
    year: int,
) -> None:
    people = sample_workers(seed, first, missing, year)
    rate = max(_EVENTS_PER_SECOND, missing / _LONGEST_STREAM_SECONDS)
    started = time.monotonic()
    sent, shown_at, settled_since = 0, 0.0, None
    previous: SampleWorker | None = None
    deadline = started + missing / rate + _SETTLE_TIMEOUT_SECONDS
    while not stop.received and time.monotonic() < deadline:
        now = time.monotonic()
        due = min(missing, int((now - started + _TICK_SECONDS) * rate)) - sent
        if due > 0:
            messages = []
            for _ in range(due):
                worker = next(people)
                messages.append(make_worker_message(worker, previous, vault, source))
                previous = worker
            with house.engine.begin() as connection:
                enqueue_messages(connection, messages)
            sent += due
        if now - shown_at >= 0.4:
            shown_at = now
            screen.show(DemoProgress(sent, missing, now - started, read_overview(house.engine, REGENCY)))
            if sent == missing and _is_quiet(house.engine):
                # A moment of quiet, since a signal may rise between the two looks.
                if settled_since is not None:
                    return
                settled_since = now
            else:
                settled_since = None
        stop.wait(max(0.0, _TICK_SECONDS - (time.monotonic() - now)))
    if not stop.received:
        logs = ", ".join(str(child.log_file) for child in house.processes)
        screen.say(f"Events are still under way after {_SETTLE_TIMEOUT_SECONDS:.0f} s; see {logs}")


def make_worker_message(
    worker: SampleWorker, previous: SampleWorker | None, vault: Vault, source: str
) -> NewMessage:
    """The worker's event as a CloudEvent in binary mode, broken as its ``fault`` says."""
    event_id, event_type = str(worker.number), WORKER_TYPE
    if worker.fault == "same_id_other_content" and previous is not None:
        event_id = str(previous.number)
        worker = replace(previous, months=previous.months % 12 + 1, fault=worker.fault)
    nik = worker.nik if worker.fault != "bad_nik" else worker.nik[:8] + "99" + worker.nik[10:]
    sealed = vault.seal_worker(nik, worker.name)
    data: dict[str, Any] = {
        **sealed,
        "village": worker.village,
        "occupation": worker.occupation,
        "sex": worker.sex,
        "birth_year": worker.birth_year,
        "programmes": list(worker.programmes),
        "months": worker.months,
        "start_month": worker.start_month,
        "priority": worker.priority,
        "declared_base_rupiah": 1_000_000,
    }
    if worker.fault == "fractional_rupiah":
        data["declared_base_rupiah"] = 1_000_000.5
    if worker.fault == "unknown_version":
        event_type = WORKER_TYPE.removesuffix("v1") + "v9"
    value = json.dumps(data, separators=(",", ":")).encode()
    if worker.fault == "malformed_json":
        value = value[: len(value) // 2]
    if worker.fault == "invalid_utf8":
        value = value.replace(b'"occupation":"', b'"occupation":"\xff\xfe')
    # The same worker always goes to the same partition: an event and its correction keep their order.
    key = vault.hash_nik(nik)
    headers = event_headers(event_type, source=source, event_id=event_id, time=dt.datetime.now(dt.UTC))
    return NewMessage(WORKER_TYPE, value, key, headers, intake=True)


def _send_funds(engine: Engine, year: int) -> None:
    source = f"{SOURCE_PREFIX}{year}/funds"
    funds = sample_funds(_FUNDS_SEED, year)
    messages = [
        *_fund_messages(_BUDGET_TYPE, funds.budgets, source),
        *_fund_messages(_PLEDGE_TYPE, funds.pledges, source),
    ]
    with engine.begin() as connection:
        if connection.scalar(_KNOWN_FUNDS, {"source": source}) < len(messages):
            enqueue_messages(connection, messages)


def _fund_messages(event_type: str, changes: Sequence[EventData], source: str) -> Iterable[NewMessage]:
    for change in changes:
        fields = change.model_dump(mode="json", exclude_none=True)
        headers = event_headers(
            event_type, source=source, event_id=f"{fields['fund_id']}-1", time=dt.datetime.now(dt.UTC)
        )
        value = json.dumps(fields, separators=(",", ":"), sort_keys=True).encode()
        yield NewMessage(event_type, value, fields["fund_id"].encode(), headers, intake=True)


def _nothing_under_way(engine: Engine) -> bool:
    with engine.connect() as connection:
        waiting, in_flight, _ = count_unsettled(connection)
    return waiting + in_flight == 0


def _is_quiet(engine: Engine) -> bool:
    """Every event has its outcome, and no match is due or under way."""
    with engine.connect() as connection:
        match_due = connection.scalar(_MATCH_DUE, {"regency": REGENCY})
    return not match_due and _nothing_under_way(engine)


def _wait_until(condition: Any, stop: StopSignals, timeout_seconds: float) -> bool:
    """True when the condition came true, False when a stop came first. Raises ``StartError`` at the end."""
    deadline = time.monotonic() + timeout_seconds
    while not condition():
        if stop.wait(0.2):
            return False
        if time.monotonic() > deadline:
            raise StartError("the stream workers do not take the events that wait; see the logs folder")
    return True


def _sum_up(engine: Engine, screen: Screen) -> int:
    figures = read_overview(engine, REGENCY)
    findings = audit(engine)
    for line in summary_lines(figures):
        screen.say(line)
    if findings:
        screen.say(f"Audit: {len(findings)} differences, first {findings[0].subject}: {findings[0].message}")
        return 1
    screen.say("Audit: the books agree")
    return 0


def summary_lines(figures: Overview) -> list[str]:
    """The end of the demo in plain words."""
    covered = sum(district.covered for district in figures.districts)
    needs = sum(district.workers for district in figures.districts)
    available = sum(fund.available_rupiah for fund in figures.funds)
    lines = [
        "",
        f"Events      {figures.events_received:,} received: {figures.registered:,} needs registered,"
        f" {figures.rejected:,} rejected",
        f"Funded      {covered:,} of {needs:,} workers"
        + (f", {100 * covered / needs:.1f} %" if needs else ""),
        f"Reserved    {say_rupiah(figures.reserved_rupiah)} from {sum(1 for f in figures.funds if f.workers)}"
        f" of {len(figures.funds)} funds; {say_short_rupiah(available)} is left",
    ]
    if figures.last_run is not None:
        run = figures.last_run
        lines.append(f"Match       {say_gap(run.gap)}; the last took {run.seconds:.1f} s")
    if figures.dead_letters:
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in sorted(figures.dead_letters.items()))
        lines.append(f"Rejected    {reasons}")
    return lines


def can_open_browser() -> bool:
    """Whether a person with a screen is likely to sit here."""
    if not sys.stdout.isatty() or "SSH_CONNECTION" in os.environ:
        return False
    return sys.platform == "darwin" or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
