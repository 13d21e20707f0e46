"""Which region codes the offline match accepts.

Gotong carries the villages of some provinces (``models/data/regions.csv``). Inside those a code
must be in the table: ``64.02.99.2001`` is refused, because district 64.02.99 does not exist. For
every other province of Indonesia a well-formed code is taken as it stands, so that a province or
the nation can be matched without its table; a code with an unknown province is refused anywhere.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from models.region import load_regions

#: Kemendagri's 38 province codes.
PROVINCES = frozenset(
    str(code)
    for group in ((11, 19), (21, 21), (31, 36), (51, 53), (61, 65), (71, 76), (81, 82), (91, 96))
    for code in range(group[0], group[1] + 1)
)

_VILLAGE = re.compile(r"[0-9]{2}\.(?!00)[0-9]{2}\.(?!00)[0-9]{2}\.[1-9][0-9]{3}")
_PREFIX = re.compile(r"[0-9]{2}(\.(?!00)[0-9]{2}(\.(?!00)[0-9]{2}(\.[1-9][0-9]{3})?)?)?")
_LEVELS = ("province", "regency or city", "district", "village")


@dataclass(frozen=True, slots=True)
class RegionCodes:
    """The codes at every level of the provinces whose villages are carried."""

    codes: frozenset[str]
    listed_provinces: frozenset[str]

    @classmethod
    def from_codes(cls, codes: Iterable[str]) -> RegionCodes:
        """A province counts as listed when at least one of its villages is among ``codes``."""
        kept = frozenset(codes)
        return cls(kept, frozenset(code[:2] for code in kept if code.count(".") == 3))

    def village_fault(self, code: str) -> str | None:
        """What is wrong with a village code, or None."""
        if not _VILLAGE.fullmatch(code):
            return "expected a village code such as 64.02.05.2001"
        return self._unknown(code)

    def prefix_fault(self, code: str) -> str | None:
        """What is wrong with a fund's region, a code of any level, or None."""
        if not _PREFIX.fullmatch(code):
            return "expected region codes such as 64, 64.02, 64.02.05 or 64.02.05.2001, joined by ;"
        return self._unknown(code)

    def _unknown(self, code: str) -> str | None:
        parts = code.split(".")
        if parts[0] not in PROVINCES:
            return f"there is no province {parts[0]}; expected a known Kemendagri code"
        if parts[0] not in self.listed_provinces:
            return None
        for level in range(len(parts)):
            prefix = ".".join(parts[: level + 1])
            if prefix not in self.codes:
                return f"there is no {_LEVELS[level]} {prefix}; expected a known Kemendagri code"
        return None


def known_regions() -> RegionCodes:
    """The codes that Gotong carries."""
    return RegionCodes.from_codes(region.code for region in load_regions())
