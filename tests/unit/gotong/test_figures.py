"""Figures in words: a promise is never rounded in our favour."""

from __future__ import annotations

import datetime as dt

import pytest
from rich.console import Console

from gotong.demo_screen import DemoProgress, draw
from gotong.figures import draw_bar, say_gap, say_rupiah, say_short_rupiah
from workflow.report import DistrictFigures, FundFigures, Overview, RunFigures


@pytest.mark.parametrize(
    ("gap", "words"),
    [
        (0.0, "no other match could do better (proven)"),
        (0.0003, "at most 0.03 % from the best possible"),
        (0.00031, "at most 0.04 % from the best possible"),
        (0.0000001, "at most 0.01 % from the best possible"),
        (0.25, "at most 25.00 % from the best possible"),
    ],
)
def test_a_gap_is_rounded_up(gap: float, words: str) -> None:
    assert say_gap(gap) == words


def test_rupiah_are_said_in_full_or_in_short() -> None:
    assert say_rupiah(1_720_000_001) == "Rp 1,720,000,001"
    assert say_short_rupiah(1_720_000_001) == "Rp 1.72 billion"
    assert say_short_rupiah(432_100_000) == "Rp 432 million"
    assert say_short_rupiah(201_600) == "Rp 201,600"


@pytest.mark.parametrize(
    ("ratio", "bar"), [(0, "    "), (0.5, "██  "), (1, "████"), (0.03125, "▏   "), (7, "████")]
)
def test_a_bar_is_always_as_wide_as_asked(ratio: float, bar: str) -> None:
    assert draw_bar(ratio, 4) == bar


@pytest.mark.parametrize(("width", "height"), [(140, 40), (80, 24), (60, 12)])
def test_the_picture_fits_every_terminal(width: int, height: int) -> None:
    fund = FundFigures(
        "APBD-1", "Iuran [JKK] nelayan", "apbd", 100_000_000, 40_000_000, 0, 0, 0, dt.date(2027, 12, 1), 210
    )
    figures = Overview(
        regency="64.02",
        events_received=1_010,
        outcomes={"registered": 1_000},
        registered=1_000,
        rejected=10,
        waiting=200,
        proposed=800,
        reserved_rupiah=40_000_000,
        funds=(fund,) * 64,
        districts=(DistrictFigures("64.02.06", "Tenggarong Seberang", 50, 40),) * 20,
        last_run=RunFigures("FEASIBLE", 0.0003, dt.datetime.now(dt.UTC), 1_000, 800, 1.2),
        under_way=None,
        dead_letters={"nik_invalid": 10},
    )
    console = Console(width=width, height=height, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    with console.file:
        console.print(draw(DemoProgress(500, 1_000, 2.0, figures), width, height))
    lines = console.export_text().splitlines()
    assert max(len(line) for line in lines) <= width
    assert "1,010 events in" in lines[1]
    assert "at most 0.03 %" in "".join(lines[:5])
