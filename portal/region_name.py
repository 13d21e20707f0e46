"""The names of districts and villages, for every page that shows a code."""

from __future__ import annotations

from functools import cache

from models.region import load_regions


@cache
def _names() -> dict[str, str]:
    return {region.code: region.name for region in load_regions()}


def region_name(code: str) -> str:
    """The official name of a regency, district or village; the code itself when it is unknown."""
    return _names().get(code, code)
