"""A section of docs/BENCHMARKS.md that a benchmark writes anew, between markers of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Final

PAGE: Final = Path(__file__).parents[1] / "docs" / "BENCHMARKS.md"


def write_section(name: str, section: str, page: Path = PAGE) -> None:
    """Put the section in place of the former one, or at the end of the page; the rest stays as it is."""
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    content = page.read_text(encoding="utf-8") if page.exists() else "# Benchmarks\n"
    if begin not in content:
        content = f"{content.rstrip()}\n\n{begin}\n{end}\n"
    before, _, rest = content.partition(begin)
    _, _, after = rest.partition(end)
    page.write_text(f"{before}{begin}\n{section.strip()}\n{end}{after}", encoding="utf-8")
