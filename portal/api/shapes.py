"""Shapes of what the API answers. Amounts are whole rupiah, times ISO 8601 with a zone, ids pseudonymous."""

from __future__ import annotations

import datetime as dt
import uuid
from typing import Any, Literal

from pydantic import BaseModel

from models.event import FundRules


class Region(BaseModel):
    """A province, regency, district or village."""

    code: str
    name: str
    level: str
    parent_code: str | None


class Fund(BaseModel):
    """A company's pledge (``csr``) or a regional budget line (``apbd``) and where its money is."""

    code: str
    regency: str
    kind: str
    name: str
    funder: str | None
    window_from: dt.date
    window_to: dt.date
    pledged_rupiah: int
    reserved_rupiah: int
    committed_rupiah: int
    disbursed_rupiah: int
    expired_rupiah: int
    available_rupiah: int


class Entry(BaseModel):
    """An entry of a fund's journal; they are numbered without a gap."""

    number: int
    kind: str
    amount_rupiah: int
    cause: str
    cause_id: uuid.UUID
    recorded_at: dt.datetime


class Document(BaseModel):
    """A document of a fund; ``kind`` is what its content was seen to be."""

    id: uuid.UUID
    name: str
    kind: str
    size_bytes: int
    sha256: str
    added_at: dt.datetime


class BatchSummary(BaseModel):
    """What one run proposed from one fund in one district and nobody has decided."""

    run_id: uuid.UUID
    fund: str
    district: str
    lines: int
    amount_rupiah: int


class Line(BaseModel):
    """A proposal for one need; the worker is named by the need's number alone."""

    id: int
    need: int
    village: str
    programmes: int
    months: int
    amount_rupiah: int
    state: str
    version: int


class Decision(BaseModel):
    """What was decided about lines of a batch."""

    id: uuid.UUID
    action: str
    fund: str
    district: str
    run_id: uuid.UUID
    lines: int
    amount_rupiah: int
    needs_second: bool
    state: str
    decided_at: dt.datetime
    closed_at: dt.datetime | None


class Run(BaseModel):
    """A match; each tier with its value, proven bound and gap."""

    id: uuid.UUID
    regency: str
    generation: int
    status: str
    needs: int
    proposed: int
    changed: int
    tiers: list[Any] | None
    started_at: dt.datetime
    finished_at: dt.datetime | None


class WaitingGroup(BaseModel):
    """Needs that wait in a district for one reason; empty when no run has looked at them yet."""

    district: str
    reason: str
    needs: int


class Coverage(BaseModel):
    """A district's known needs, and those for which a fund stands ready."""

    district: str
    needs: int
    covered: int


class EnrolmentBatch(BaseModel):
    """Lines that go to the social-security agency as one file; only an officer's session gets the file."""

    id: uuid.UUID
    fund: str
    lines: int
    total_rupiah: int
    exported_at: dt.datetime


class EnrolmentLine(BaseModel):
    """A line of such a file by its reference, and the agency's answer."""

    number: int
    reference: str
    answer: str | None
    paid_rupiah: int | None
    paid_months: int | None


class Alert(BaseModel):
    """A crossing of an alert rule."""

    id: uuid.UUID
    scope: str
    kind: str
    subject: str
    severity: str
    state: str
    value: int
    opened_at: dt.datetime
    resolved_at: dt.datetime | None


class Offer(BaseModel):
    """A pledge or top-up that a company offers."""

    id: uuid.UUID
    regency: str
    name: str
    fund: str | None
    amount_rupiah: int
    window_from: dt.date
    window_to: dt.date
    state: str
    offered_at: dt.datetime
    closed_at: dt.datetime | None
    remark: str | None


class AlertRule(BaseModel):
    """When an alert opens and closes, in the unit of its kind; ``days`` is the span that is looked at."""

    name: str
    kind: str
    fire: int
    clear: int
    days: int | None
    severity: str
    enabled: bool
    escalate_after_hours: int | None


class HeldRule(BaseModel):
    """Where a rule fires and clears at a place; ``own`` when it has thresholds of its own there."""

    rule: str
    kind: str
    fire: int
    clear: int
    enabled: bool
    own: bool


class PlaceRules(BaseModel):
    """The rules as they hold for one fund or district."""

    place: Literal["fund", "district"]
    code: str
    rules: list[HeldRule]


class CancelledRun(BaseModel):
    """The match that was asked to stop; it does so within about a second."""

    run: uuid.UUID


class Resumed(BaseModel):
    """The regency or topic that goes on."""

    resumed: str


class Reach(BaseModel):
    """People, those of them enrolled, and programme months; null where they are too few to be counted."""

    workers: int | None
    enrolled: int | None
    months: int | None


class Impact(BaseModel):
    """Whom a company's approved money covers. The empty district holds those of few people together."""

    total: Reach
    programmes: dict[str, Reach]
    districts: dict[str, Reach]


class CoverMonth(BaseModel):
    """How many people a month covers; null where they are too few to be counted."""

    month: dt.date
    workers: int | None


class MoneyMonth(BaseModel):
    """What was approved and what was paid in a month."""

    month: dt.date
    committed_rupiah: int
    disbursed_rupiah: int


class FundedWorker(BaseModel):
    """A line of the company's own; where few workers share district and occupation, these are empty."""

    pseudonym: str
    district: str
    occupation: str
    programmes: str
    months: int
    start_month: dt.date
    state: str


class Message(BaseModel):
    """Something that changed for a company: a journal entry's kind, an answer to an offer, a statement,
    or changed terms of a pledge, which have no amount."""

    at: dt.datetime
    ref: str
    kind: str
    name: str
    amount_rupiah: int | None
    remark: str | None


class Totals(BaseModel):
    """One side of a comparison; ``gap`` is the proven relative distance from the best possible."""

    workers: int
    score: int
    worker_months: int
    spent_rupiah: int
    apbd_rupiah: int
    available_rupiah: int
    gap: float
    status: str


class DistrictChange(BaseModel):
    """Workers with a fund in a district, before and under the question's terms."""

    district: str
    workers: int
    before: int
    now: int
    gained: int
    lost: int


class WhatIfAnswer(BaseModel):
    """The match as it is and as it would be; nothing of it is stored."""

    before: Totals
    after: Totals
    gained: int
    lost: int
    moved: int
    districts: list[DistrictChange]
    seconds: float


class CheapestChange(BaseModel):
    """What would let in most of those who wait for one reason: widening ``rule`` of ``fund``."""

    reason: str
    needs: int
    looked_at: int
    fund: str | None
    rule: str | None
    helped: int
    cost_rupiah: int
    left_rupiah: int


class WaitingWorker(BaseModel):
    """A worker of the village whom nobody has verified, by the need's number; names are on the page alone."""

    need: int
    occupation: str
    programmes: int
    months: int
    start_month: dt.date
    state: str
    version: int


class Finding(BaseModel):
    """What a verifier found about a need; it can be taken back for a while."""

    id: uuid.UUID
    need: int
    outcome: str
    verified_at: dt.datetime
    undone_at: dt.datetime | None


class Record(BaseModel):
    """Who did what when; ``hash`` seals it to the record before."""

    number: int
    actor: str
    action: str
    subject: str
    detail: dict[str, Any]
    recorded_at: dt.datetime
    hash: str


class DeadLetter(BaseModel):
    """A refused event without its contents."""

    id: int
    topic: str
    reason: str
    detail: str
    attempt: int
    received_at: dt.datetime
    replayed_at: dt.datetime | None


class Key(BaseModel):
    """An API key without its secret."""

    id: uuid.UUID
    name: str
    role: str
    scope: str | None
    state: str
    created_at: dt.datetime
    expires_at: dt.datetime
    used_at: dt.datetime | None


class SavedPolicy(BaseModel):
    """A policy's newest version; version 0 is the one that is shipped."""

    name: str
    version: int
    policy: dict[str, Any]
    saved_at: dt.datetime | None


class Statement(BaseModel):
    """A signed statement of what a company's pledges paid."""

    number: int
    code: str
    period_from: dt.date
    period_to: dt.date
    content: dict[str, Any]
    signed_at: dt.datetime


class DecisionAnswer(BaseModel):
    """What came of a decision: ``done``, or ``awaiting_second`` until another officer confirms."""

    id: uuid.UUID
    state: str
    lines: int
    amount_rupiah: int


class RowProblem(BaseModel):
    """What is wrong with a row, counted from 1."""

    row: int
    field: str
    message: str


class IntakeAnswer(BaseModel):
    """How many events were taken in, and what is odd about rows that were taken in nevertheless."""

    events: int
    warnings: list[RowProblem]


class ReplayAnswer(BaseModel):
    """The dead letters that were sent again, and why others were not."""

    replayed: list[int]
    skipped: dict[str, str]


class Health(BaseModel):
    """The house at one moment."""

    well: bool
    workers_connected: bool
    leaders: int
    intake_waiting: int
    intake_in_flight: int
    dead_letters: int
    halted: list[str]
    paused: list[str]


class ChosenPolicy(BaseModel):
    """The policy that a regency's next runs follow."""

    regency: str
    name: str
    version: int


class Person(BaseModel):
    """Somebody who may use the portal; a role has one of the three scopes, or none."""

    id: uuid.UUID
    email: str
    name: str
    role: str
    regency: str | None
    funder: str | None
    village: str | None
    state: str
    second_factor: bool
    created_at: dt.datetime


class InvitedPerson(Person):
    """A person with the single-use link that lets them set a password; null where it was told before."""

    purpose: str
    link: str | None
    expires_at: dt.datetime


class FundTerms(BaseModel):
    """What a fund's next event would state if nothing changed; months are inclusive. Money stands in
    ``amount_rupiah`` for a pledge, in ``ceiling_rupiah`` and ``released_rupiah`` for a budget line."""

    code: str
    revision: int
    kind: str
    window_from: str
    window_to: str
    amount_rupiah: int | None
    ceiling_rupiah: int | None
    released_rupiah: int | None
    rules: FundRules


class SentChange(BaseModel):
    """A change that is on its way: it holds once the fund's terms have this revision."""

    code: str
    revision: int


class AnswerOutcome(BaseModel):
    """What became of an answer file's rows; the same file again has the same outcome."""

    id: uuid.UUID
    outcomes: dict[str, int]


class MessageMark(BaseModel):
    """How far the person has read, and how many messages are newer."""

    read_at: dt.datetime | None
    unread: int
