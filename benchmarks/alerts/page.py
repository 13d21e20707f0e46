"""The alerts' sections of docs/BENCHMARKS.md, each between markers of its own."""

from __future__ import annotations

import os
import platform
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "BENCHMARKS.md"


def describe_machine(load_before: float) -> str:
    """Where it ran, and what else the machine was doing."""
    return (
        f"{os.cpu_count()} cores, Python {platform.python_version()}, load average {load_before:.1f}"
        f" before it began and {os.getloadavg()[0]:.1f} at the end"
    )


def write_section(name: str, lines: list[str], *, dry: bool) -> None:
    """Print the section and, unless ``dry``, put it between its markers; the rest of the page stays."""
    text = "\n".join(lines)
    print(text)
    if dry:
        return
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    page = PAGE.read_text()
    if begin not in page:
        page = page.rstrip() + f"\n\n{begin}\n{end}\n"
    before, _, rest = page.partition(begin)
    _, _, after = rest.partition(end)
    PAGE.write_text(f"{before}{begin}\n{text}\n{end}{after}")
