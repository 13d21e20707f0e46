"""Forecast: when a fund's money ends, or what of it will be left. Pure; see docs/decisions/0020-alerts.md.

A fund burns in two ways that a line through its total cannot tell apart. *Renewals* are on the
calendar: cover that was paid for three, six or twelve months ends on a known day and most of it is asked
for again, and again when that ends. *Arrivals* are new workers; their past weeks are drawn from at random, a
recent week more often than an old one, with its busy and its empty days together, at a level that drifts;
they renew too, once their own cover ends. Many such futures are played through; their spread is the interval.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Amounts = npt.NDArray[np.int64]

_FUTURES = 300
_BLOCK_DAYS = 7
#: A week this many days back is drawn half as often as the present one.
_HALF_LIFE_DAYS = 90.0
#: What is believed of renewals before a fund has seen its own: 17 of 20, weighed like 20 of them.
_RENEWED_BEFORE, _ENDED_BEFORE = 17.0, 20.0
#: How far the level of arrivals wanders in a week, as a share of itself.
_WEEKLY_DRIFT = 0.09


@dataclass(frozen=True, slots=True, eq=False)
class Term:
    """Cover of one length: its ``share`` of what new workers took (0 to 1), and what such cover that ends on
    each day from today on cost, i.e. the renewals that may be asked for then."""

    days: int
    share: float
    ending_rupiah: Amounts


@dataclass(frozen=True, slots=True, eq=False)
class FundHistory:
    """A fund's past and calendar; day 0 is today.

    ``arrivals_rupiah``: what new workers took per day, oldest first, yesterday last.
    ``ended`` and ``renewed``: lines of cover that have ended, and those that were followed by another.
    """

    available_rupiah: int
    days_left: int
    arrivals_rupiah: Amounts
    terms: Sequence[Term]
    ended: int
    renewed: int


@dataclass(frozen=True, slots=True)
class Forecast:
    """Days from today, ``None`` where the money outlasts the window; amounts are 10, 50 and 90 in 100."""

    exhaustion_chance: float
    early_days: int | None
    likely_days: int | None
    late_days: int | None
    left_low_rupiah: int
    left_likely_rupiah: int
    left_high_rupiah: int
    missing_rupiah: int


def forecast_fund(history: FundHistory, seed: int = 0) -> Forecast:
    """Play the fund's futures until its window ends. The same history and seed give the same answer."""
    days = history.days_left
    if days <= 0:
        rest = history.available_rupiah
        return Forecast(0.0, None, None, None, rest, rest, rest, 0)
    random = np.random.default_rng(seed)
    arrivals = _draw_arrivals(random, history.arrivals_rupiah, days)
    burn = _add_renewals(random, history, arrivals)
    spent = np.cumsum(burn, axis=1)
    total = spent[:, -1]
    # A fund is exhausted when what is asked for does not fit any more.
    exhausted = spent > history.available_rupiah
    ends = np.where(exhausted.any(axis=1), exhausted.argmax(axis=1), days)
    chance = float((ends < days).mean())

    def day(share: float) -> int | None:
        place = int(np.quantile(ends, share, method="nearest"))
        return place if place < days else None

    left = np.maximum(history.available_rupiah - total, 0)
    low, likely, high = (int(amount) for amount in np.quantile(left, (0.1, 0.5, 0.9)))
    missing = max(0, int(np.quantile(total, 0.5)) - history.available_rupiah)
    return Forecast(chance, day(0.1), day(0.5), day(0.9), low, likely, high, missing)


def _draw_arrivals(random: np.random.Generator, past: Amounts, days: int) -> npt.NDArray[np.float64]:
    """Futures x days, put together from whole weeks of the past."""
    if not len(past) or not past.any():
        return np.zeros((_FUTURES, days))
    starts = np.arange(max(1, len(past) - _BLOCK_DAYS + 1))
    age = len(past) - 1 - starts
    weight = 0.5 ** (age / _HALF_LIFE_DAYS)
    blocks = math.ceil(days / _BLOCK_DAYS)
    chosen = random.choice(starts, size=(_FUTURES, blocks), p=weight / weight.sum())
    # The level itself is uncertain: what few weeks show may be off for all of a future.
    weeks = max(1.0, weight.sum() / _BLOCK_DAYS)
    weekly = past[: len(past) // _BLOCK_DAYS * _BLOCK_DAYS].reshape(-1, _BLOCK_DAYS).sum(axis=1)
    spread = float(weekly.std() / weekly.mean()) if len(weekly) > 1 and weekly.mean() else 1.0
    shape = weeks / max(spread, 0.1) ** 2
    level = random.gamma(shape, 1 / shape, size=(_FUTURES, 1))
    offsets = np.arange(min(_BLOCK_DAYS, len(past)))
    drawn = past[(chosen[:, :, None] + offsets)].reshape(_FUTURES, -1)
    repeats = math.ceil(days / drawn.shape[1])
    drift = np.exp(np.cumsum(random.normal(0.0, _WEEKLY_DRIFT, size=(_FUTURES, blocks)), axis=1))
    level = level * np.repeat(drift, _BLOCK_DAYS, axis=1)[:, :days]
    return np.asarray(np.tile(drawn, repeats)[:, :days] * level)


def _add_renewals(
    random: np.random.Generator, history: FundHistory, arrivals: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Futures x days: arrivals, the calendar's endings, and what either asks for when it ends in turn; each
    future with a renewal rate of its own."""
    days = arrivals.shape[1]
    rate = random.beta(
        _RENEWED_BEFORE + history.renewed,
        _ENDED_BEFORE - _RENEWED_BEFORE + max(0, history.ended - history.renewed),
        size=(_FUTURES, 1),
    )
    burn = np.zeros_like(arrivals)
    if not history.terms:
        return arrivals
    for term in history.terms:
        known = np.zeros(days)
        known[: len(term.ending_rupiah)] = term.ending_rupiah[:days]
        asked = arrivals * term.share + known * rate
        for start in range(term.days, days, term.days):
            end = min(start + term.days, days)
            asked[:, start:end] += asked[:, start - term.days : end - term.days] * rate
        burn += asked
    return burn
