"""A fund's futures: what ends is asked for again, and again; the unknown widens the interval."""

from __future__ import annotations

import numpy as np

from workflow.forecast import FundHistory, Term, forecast_fund

NONE = np.zeros(0, dtype=np.int64)
ALWAYS = 1_000_000  # so many lines have ended, and all were renewed


def test_a_renewal_is_renewed_when_it_ends_in_turn() -> None:
    ending = np.zeros(200, dtype=np.int64)
    ending[10] = 1_000
    quarter = [Term(90, 0.0, ending)]
    forecast = forecast_fund(FundHistory(1_500, 200, NONE, quarter, ALWAYS, ALWAYS))
    assert (forecast.early_days, forecast.likely_days, forecast.late_days) == (100, 100, 100)
    enough = forecast_fund(FundHistory(3_500, 200, NONE, quarter, ALWAYS, ALWAYS))
    # On days 10, 100 and 190.
    assert enough.exhaustion_chance == 0.0 and 499 <= enough.left_likely_rupiah <= 501


def test_new_workers_ask_again_when_their_cover_ends() -> None:
    steady = np.full(70, 100, dtype=np.int64)
    once = FundHistory(10**6, 180, steady, [Term(365, 1.0, NONE)], ALWAYS, ALWAYS)
    again = FundHistory(10**6, 180, steady, [Term(90, 1.0, NONE)], ALWAYS, ALWAYS)
    spent = [10**6 - forecast_fund(each).left_likely_rupiah for each in (once, again)]
    assert 16_000 < spent[0] < 20_000, "180 days of 100 rupiah"
    assert 1.4 < spent[1] / spent[0] < 1.6, "those of the first half come again in the second"


def test_the_further_the_end_the_wider_the_interval() -> None:
    steady = np.full(70, 100, dtype=np.int64)
    widths = []
    for days in (30, 120, 300):
        forecast = forecast_fund(FundHistory(10**6, days, steady, [], 0, 0))
        spent = 10**6 - forecast.left_likely_rupiah
        widths.append((forecast.left_high_rupiah - forecast.left_low_rupiah) / spent)
    assert widths == sorted(widths) and widths[-1] > 1.5 * widths[0]
    assert forecast_fund(FundHistory(10**6, 0, steady, [], 0, 0)).left_likely_rupiah == 10**6
