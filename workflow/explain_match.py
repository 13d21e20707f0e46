"""Say in words why a need is funded by this fund, by none, and what binds a fund.

One place for all such sentences, Indonesian and English, so that the command line, the portal and
the tables of a run directory say the same. Functions take (problem, names, policy, result), from
wherever these came. Money and counts are exact; a *price* (``asks``) is in priority points and
comes from the proof of the bound (``AllocationResult.prices``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

import numpy as np

from models.programme import write_bundle
from models.tariff import write_month
from optimizer.policy import Policy
from optimizer.problem import NONE, AllocationProblem, Bool, Int64
from optimizer.result import AllocationResult
from optimizer.rules import PAIR_RULES, heads_by_district, pair_cost_rupiah, spent_rupiah
from optimizer.tiers import worker_scores
from workflow.match_problem import MatchNames

Language = Literal["en", "id"]

#: Reasons that are no hard rule's name.
OUTBID: Final = "outbid"
NO_FUNDS: Final = "no_funds"
NOT_REACHED: Final = "not_reached"
FUNDED: Final = "funded"

#: Below this a need was outbid by the indivisibility of money as much as by anybody's priority.
NARROW_POINTS: Final = 0.05

#: Sentence per reason and language. Placeholders are filled by :func:`say`.
SENTENCES: Final[Mapping[str, Mapping[Language, str]]] = {
    FUNDED: {
        "en": "{fund} pays {bundle} for {months} months: Rp {amount}.",
        "id": "{fund} membayar {bundle} selama {months} bulan: Rp {amount}.",
    },
    NO_FUNDS: {
        "en": "There is no fund in this run.",
        "id": "Tidak ada penyandang dana dalam perhitungan ini.",
    },
    "region_accepted": {
        "en": "No fund serves village {village}.",
        "id": "Tidak ada penyandang dana yang melayani desa/kelurahan {village}.",
    },
    "occupation_accepted": {
        "en": "No fund that serves village {village} accepts the occupation {occupation}.",
        "id": "Tidak ada penyandang dana untuk {village} yang menerima pekerjaan {occupation}.",
    },
    "programmes_accepted": {
        "en": "No fund for this village and occupation pays the whole bundle {bundle}.",
        "id": "Tidak ada penyandang dana yang sesuai membayar seluruh paket {bundle}.",
    },
    "sex_accepted": {
        "en": "No fund that would otherwise pay accepts the sex on record.",
        "id": "Tidak ada penyandang dana yang sesuai menerima jenis kelamin yang tercatat.",
    },
    "age_accepted": {
        "en": "No fund that would otherwise pay accepts the age on record.",
        "id": "Tidak ada penyandang dana yang sesuai menerima usia yang tercatat.",
    },
    "months_within_limit": {
        "en": "No fund that would otherwise pay covers as many as {months} months.",
        "id": "Tidak ada penyandang dana yang sesuai menanggung sampai {months} bulan iuran.",
    },
    "window_covers_months": {
        "en": "No fund that would otherwise pay is open for all months from {start} to {end}.",
        "id": "Tidak ada penyandang dana yang sesuai berlaku untuk semua bulan dari {start} sampai {end}.",
    },
    "amount_left": {
        "en": "The cover costs Rp {cost}; {fund}, the closest fund that accepts it, had Rp {total} in all.",
        "id": "Perlindungan ini bernilai Rp {cost}; {fund}, yang terdekat, seluruhnya hanya Rp {total}.",
    },
    "head_count_cap": {
        "en": "{fund} accepts it but may take no worker: its head-count cap leaves no place.",
        "id": "{fund} menerimanya, tetapi batas jumlah pekerjanya tidak menyisakan tempat.",
    },
    "district_cap": {
        "en": "{fund} accepts it but may take no worker in this district: its district cap leaves no place.",
        "id": "{fund} menerimanya, tetapi batas per kecamatannya tidak menyisakan tempat di kecamatan ini.",
    },
    "min_workers": {
        "en": "{fund} accepts it but stays unused: its minimum of {minimum} workers was not reached.",
        "id": "{fund} menerimanya, tetapi tidak dipakai: jumlah minimum {minimum} pekerja tidak tercapai.",
    },
    OUTBID: {
        "en": "Outbid: {fund}, the cheapest fund that accepts it, went to other needs; "
        "{points} more priority points were needed.",
        "id": "Kalah prioritas: {fund}, yang termurah di antara yang menerimanya, terpakai untuk "
        "kebutuhan lain; kurang {points} poin prioritas.",
    },
    # Outbid by less than a point: the last rupiah of a fund, or needs of the same worth.
    "outbid_narrowly": {
        "en": "Outbid: {fund}, the cheapest fund that accepts it, went to needs worth as much or more.",
        "id": "Kalah prioritas: {fund}, yang termurah di antara yang menerimanya, terpakai untuk kebutuhan "
        "yang sama atau lebih penting.",
    },
    NOT_REACHED: {
        "en": "Left out although {fund} could still pay it: the time ended, or another aim weighs more.",
        "id": "Belum terpilih walau {fund} masih dapat membayar: waktu habis, atau tujuan lain lebih berat.",
    },
}

#: Why one fund does not pay, seen from one worker: shorter, one line per fund.
FUND_REMARKS: Final[Mapping[str, Mapping[Language, str]]] = {
    "region_accepted": {"en": "does not serve this village", "id": "tidak melayani desa/kelurahan ini"},
    "occupation_accepted": {"en": "does not accept this occupation", "id": "tidak menerima pekerjaan ini"},
    "programmes_accepted": {"en": "does not pay the whole bundle", "id": "tidak membayar seluruh paket"},
    "sex_accepted": {"en": "does not accept the sex on record", "id": "tidak menerima jenis kelamin ini"},
    "age_accepted": {"en": "does not accept the age on record", "id": "tidak menerima usia ini"},
    "months_within_limit": {"en": "pays fewer months", "id": "membayar lebih sedikit bulan"},
    "window_covers_months": {"en": "is not open for all months", "id": "tidak berlaku untuk semua bulan"},
    "amount_left": {"en": "Rp {left} left, cost Rp {cost}", "id": "sisa Rp {left}, biaya Rp {cost}"},
    "head_count_cap": {"en": "head-count cap reached", "id": "batas jumlah pekerja tercapai"},
    "district_cap": {"en": "district cap reached", "id": "batas per kecamatan tercapai"},
    "min_workers": {
        "en": "unused, minimum not reached",
        "id": "tidak dipakai, jumlah minimum tidak tercapai",
    },
    "": {
        "en": "could pay Rp {cost}, asks {asks} points",
        "id": "dapat membayar Rp {cost}, harga {asks} poin",
    },
}

#: What keeps a fund from covering more.
BINDS: Final[Mapping[str, Mapping[Language, str]]] = {
    "amount_left": {"en": "its money", "id": "dananya"},
    "head_count_cap": {"en": "its head-count cap", "id": "batas jumlah pekerja"},
    "district_cap": {"en": "its district cap", "id": "batas per kecamatan"},
    "min_workers": {"en": "its minimum of workers", "id": "jumlah minimum pekerja"},
    "eligibility": {"en": "too few needs it accepts", "id": "terlalu sedikit kebutuhan yang diterimanya"},
    "": {"en": "nothing", "id": "tidak ada"},
}


def write_rupiah(amount_rupiah: int, language: Language) -> str:
    """``1,250,000`` in English, ``1.250.000`` in Indonesian."""
    text = f"{amount_rupiah:,}"
    return text.replace(",", ".") if language == "id" else text


def write_points(points: float, language: Language) -> str:
    """A number of priority points with at most one decimal."""
    text = f"{points:,.1f}".removesuffix(".0")
    return text.translate(str.maketrans(",.", ".,")) if language == "id" else text


def say(reason: str, language: Language, facts: Mapping[str, str | int | float]) -> str:
    """The sentence for a reason; an unknown reason is said by its name."""
    if reason == OUTBID and float(facts.get("points", 0)) < NARROW_POINTS:
        reason = "outbid_narrowly"
    return _fill(SENTENCES.get(reason, {}).get(language, reason), language, facts)


def _fill(template: str, language: Language, facts: Mapping[str, str | int | float]) -> str:
    words: dict[str, str] = {}
    for name, value in facts.items():
        if name in ("cost", "total", "left", "amount"):
            words[name] = write_rupiah(int(value), language)
        elif isinstance(value, float):
            words[name] = write_points(value, language)
        else:
            words[name] = str(value)
    return template.format_map(words)


@dataclass(frozen=True, slots=True)
class FundView:
    """One fund as one worker meets it.

    ``obstacle`` is the first rule that stands in the way, empty when none does; ``asks`` is the
    fund's price for this cover in priority points; ``left_rupiah`` what the plan leaves in it.
    """

    fund_id: str
    obstacle: str
    cost_rupiah: int
    left_rupiah: int
    asks: float


@dataclass(frozen=True, slots=True)
class WorkerStory:
    """Why a worker is funded by this fund or by none.

    ``alternative`` is the best other fund that accepts the worker: for a funded one the choice
    that this proposal beat. ``funds`` are all funds, the closest first.
    """

    worker_id: str
    reason: str
    facts: Mapping[str, str | int | float]
    score: float
    fund_id: str | None
    alternative: FundView | None
    funds: tuple[FundView, ...] = field(default=())


@dataclass(frozen=True, slots=True)
class FundStory:
    """What a fund did, what one more million rupiah would gain, and what binds it."""

    fund_id: str
    amount_rupiah: int
    spent_rupiah: int
    workers: int
    score_per_million_rupiah: float
    binds: str


@dataclass(frozen=True, slots=True, eq=False)
class Occupancy:
    """How full a plan leaves every fund: rupiah left (F), workers (F), workers by district (F x D)."""

    left_rupiah: Int64
    heads: Int64
    by_district: Int64


def measure_occupancy(problem: AllocationProblem, result: AllocationResult) -> Occupancy:
    """Add up a plan per fund; workers of approved lines count towards caps and minimums."""
    by_district = heads_by_district(problem, result.fund_of_worker)
    return Occupancy(
        left_rupiah=problem.funds.amount_rupiah - spent_rupiah(problem, result.fund_of_worker),
        heads=by_district.sum(axis=1),
        by_district=by_district,
    )


def explain_worker(
    problem: AllocationProblem,
    names: MatchNames,
    policy: Policy,
    result: AllocationResult,
    worker: int,
    occupancy: Occupancy | None = None,
) -> WorkerStory:
    """The story of one worker (index 0 to N - 1) against every fund of the run."""
    occupancy = occupancy or measure_occupancy(problem, result)
    workers, count = problem.workers, len(problem.funds)
    here, funds = np.array([worker]), np.arange(count)
    district = int(problem.district_of_village[workers.village[worker]])
    score = float(worker_scores(problem, policy)[worker])
    cost = pair_cost_rupiah(problem, here, funds) if count else np.zeros(0, dtype=np.int64)
    asks = result.prices.fund * cost + result.prices.head + result.prices.district[:, district]
    chosen = int(result.fund_of_worker[worker])
    obstacles = _obstacles(problem, occupancy, here, district, cost, chosen)
    views = [
        FundView(fund.fund_id, obstacles[i], int(cost[i]), int(occupancy.left_rupiah[i]), float(asks[i]))
        for i, fund in enumerate(names.funds)
    ]
    pair_names = {rule.__name__ for rule in PAIR_RULES}
    accepting = [i for i in range(count) if obstacles[i] not in pair_names]
    accepting.sort(key=lambda i: (float(asks[i]), i))
    facts = _facts(problem, names, worker)
    alternative = next((views[i] for i in accepting if i != chosen), None)
    if chosen != NONE:
        reason = FUNDED
        facts |= {"fund": names.funds[chosen].fund_id, "amount": int(result.amount_rupiah[worker])}
    else:
        reason, more = _unfunded_reason(problem, occupancy, accepting, obstacles, cost, asks, score, district)
        if "fund_index" in more:
            fund = int(more.pop("fund_index"))
            least = int(problem.funds.min_workers[fund])
            facts |= {"fund": names.funds[fund].fund_id, "minimum": least, "cost": int(cost[fund])}
        facts |= more
        reason = reason or _emptying_rule(problem, here)
    order = {rule.__name__: len(PAIR_RULES) - place for place, rule in enumerate(PAIR_RULES)}
    closest = sorted(range(count), key=lambda i: (order.get(obstacles[i], 0), float(asks[i]), i))
    return WorkerStory(
        worker_id=str(names.worker_ids[worker]),
        reason=reason,
        facts=facts,
        score=score,
        fund_id=None if chosen == NONE else names.funds[chosen].fund_id,
        alternative=alternative,
        funds=tuple(views[i] for i in closest),
    )


def _facts(problem: AllocationProblem, names: MatchNames, worker: int) -> dict[str, str | int | float]:
    workers = problem.workers
    start, months = int(workers.start_month[worker]), int(workers.months[worker])
    return {
        "village": names.villages[workers.village[worker]],
        "occupation": names.occupations[workers.occupation[worker]],
        "bundle": write_bundle(names.bundles[workers.bundle[worker]]),
        "months": months,
        "start": write_month(start),
        "end": write_month(start + months - 1),
        "priority": int(workers.priority[worker]),
    }


def _obstacles(
    problem: AllocationProblem, occupancy: Occupancy, here: Int64, district: int, cost: Int64, chosen: int
) -> list[str]:
    """Per fund the first rule that stops one worker now: a pair rule, or a limit that is used up."""
    funds = problem.funds
    indices = np.arange(len(funds))
    obstacle = np.full(len(funds), "", dtype=object)
    head, by_district = find_places_left(problem, occupancy)
    used = occupancy.heads + funds.heads_used.sum(axis=1)
    tests: list[tuple[str, Bool]] = [
        *((rule.__name__, ~rule(problem, here, indices)) for rule in PAIR_RULES),
        ("head_count_cap", head <= 0),
        ("district_cap", by_district[:, district] <= 0),
        ("min_workers", (funds.min_workers > used + 1) & (occupancy.heads == 0)),
        ("amount_left", occupancy.left_rupiah < cost),
    ]
    for name, stops in tests:
        obstacle[(obstacle == "") & stops] = name
    if chosen != NONE:
        obstacle[chosen] = ""  # it pays this very worker
    return [str(name) for name in obstacle]


def find_places_left(problem: AllocationProblem, occupancy: Occupancy) -> tuple[Int64, Int64]:
    """Workers a fund may still take (F), and per district (F x D), under its caps."""
    funds = problem.funds
    many = np.iinfo(np.int64).max
    used = funds.heads_used.sum(axis=1) + occupancy.heads
    head = np.where(funds.head_count_cap == NONE, many, funds.head_count_cap - used)
    cap = funds.district_cap[:, None]
    by_district = np.where(cap == NONE, many, cap - funds.heads_used - occupancy.by_district)
    return head, by_district


def _unfunded_reason(
    problem: AllocationProblem,
    occupancy: Occupancy,
    accepting: Sequence[int],
    obstacles: Sequence[str],
    cost: Int64,
    asks: np.ndarray,
    score: float,
    district: int,
) -> tuple[str, dict[str, str | int | float]]:
    """The reason when some fund accepts the worker; empty when none does."""
    funds = problem.funds
    if not accepting:
        return "", {}
    rivals: list[int] = []
    for fund in accepting:
        if obstacles[fund] == "":
            return NOT_REACHED, {"fund_index": fund}
        if not _shut(problem, occupancy, fund, int(cost[fund]), district):
            rivals.append(fund)
    if rivals:
        return OUTBID, {"fund_index": rivals[0], "points": max(0.0, float(asks[rivals[0]]) - score)}
    fund = accepting[0]
    shut_by = _shut(problem, occupancy, fund, int(cost[fund]), district)
    return shut_by, {"fund_index": fund, "total": int(funds.amount_rupiah[fund])}


def _shut(
    problem: AllocationProblem, occupancy: Occupancy, fund: int, cost_rupiah: int, district: int
) -> str:
    """The rule by which a fund could not take this worker even if nobody else had come."""
    funds = problem.funds
    cap, used = int(funds.head_count_cap[fund]), funds.heads_used[fund]
    if cap != NONE and cap <= int(used.sum()):
        return "head_count_cap"
    cap = int(funds.district_cap[fund])
    if cap != NONE and cap <= int(used[district]):
        return "district_cap"
    if int(funds.amount_rupiah[fund]) < cost_rupiah:
        return "amount_left"
    if int(occupancy.heads[fund]) == 0 and int(funds.min_workers[fund]) > int(used.sum()) + 1:
        return "min_workers"
    return ""


def _emptying_rule(problem: AllocationProblem, here: Int64) -> str:
    """The first rule after which no fund is left, in the order in which rules are told."""
    indices = np.arange(len(problem.funds))
    if not len(indices):
        return NO_FUNDS
    left = np.ones(len(indices), dtype=np.bool_)
    for rule in PAIR_RULES:
        left &= rule(problem, here, indices)
        if not left.any():
            return rule.__name__
    raise AssertionError("some fund accepts this worker")


def tell_worker(story: WorkerStory, language: Language, most_funds: int = 8) -> list[str]:
    """A worker's story as lines of text: facts, the reason, the best alternative, the funds."""
    words = {
        "en": (
            "Worker {worker}: {bundle}, {months} months, {village}, {occupation}, priority {priority}.",
            "Best alternative: {fund} ({remark}).",
            "No other fund accepts this worker.",
            "Funds, closest first:",
            "… and {count} more",
            "Other funds, closest first:",
        ),
        "id": (
            "Pekerja {worker}: {bundle}, {months} bulan, {village}, {occupation}, prioritas {priority}.",
            "Pilihan terbaik berikutnya: {fund} ({remark}).",
            "Tidak ada penyandang dana lain yang menerima pekerja ini.",
            "Penyandang dana, yang terdekat dahulu:",
            "… dan {count} lagi",
            "Penyandang dana lain, yang terdekat dahulu:",
        ),
    }[language]
    lines = [
        words[0].format_map({**story.facts, "worker": story.worker_id}),
        say(story.reason, language, story.facts),
    ]
    if story.fund_id is not None:
        alternative = story.alternative
        lines.append(
            words[2]
            if alternative is None
            else words[1].format(fund=alternative.fund_id, remark=remark_on(alternative, language))
        )
    others = [view for view in story.funds if view.fund_id != story.fund_id]
    if others:
        lines.append(words[3] if story.fund_id is None else words[5])
        lines += [f"  {view.fund_id}: {remark_on(view, language)}" for view in others[:most_funds]]
        if len(others) > most_funds:
            lines.append("  " + words[4].format(count=len(others) - most_funds))
    return lines


def remark_on(view: FundView, language: Language) -> str:
    """What one fund means to one worker, in a few words."""
    facts = {"cost": view.cost_rupiah, "left": view.left_rupiah, "asks": view.asks}
    return _fill(FUND_REMARKS[view.obstacle][language], language, facts)
