"""Newton's method on the smooth bound: few steps, each worth a hundred of the slope's alone.

The number of prices is that of the limits, a few thousand at a nation's size,
so the whole curvature fits in memory and a step solves one dense system with
every price kept from falling below zero. Steps are damped as Levenberg and
Marquardt do; the temperature falls by halves, each start extrapolated from the
last two minimisers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import linalg

from optimizer.descent import PriceSearch, extrapolate
from optimizer.market import Float, Market, has_many_limits
from optimizer.near import NearDual, gather_near
from optimizer.problem import Bool

#: Temperatures in units of the mean score / 50, and the places among them where near arcs are gathered anew.
_TEMPERATURES = (0.2, 0.1, 0.05, 0.025)
_GATHER = (0, 2)

#: With many limits the first arcs serve longer for the bound; the second ones for the flows.
_TEMPERATURES_OF_MANY = (0.2, 0.1, 0.05, 0.05, 0.025)
_GATHER_OF_MANY = (0, 3)

#: Steps per temperature; with many limits, where a step takes a good part of a second, fewer.
_STEPS, _FEW_STEPS = 12, 8

#: The gain, as a fraction of the bound, that ends them: the finer a plan can be (many workers for each fund),
#: the finer its bound must be; never more than these. Up to so many workers every digit is cheap.
_SETTLED_PER_FUND, _SETTLED, _SOON_SETTLED = 4e-3, 2e-6, 4e-6
_FINELY_SETTLED, _CHEAP_WORKERS = 5e-7, 20_000

#: Arcs are near within so many temperatures, and within one unit anyway.
_REACH = 30.0

#: Damping of the very first step and the least of any, in natural curvatures; tries of a step.
_DAMPING, _LEAST_DAMPING, _TRIES = 0.05, 1e-4, 8

#: A bound so many times the best known says that the search went astray.
_ASTRAY = 1.01

#: Rounds of the active set: which prices stay at zero.
_ACTIVE = 5


@dataclass(frozen=True, slots=True, eq=False)
class Refined:
    """The minimiser ``flat`` of the smooth bound ``dual`` at a temperature and ramp (score units)."""

    dual: NearDual
    flat: Float
    temperature: float
    ramp: float


def refine_prices(search: PriceSearch, unit: float, seed: int, stopped: Callable[[], bool]) -> Refined | None:
    """Bring the bound of ``search`` down from where it stands; the coldest minimiser, for rounding.

    ``unit`` is the mean score / 50. ``None`` when not even the first temperature was reached.
    """
    market = search.market
    prices = search.soft
    done: Refined | None = None
    path: list[tuple[float, Float]] = []
    dual: NearDual | None = None
    damping = _DAMPING
    many = has_many_limits(market)
    temperatures, gather = (_TEMPERATURES_OF_MANY, _GATHER_OF_MANY) if many else (_TEMPERATURES, _GATHER)
    for number, temperature in enumerate(temperatures):
        if stopped():
            break
        warmth, ramp = temperature * unit, min(1.0, 5.0 * temperature) * unit
        if dual is None or number in gather:
            if number and temperatures[number - 1] == temperature:
                path.clear()
            arcs = gather_near(market, prices, max(_REACH * temperature, 1.0) * unit, 0.3 * unit, seed)
            if not len(arcs.cells):
                return None
            dual = NearDual(market, arcs)
        flat, damping = descend(dual, dual.pack(prices), warmth, ramp, stopped, damping)
        found = dual.unpack(flat)
        path.append((temperature, flat))
        offered = search.offer(found if len(path) == 1 else dual.unpack(extrapolate(path, 0.0)))
        if offered > _ASTRAY * search.bound:
            # Prices ran away from arcs that were left out: gather anew around the best known.
            prices, dual = search.prices, None
            path.clear()
            continue
        prices, done = found, Refined(dual, flat, warmth, ramp)
        if len(path) > 1 and number + 1 < len(temperatures):
            prices = dual.unpack(extrapolate(path, temperatures[number + 1]))
    search.rescale()
    return done


def descend(
    dual: NearDual,
    flat: Float,
    temperature: float,
    ramp: float,
    stopped: Callable[[], bool],
    damping: float = _DAMPING,
) -> tuple[Float, float]:
    """Minimise the smooth bound from ``flat``, prices at zero or above; also the damping it ended with."""
    many = has_many_limits(dual.market)
    least_gain = _least_gain(dual.market, many)
    scale = dual.scale(temperature)
    held: Bool | None = None
    here = dual.shares(flat, temperature, ramp)
    for _ in range(_FEW_STEPS if many else _STEPS):
        gradient, hessian = dual.slopes(here, temperature)
        for _ in range(_TRIES):
            step, promised, held = bounded_step(hessian, gradient, flat, dual.reached, damping, scale, held)
            trial = np.maximum(0.0, flat + step)
            there = dual.shares(trial, temperature, ramp)
            gain = here.value - there.value
            if gain > 0 and gain > 0.05 * promised:
                break
            damping *= 6.0
        else:
            return flat, damping
        if gain > 0.5 * promised:
            damping = max(damping / 6.0, _LEAST_DAMPING)
        elif gain < 0.25 * promised:
            damping *= 3.0
        # Where a step gained far less than promised, little gained does not say that little is left.
        settled = max(gain, promised) < least_gain * abs(there.value)
        flat, here = trial, there
        if settled or stopped():
            break
    return flat, damping


def _least_gain(market: Market, many: bool) -> float:
    workers, funds = len(market.problem.workers), len(market.problem.funds)
    if workers <= _CHEAP_WORKERS:
        return _FINELY_SETTLED
    return min(_SOON_SETTLED if many else _SETTLED, _SETTLED_PER_FUND * funds / workers)


def bounded_step(
    hessian: Float,
    gradient: Float,
    flat: Float,
    moving: Bool,
    damping: float,
    scale: Float,
    guess: Bool | None = None,
) -> tuple[Float, float, Bool]:
    """The damped Newton step that keeps ``flat`` + step at zero or above, the gain it promises, who is held.

    ``guess`` (one per limit) are prices expected to end at zero, such as those ``held`` by the step before.

    A primal-dual active set (Hintermüller, Ito and Kunisch, 2003): solve with some
    prices fixed at zero, free those whose multiplier has the wrong sign, fix
    those that would fall below, until nothing changes.
    """
    index = np.flatnonzero(moving)
    unit = scale[index]
    # Single precision: the step is damped, and taken only if the bound really falls.
    curvature = (hessian[np.ix_(index, index)] * unit[:, None] * unit[None, :]).astype(np.float32)
    curvature.flat[:: len(index) + 1] += damping
    slope, lowest = gradient[index] * unit, -flat[index] / unit
    fixed = (lowest >= -1e-9) & (slope > 0) if guess is None else guess[index]
    step = np.zeros(len(index))
    for _ in range(_ACTIVE):
        free, still = np.flatnonzero(~fixed), np.flatnonzero(fixed)
        step = np.where(fixed, lowest, 0.0)
        right = -slope[free] - curvature[np.ix_(free, still)] @ lowest[still]
        try:
            factor = linalg.cho_factor(curvature[np.ix_(free, free)], overwrite_a=True, check_finite=False)
        except linalg.LinAlgError:
            # Rounding has made it indefinite: the caller damps more.
            return np.zeros(len(flat)), np.inf, np.zeros(len(flat), dtype=np.bool_)
        step[free] = linalg.cho_solve(factor, right, check_finite=False)
        multiplier = slope + curvature @ step
        now = np.where(fixed, multiplier > 0, step < lowest)
        if np.array_equal(now, fixed):
            break
        fixed = now
    step = np.maximum(step, lowest)
    promised = -float(slope @ step + 0.5 * step @ (curvature @ step))
    whole = np.zeros(len(flat))
    whole[index] = step * unit
    held = np.zeros(len(flat), dtype=np.bool_)
    held[index] = fixed
    return whole, promised, held
