"""The allocation policy: which tiers count, in which order, and how firmly.

A policy is stored with every run, so a plan can be read years later beside the
aims it was made for.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

CoverageCounts = Literal["workers", "worker_months"]

#: Every tier that the optimiser knows, in the default order.
TIER_NAMES = ("coverage", "equity", "apbd_saving", "stability", "cohesion")

_POLICY_KEYS = frozenset({"name", "coverage_counts", "tiers"})
_TIER_KEYS = frozenset({"name", "tolerance", "weight"})


class PolicyError(ValueError):
    """A policy that cannot be followed; the message names the field at fault."""


@dataclass(frozen=True, slots=True)
class Tier:
    """One aim of a policy.

    ``tolerance`` is the fraction of this tier's value (0.0001 = 0.01 %) that
    all later tiers together may give up. ``weight`` is this tier's share when
    earlier tolerances are divided among the tiers that follow them: with
    weights 2, 1, 1 the first of three later tiers may use half.
    """

    name: str
    tolerance: float = 0.0
    weight: float = 1.0

    def __post_init__(self) -> None:
        if self.name not in TIER_NAMES:
            raise PolicyError(f"tier name {self.name!r} is unknown; choose from {', '.join(TIER_NAMES)}")
        _require_fraction(f"tier {self.name}: tolerance", self.tolerance)
        if not _is_number(self.weight) or not math.isfinite(self.weight) or self.weight < 0:
            raise PolicyError(f"tier {self.name}: weight must be a number of at least 0, not {self.weight!r}")


@dataclass(frozen=True, slots=True)
class Policy:
    """Tiers in lexicographic order, and what the coverage tier counts.

    ``coverage_counts`` is ``workers`` (the sum of priority scores of funded
    workers, which favours short and cheap cover) or ``worker_months`` (each
    score times the months covered).
    """

    tiers: tuple[Tier, ...]
    coverage_counts: CoverageCounts = "workers"
    name: str = "default"

    def __post_init__(self) -> None:
        if self.coverage_counts not in get_args(CoverageCounts):
            raise PolicyError(
                f"coverage_counts must be 'workers' or 'worker_months', not {self.coverage_counts!r}"
            )
        if not self.name:
            raise PolicyError("name must be a text of at least one character")
        names = [tier.name for tier in self.tiers]
        if not names or names[0] != "coverage":
            raise PolicyError("the first tier must be coverage: without it nothing needs to be funded at all")
        for name in names:
            if names.count(name) > 1:
                raise PolicyError(f"tier {name} stands more than once")

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, object]) -> Policy:
        """Read a policy from plain data, as a TOML or JSON reader gives it.

        Keys: ``name`` (text), ``coverage_counts``, and ``tiers``: a list whose
        entries are tier names or tables of ``name``, ``tolerance``, ``weight``.
        Missing keys keep the default policy's values. Raises ``PolicyError``.
        """
        _refuse_unknown("policy", mapping, _POLICY_KEYS)
        name = mapping.get("name", DEFAULT_POLICY.name)
        counts = mapping.get("coverage_counts", DEFAULT_POLICY.coverage_counts)
        if not isinstance(name, str):
            raise PolicyError(f"name must be a text, not {name!r}")
        if counts != "workers" and counts != "worker_months":
            raise PolicyError(f"coverage_counts must be 'workers' or 'worker_months', not {counts!r}")
        if "tiers" not in mapping:
            return cls(tiers=DEFAULT_POLICY.tiers, coverage_counts=counts, name=name)
        entries = mapping["tiers"]
        if not isinstance(entries, list | tuple):
            raise PolicyError("tiers must be a list of tier names or tables")
        return cls(
            tiers=tuple(_read_tier(number, entry) for number, entry in enumerate(entries, start=1)),
            coverage_counts=counts,
            name=name,
        )

    def to_mapping(self) -> dict[str, object]:
        """Plain data that ``from_mapping`` reads back to an equal policy."""
        return {
            "name": self.name,
            "coverage_counts": self.coverage_counts,
            "tiers": [
                {"name": tier.name, "tolerance": tier.tolerance, "weight": tier.weight} for tier in self.tiers
            ],
        }

    def allowance(self, earlier: int, later: int) -> float:
        """The fraction of tier ``earlier`` that may be gone once tier ``later`` is done.

        Tolerances are used up in order, by weight, so a late tier can never
        find that an earlier one spent its share.
        """
        following = self.tiers[earlier + 1 :]
        total = sum(tier.weight for tier in following)
        if total <= 0:
            return 0.0
        used = sum(tier.weight for tier in self.tiers[earlier + 1 : later + 1])
        return self.tiers[earlier].tolerance * used / total


def _read_tier(number: int, entry: object) -> Tier:
    if isinstance(entry, str):
        return Tier(entry, tolerance=_default_tolerance(entry))
    if not isinstance(entry, Mapping):
        raise PolicyError(f"tier {number} must be a tier name or a table, not {entry!r}")
    _refuse_unknown(f"tier {number}", entry, _TIER_KEYS)
    name = entry.get("name")
    if not isinstance(name, str):
        raise PolicyError(f"tier {number} needs a name")
    tolerance = entry.get("tolerance", _default_tolerance(name))
    weight = entry.get("weight", 1.0)
    if not _is_number(tolerance):
        raise PolicyError(f"tier {name}: tolerance must be a number, not {tolerance!r}")
    if not _is_number(weight):
        raise PolicyError(f"tier {name}: weight must be a number, not {weight!r}")
    assert isinstance(tolerance, int | float) and isinstance(weight, int | float)
    return Tier(name, float(tolerance), float(weight))


def _default_tolerance(name: str) -> float:
    return next((tier.tolerance for tier in DEFAULT_POLICY.tiers if tier.name == name), 0.0)


def _refuse_unknown(where: str, mapping: Mapping[str, object], known: frozenset[str]) -> None:
    for key in mapping:
        if key not in known:
            raise PolicyError(f"{where}: unknown key {key!r}; known keys are {', '.join(sorted(known))}")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _require_fraction(what: str, value: float) -> None:
    if not _is_number(value) or not 0.0 <= value < 1.0:
        raise PolicyError(f"{what} must be a fraction from 0 to below 1, not {value!r}")


#: Coverage, then equity, then APBD saving, then stability, then cohesion.
DEFAULT_POLICY = Policy(
    tiers=(
        Tier("coverage", tolerance=0.0001),
        Tier("equity", tolerance=0.001),
        Tier("apbd_saving", tolerance=0.001),
        Tier("stability"),
        Tier("cohesion"),
    ),
)
