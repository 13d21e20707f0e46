"""A model of the life of a rupiah in plain Python: what every step must come to, without a database.

It knows neither SQL nor the program's own functions, only the rules as a finance officer would tell
them. What a run proposes is the optimiser's free choice; the model checks that choice and takes it.
"""

from __future__ import annotations

import datetime as dt
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final

UNDECIDED: Final = ("proposed", "confirming")
LIVE: Final = ("proposed", "confirming", "approved", "enrolled")
CLOSES_NEED: Final = ("already_insured", "deceased", "nik_mismatch", "not_eligible", "moved_away")

#: Bit of the programme -> rupiah a month at a declared base of one million.
MONTH_RUPIAH: Final = {1: 10_000, 2: 6_800, 4: 20_000}


class RefusedError(Exception):
    """The step must be refused with this reason."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass
class ModelFund:
    code: str
    kind: str
    revision: int
    rules: dict[str, Any]
    four_eyes_above_rupiah: int
    pledged: int = 0
    reserved: int = 0
    committed: int = 0
    disbursed: int = 0
    expired: int = 0

    @property
    def available(self) -> int:
        return self.pledged - self.reserved - self.committed - self.disbursed - self.expired


@dataclass
class ModelNeed:
    worker: int
    village: str
    programmes: int
    months: int
    start: int
    priority: int
    reported_at: dt.datetime
    state: str = "waiting"

    @property
    def content(self) -> tuple[Any, ...]:
        return (
            self.worker,
            self.village,
            self.programmes,
            self.months,
            self.start,
            self.priority,
            self.reported_at,
            self.state,
        )

    @property
    def month_rupiah(self) -> int:
        return sum(rupiah for bit, rupiah in MONTH_RUPIAH.items() if self.programmes & bit)


@dataclass
class ModelLine:
    need: int
    fund: str
    run: str
    months: int
    amount: int
    state: str = "proposed"
    version: int = 1
    outdated: bool = False
    reference: str | None = None
    answered: tuple[Any, ...] | None = None

    def move(self, state: str) -> None:
        self.state = state
        self.version += 1


@dataclass
class ModelDecision:
    content: tuple[Any, ...]
    fund: str
    officer: str
    lines: tuple[int, ...]
    amount: int
    state: str
    second: str | None = None


@dataclass(frozen=True)
class Fact:
    """What an event says of a worker."""

    worker: int
    village: str
    programmes: int
    months: int
    start: int
    priority: int
    time: dt.datetime


Place = tuple[str, str, str]  # run, fund, district


@dataclass
class Model:
    funds: dict[str, ModelFund] = field(default_factory=dict)
    needs: dict[int, ModelNeed] = field(default_factory=dict)
    unnamed: list[ModelNeed] = field(default_factory=list)
    lines: dict[int, ModelLine] = field(default_factory=dict)
    events: dict[str, tuple[Any, ...]] = field(default_factory=dict)
    decisions: dict[str, ModelDecision] = field(default_factory=dict)
    claims: dict[Place, tuple[str, bool]] = field(default_factory=dict)
    rejected: dict[tuple[int, str], tuple[int, dt.datetime]] = field(default_factory=dict)
    suspense: Counter[str] = field(default_factory=Counter)
    files: dict[tuple[Any, ...], dict[str, int]] = field(default_factory=dict)

    # --- events of workers

    def register(self, event_id: str, fact: Fact) -> str:
        content = (
            fact.worker,
            fact.village,
            fact.programmes,
            fact.months,
            fact.start,
            fact.priority,
        )
        known = self.events.get(event_id)
        if known is not None:
            return "repeated" if known == content else "refused"
        overlap = [
            (number, need)
            for number, need in [*self.needs.items(), *((-1, need) for need in self.unnamed)]
            if need.worker == fact.worker
            and need.state != "closed"
            and need.programmes & fact.programmes
            and need.start < fact.start + fact.months
            and fact.start < need.start + need.months
        ]
        outcome = self._decide_event(overlap, fact)
        if outcome == "refused":
            return outcome
        self.events[event_id] = content
        if outcome == "registered":
            self.unnamed.append(
                ModelNeed(
                    fact.worker,
                    fact.village,
                    fact.programmes,
                    fact.months,
                    fact.start,
                    fact.priority,
                    fact.time,
                )
            )
        elif outcome == "updated":
            self._update_need(*overlap[0], fact)
        return outcome

    def _decide_event(self, overlap: list[tuple[int, ModelNeed]], fact: Fact) -> str:
        if not overlap:
            return "registered"
        if any(self._is_signed(number, need) for number, need in overlap):
            return "already_funded"
        if len(overlap) > 1:
            return "refused"
        return "updated" if overlap[0][1].reported_at <= fact.time else "stale"

    def _is_signed(self, number: int, need: ModelNeed) -> bool:
        line = self.live_line(number)
        return need.state in ("approved", "enrolled") or (line is not None and line[1].state == "confirming")

    def _update_need(self, number: int, need: ModelNeed, fact: Fact) -> None:
        moved = need.village[:5] != fact.village[:5]
        need.village, need.programmes, need.months = fact.village, fact.programmes, fact.months
        need.start, need.priority, need.reported_at = fact.start, fact.priority, fact.time
        if (live := self.live_line(number)) is None:
            return
        if moved:
            self._release(live[1])
        else:
            live[1].outdated = True

    def name_needs(self, found: dict[int, tuple[Any, ...]]) -> None:
        """Give the needs made since their numbers, by their content."""
        for number, content in sorted(found.items()):
            if number in self.needs:
                continue
            match = next((need for need in self.unnamed if need.content == content), None)
            assert match is not None, f"a need nobody asked for: {content}"
            self.unnamed.remove(match)
            self.needs[number] = match
        assert not self.unnamed, f"needs that were not stored: {self.unnamed}"

    # --- events of funds

    def change_fund(
        self,
        event_id: str,
        code: str,
        kind: str,
        revision: int,
        amount: int,
        rules: dict[str, Any],
        four_eyes_above_rupiah: int,
        *,
        withdrawn: bool = False,
    ) -> str:
        content = (code, kind, revision, amount, tuple(sorted(rules.items())), withdrawn)
        known = self.events.get(event_id)
        if known is not None:
            return "repeated" if known == content else "refused"
        fund = self.funds.get(code)
        if fund is None:
            self.funds[code] = ModelFund(code, kind, revision, rules, four_eyes_above_rupiah, pledged=amount)
            self.events[event_id] = content
            return "created"
        if revision <= fund.revision:
            self.events[event_id] = content
            return "stale"
        if fund.expired and rules["window_to"] != fund.rules["window_to"]:
            return "refused"
        undecided = sum(
            line.amount for line in self.lines.values() if line.fund == code and line.state in UNDECIDED
        )
        if not withdrawn and amount < fund.pledged - fund.available - undecided:
            return "refused"
        if withdrawn or amount < fund.pledged - fund.available or rules != fund.rules:
            self._release_fund(code)
        fund.pledged = fund.pledged - fund.available if withdrawn else amount
        fund.revision, fund.rules = revision, rules
        self.events[event_id] = content
        return "changed"

    def expire(self, month: str) -> list[str]:
        """Expire the funds whose window ended before ``month`` (such as 2027-04)."""
        ended = []
        for code, fund in self.funds.items():
            if fund.rules["window_to"] >= month:
                continue
            if fund.pledged <= fund.committed + fund.disbursed + fund.expired:
                continue
            self._release_fund(code)
            fund.expired += fund.available
            ended.append(code)
        return sorted(ended)

    def _release_fund(self, code: str) -> None:
        for decision in self.decisions.values():
            if decision.fund == code and decision.state == "awaiting_second":
                decision.state = "undone"
        for line in self.lines.values():
            if line.fund == code and line.state in UNDECIDED:
                self._release(line)

    def _release(self, line: ModelLine, state: str = "released") -> None:
        line.move(state)
        self.needs[line.need].state = "waiting"
        self.funds[line.fund].reserved -= line.amount

    # --- a run

    def take_run(
        self, found: dict[int, tuple[int, str, str, int, int, str]], regency: str, *, proven: bool
    ) -> None:
        """Check what a run made of the lines, and take it over.

        ``found``: line -> (need, fund, run, months, amount, state), all lines of the database.
        """
        free = {
            number
            for number, need in self.needs.items()
            if need.village.startswith(regency)
            and need.state in ("waiting", "proposed")
            and ((live := self.live_line(number)) is None or self._may_move(live[1]))
        }
        for number, line in self.lines.items():
            if line.need in free and line.state == "proposed" and found[number][5] == "superseded":
                self._release(line, "superseded")
        for number, (need, fund, run, months, amount, state) in sorted(found.items()):
            if number in self.lines:
                continue
            assert need in free, f"the run moved need {need}, which it must leave alone"
            assert state == "proposed"
            assert self.accepts(fund, need), f"fund {fund} must not pay need {need}"
            assert self.live_line(need) is None, "two live lines"
            stated = self.needs[need]
            assert (months, amount) == (stated.months, stated.months * stated.month_rupiah)
            assert amount <= self.funds[fund].available, f"fund {fund} promises more than it has"
            self.lines[number] = ModelLine(need, fund, run, months, amount)
            self.needs[need].state = "proposed"
            self.funds[fund].reserved += amount
        for code, fund_now in self.funds.items():
            heads = Counter(self.needs[line.need].village[:8] for line in self.live_lines(code))
            assert self._room(fund_now, heads) >= 0 or not any(
                line.state in UNDECIDED for line in self.live_lines(code)
            ), "a cap is exceeded"
        for number in free:
            live = self.live_line(number)
            assert live is None or not live[1].outdated, "a run leaves no line that nobody may sign"
            if live is None and proven:
                self._check_left_out(number)

    def _check_left_out(self, number: int) -> None:
        need = self.needs[number]
        for code, fund in self.funds.items():
            if not self.accepts(code, number) or need.months * need.month_rupiah > fund.available:
                continue
            heads = Counter(self.needs[line.need].village[:8] for line in self.live_lines(code))
            heads[need.village[:8]] += 1
            assert self._room(fund, heads) < 0, f"need {number} waits though {code} could pay it"

    @staticmethod
    def _room(fund: ModelFund, heads: Counter[str]) -> int:
        total, district = fund.rules["head_count_cap"], fund.rules["district_cap"]
        return min(
            10**9 if total is None else total - heads.total(),
            10**9 if district is None else district - max(heads.values(), default=0),
        )

    def _may_move(self, line: ModelLine) -> bool:
        _, lasts = self.claims.get(self.place_of(line), ("", False))
        return line.state == "proposed" and not lasts

    def accepts(self, code: str, number: int) -> bool:
        fund, need = self.funds[code], self.needs[number]
        rejection = self.rejected.get((number, code))
        return (
            rejection != (fund.revision, need.reported_at)
            and fund.rules["regency"] == need.village[:5]
            and month_of(fund.rules["window_from"]) <= need.start
            and need.start + need.months - 1 <= month_of(fund.rules["window_to"])
        )

    # --- review

    def open_lines(self, place: Place) -> dict[int, ModelLine]:
        return {
            number: line
            for number, line in sorted(self.lines.items())
            if line.state == "proposed" and self.place_of(line) == place
        }

    def claim(self, place: Place, officer: str, *, lasts: bool) -> None:
        holder, held = self.claims.get(place, (officer, False))
        if held and holder != officer:
            raise RefusedError("claimed_by_other")
        self.claims[place] = (officer, lasts)

    def token(self, place: Place) -> tuple[tuple[int, int], ...]:
        return tuple((number, line.version) for number, line in self.open_lines(place).items())

    def decide(
        self,
        key: str,
        officer: str,
        action: str,
        place: Place,
        token: tuple[tuple[int, int], ...],
        lines: tuple[int, ...],
        reason: str | None,
    ) -> ModelDecision:
        content = (officer, action, place, tuple(sorted(lines)), reason)
        known = self.decisions.get(key)
        if known is not None:
            if known.content != content:
                raise RefusedError("key_reused")
            return known
        holder, held = self.claims.get(place, (officer, False))
        if held and holder != officer:
            raise RefusedError("claimed_by_other")
        if token != self.token(place):
            raise RefusedError("batch_changed")
        standing = self.open_lines(place)
        chosen = {number: line for number, line in standing.items() if not lines or number in lines}
        if not chosen or (lines and len(chosen) != len(set(lines))):
            raise RefusedError("lines_unknown")
        if any(line.outdated for line in chosen.values()):
            raise RefusedError("batch_changed")
        fund = self.funds[place[1]]
        amount = sum(line.amount for line in chosen.values())
        alone = sum(
            decision.amount
            for decision in self.decisions.values()
            if (decision.fund, decision.officer, decision.content[1]) == (place[1], officer, "approve")
            and decision.state == "done"
            and decision.second is None
        )
        second = action == "approve" and amount + alone > fund.four_eyes_above_rupiah
        state = "awaiting_second" if second else "done"
        decision = ModelDecision(content, place[1], officer, tuple(chosen), amount, state)
        self.decisions[key] = decision
        for number, line in chosen.items():
            if second:
                line.move("confirming")
            elif action == "approve":
                self._approve(line)
            else:
                if action == "reject":
                    need = self.needs[line.need]
                    self.rejected[line.need, line.fund] = (fund.revision, need.reported_at)
                self._release(self.lines[number], "rejected" if action == "reject" else "returned")
        return decision

    def confirm(self, key: str, officer: str) -> ModelDecision:
        decision = self.decisions[key]
        if decision.state == "done" and decision.second == officer:
            return decision
        if decision.state != "awaiting_second":
            raise RefusedError("not_awaiting")
        if decision.officer == officer:
            raise RefusedError("same_officer")
        for number in decision.lines:
            self._approve(self.lines[number])
        decision.state, decision.second = "done", officer
        return decision

    def undo(self, key: str) -> ModelDecision:
        decision = self.decisions[key]
        if decision.state == "undone":
            return decision
        if decision.state != "awaiting_second":
            raise RefusedError("not_awaiting")
        for number in decision.lines:
            self.lines[number].move("proposed")
        decision.state = "undone"
        return decision

    def _approve(self, line: ModelLine) -> None:
        line.move("approved")
        self.needs[line.need].state = "approved"
        fund = self.funds[line.fund]
        fund.reserved -= line.amount
        fund.committed += line.amount

    # --- enrolment

    def unsent(self, code: str) -> list[int]:
        return [
            number
            for number, line in sorted(self.lines.items())
            if line.fund == code and line.state == "approved" and line.reference is None
        ]

    def answer(self, rows: list[tuple[str, str, str | None, int | None, int | None]]) -> dict[str, int]:
        """Rows of (reference, answer, reason, months, rupiah)."""
        content = tuple(rows)
        if content in self.files:
            return self.files[content]
        by_reference = {line.reference: line for line in self.lines.values() if line.reference}
        outcomes: Counter[str] = Counter()
        for reference, *said in rows:
            line = by_reference.get(reference)
            outcomes[self._answer_line(line, tuple(said))] += 1
        self.files[content] = dict(outcomes)
        return self.files[content]

    def _answer_line(self, line: ModelLine | None, said: tuple[Any, ...]) -> str:
        answer, reason, months, rupiah = said
        if line is None:
            self.suspense["unknown"] += 1
            return "unknown"
        if line.answered is not None:
            if line.answered == said:
                return "repeated"
            self.suspense["contradictory"] += 1
            return "contradictory"
        line.answered = said
        fund, need = self.funds[line.fund], self.needs[line.need]
        fund.committed -= line.amount
        if answer == "refused":
            line.move("refused")
            need.state = "closed" if reason in CLOSES_NEED else "waiting"
            return "refused"
        line.move("enrolled")
        need.state = "enrolled"
        billed = line.amount if rupiah is None else rupiah
        kept = min(months or line.months, line.months)
        fund.disbursed += min(billed, line.amount)
        if kept < line.months:
            rest = ModelNeed(
                need.worker,
                need.village,
                need.programmes,
                line.months - kept,
                need.start + kept,
                need.priority,
                need.reported_at,
            )
            self.unnamed.append(rest)
        if billed > line.amount:
            self.suspense["overpaid"] += 1
            return "overpaid"
        return "partial" if billed < line.amount or kept < line.months else "enrolled"

    # --- looking up

    def place_of(self, line: ModelLine) -> Place:
        return line.run, line.fund, self.needs[line.need].village[:8]

    def live_line(self, need: int) -> tuple[int, ModelLine] | None:
        return next(
            (
                (number, line)
                for number, line in self.lines.items()
                if line.need == need and line.state in LIVE
            ),
            None,
        )

    def live_lines(self, code: str) -> list[ModelLine]:
        return [line for line in self.lines.values() if line.fund == code and line.state in LIVE]


def month_of(month: str) -> int:
    """``2026-12`` as an absolute month, year x 12 + month - 1."""
    return int(month[:4]) * 12 + int(month[5:]) - 1
