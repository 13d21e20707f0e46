"""The demo's screen: a live display in a terminal, plain lines in a file or pipe."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from typing import Protocol, Self

from rich import box
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from gotong.figures import draw_bar, say_gap, say_short_rupiah
from workflow.report import FundFigures, Overview

_PLAIN_EVERY_SECONDS = 3.0
_LINES_BESIDE_TABLES = 9


@dataclass(frozen=True, slots=True)
class DemoProgress:
    """How far the stream is, and the regency's figures at this moment."""

    sent: int
    total: int
    seconds: float
    figures: Overview


class Screen(Protocol):
    """Where the demo shows itself; a context while figures change."""

    def say(self, line: str) -> None:
        """A line that stays."""

    def show(self, progress: DemoProgress) -> None:
        """The figures now, in place of those before."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...


class PlainScreen:
    """Lines only; a line of figures every few seconds."""

    def __init__(self) -> None:
        self._shown_at = 0.0

    def say(self, line: str) -> None:
        """Print the line."""
        sys.stdout.write(line + "\n")
        sys.stdout.flush()

    def show(self, progress: DemoProgress) -> None:
        """Print the figures, unless it was done a moment ago."""
        now = time.monotonic()
        if now - self._shown_at < _PLAIN_EVERY_SECONDS:
            return
        self._shown_at = now
        figures = progress.figures
        self.say(
            f"{progress.seconds:5.1f} s  sent {progress.sent:,}  events in {figures.events_received:,}"
            f"  registered {figures.registered:,}  rejected {figures.rejected:,}"
            f"  proposed {figures.proposed:,}  reserved {say_short_rupiah(figures.reserved_rupiah)}"
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return None


class TerminalScreen:
    """A live picture that fits the terminal."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(highlight=False)
        self._live: Live | None = None

    def say(self, line: str) -> None:
        """Print the line; above the picture while that is live."""
        self._console.print(escape(line))

    def show(self, progress: DemoProgress) -> None:
        """Draw the figures."""
        if self._live is not None:
            self._live.update(draw(progress, self._console.width, self._console.height), refresh=True)

    def __enter__(self) -> Self:
        self._live = Live(console=self._console, auto_refresh=False, vertical_overflow="crop")
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None


def draw(progress: DemoProgress, width: int, height: int) -> RenderableType:
    """The picture: counters on top, money and districts side by side (or below each other when narrow)."""
    figures = progress.figures
    rows = max(4, min(20, height - _LINES_BESIDE_TABLES))
    funds, districts = _draw_funds(figures, rows), _draw_districts(figures, rows)
    if width >= 110:
        tables: RenderableType = Table.grid(padding=(0, 3))
        assert isinstance(tables, Table)
        tables.add_row(districts, funds)
    else:
        half = max(3, (height - _LINES_BESIDE_TABLES - 4) // 2)
        tables = Group(_draw_funds(figures, min(half, 6)), _draw_districts(figures, half))
    return Group(
        _draw_stream(progress, width),
        _draw_counters(figures, 6 if width >= 110 else 3),
        _draw_match(figures),
        tables,
    )


def _draw_stream(progress: DemoProgress, width: int) -> Text:
    share = progress.sent / progress.total if progress.total else 1.0
    rate = progress.sent / progress.seconds if progress.seconds else 0.0
    words = f" {progress.sent:,} of {progress.total:,} events sent, {rate:,.0f}/s"
    return Text.assemble(
        (draw_bar(share, max(10, min(50, width - len(words) - 2))), "cyan"), words, no_wrap=True
    )


def _draw_counters(figures: Overview, columns: int) -> Table:
    table = Table.grid(padding=(0, 3))
    cells = (
        ("events in", f"{figures.events_received:,}", "bold"),
        ("registered", f"{figures.registered:,}", "bold"),
        ("rejected", f"{figures.rejected:,}", "bold red" if figures.rejected else "bold"),
        ("proposed", f"{figures.proposed:,}", "bold green"),
        ("waiting", f"{figures.waiting:,}", "bold"),
        ("reserved", say_short_rupiah(figures.reserved_rupiah), "bold green"),
    )
    texts = [Text.assemble((value, style), " ", (name, "dim")) for name, value, style in cells]
    for first in range(0, len(texts), columns):
        table.add_row(*texts[first : first + columns])
    return table


def _draw_match(figures: Overview) -> Text:
    run = figures.last_run
    if run is None:
        return Text("no match yet", style="dim")
    words = f"last match: {run.proposed:,} of {run.needs:,} needs in {run.seconds:.1f} s, {say_gap(run.gap)}"
    return Text(words, no_wrap=True)


def _draw_funds(figures: Overview, rows: int) -> Table:
    table = Table("Fund", "", "Reserved", "Workers", box=box.SIMPLE_HEAD, pad_edge=False)
    table.columns[0].no_wrap = True
    table.columns[0].max_width = 36
    table.columns[2].justify = table.columns[3].justify = "right"
    # By the fund's size, which does not change, so that the lines stand still.
    for fund in sorted(figures.funds, key=lambda each: (-each.pledged_rupiah, each.code))[:rows]:
        colour = "yellow" if fund.kind == "apbd" else "cyan"
        table.add_row(
            Text(fund.name, overflow="ellipsis"),
            Text(draw_bar(_used(fund), 10), style=f"{colour} on grey23"),
            say_short_rupiah(fund.reserved_rupiah),
            f"{fund.workers:,}",
        )
    return table


def _draw_districts(figures: Overview, rows: int) -> Table:
    table = Table("District", "Coverage", "", "Workers", box=box.SIMPLE_HEAD, pad_edge=False)
    table.columns[2].justify = table.columns[3].justify = "right"
    for district in figures.districts[:rows]:
        table.add_row(
            district.name,
            Text(draw_bar(district.ratio or 0.0, 16), style="green on grey23"),
            "–" if district.ratio is None else f"{100 * district.ratio:.0f} %",
            f"{district.workers:,}",
        )
    return table


def _used(fund: FundFigures) -> float:
    return 1 - fund.available_rupiah / fund.pledged_rupiah if fund.pledged_rupiah else 0.0
