"""Synthetic workers, pledges and budget lines for the demo: seeded, so that a repeat is the same event again.

Nobody here exists. NIKs are well-formed, with serials from 9000 up, which the civil registry does not
reach on any one day; companies are named Contoh ("example"). Places, tariffs and orders of magnitude are
those of Kutai Kartanegara.
"""

from __future__ import annotations

import datetime as dt
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Final, Literal

from models.event import BudgetChanged, FundRules, PledgeChanged, ProgrammeCode
from models.region import load_regions

REGENCY: Final = "64.02"
PLEDGES: Final = 60

Sex = Literal["L", "P"]
Fault = Literal[
    "malformed_json",
    "invalid_utf8",
    "unknown_version",
    "bad_nik",
    "unknown_village",
    "bad_months",
    "fractional_rupiah",
    "same_id_other_content",
]
FAULTS: Final[tuple[Fault, ...]] = (
    "bad_nik",
    "unknown_village",
    "bad_months",
    "fractional_rupiah",
    "same_id_other_content",
    "malformed_json",
    "unknown_version",
    "invalid_utf8",
)
#: One event in this many is faulty, each kind in turn.
FAULT_EVERY: Final = 90

_COAST = ("64.02.04", "64.02.05", "64.02.13", "64.02.14", "64.02.15", "64.02.17")
_LAKES = ("64.02.01", "64.02.08", "64.02.09", "64.02.18", "64.02.19")
_MINES = ("64.02.02", "64.02.03", "64.02.07", "64.02.13", "64.02.16", "64.02.20")
_ESTATES = ("64.02.09", "64.02.10", "64.02.11", "64.02.12", "64.02.18", "64.02.19")
_OIL_AND_GAS = ("64.02.04", "64.02.05", "64.02.13", "64.02.14", "64.02.15", "64.02.17")
_TOWN = ("64.02.06", "64.02.16", "64.02.03")

_OCCUPATIONS: Final = (
    "farmer",
    "fisher",
    "labourer",
    "driver",
    "trader",
    "religious_worker",
    "village_worker",
    "non_civil_servant",
)
_OCCUPATION_WEIGHTS: Final = {
    "coast": (20, 34, 18, 8, 10, 4, 4, 2),
    "lakes": (24, 36, 14, 5, 9, 5, 5, 2),
    "town": (14, 4, 25, 20, 20, 6, 4, 7),
    "inland": (42, 8, 24, 7, 7, 5, 5, 2),
}
_HAZARD: Final = dict(zip(_OCCUPATIONS, (52, 66, 62, 58, 40, 44, 42, 38), strict=True))
_MEN_PERCENT: Final = dict(zip(_OCCUPATIONS, (62, 90, 78, 92, 38, 70, 66, 52), strict=True))
_BUNDLES: Final = (("JKK", "JKM"), ("JKK", "JKM", "JHT"), ("JKK", "JKM", "JKN"), ("JKN",))
_BUNDLE_WEIGHTS: Final = (50, 22, 16, 12)
_GIVEN_NAMES: Final = {
    "L": ("Ahmad", "Budi", "Darman", "Eko", "Hasan", "Iwan", "Joko", "Lukman", "Rahmat", "Syahrul"),
    "P": ("Aisyah", "Dewi", "Fatimah", "Hasnah", "Kartini", "Maria", "Nur", "Rusmini", "Siti", "Wati"),
}

_SERIALS = 1000  # 9000 to 9999
_DAYS = 28 * 12


@dataclass(frozen=True, slots=True)
class SampleWorker:
    """A person who does not exist, and the cover sought for them. ``fault`` says how the event is broken."""

    number: int
    nik: str
    name: str
    village: str
    occupation: str
    sex: Sex
    birth_year: int
    programmes: tuple[str, ...]
    months: int
    start_month: str
    priority: int
    fault: Fault | None = None


@dataclass(frozen=True, slots=True)
class SampleFunds:
    """The pledges and budget lines of the demo."""

    pledges: tuple[PledgeChanged, ...]
    budgets: tuple[BudgetChanged, ...]


def demo_year(today: dt.date) -> int:
    """The fiscal year the demo plans: next year's, so that no window lapses while somebody watches."""
    return today.year + 1


def sample_workers(seed: int, first: int, count: int, year: int) -> Iterator[SampleWorker]:
    """Workers ``first`` to ``first + count - 1``; the same seed, number and year give the same worker."""
    villages, weights = _weighted_villages(seed)
    for number in range(first, first + count):
        yield _make_worker(random.Random(f"worker {seed} {number}"), seed, number, year, villages, weights)


def _make_worker(
    chance: random.Random,
    seed: int,
    number: int,
    year: int,
    villages: Sequence[str],
    cumulative_weights: Sequence[float],
) -> SampleWorker:
    village = chance.choices(villages, cum_weights=cumulative_weights)[0]
    occupation = chance.choices(_OCCUPATIONS, _OCCUPATION_WEIGHTS[_setting(village[:8])])[0]
    sex: Sex = "L" if chance.random() * 100 < _MEN_PERCENT[occupation] else "P"
    age = min(18 + int(chance.betavariate(1.6, 2.0) * 47), 64)
    months = chance.choices((12, 6, 3), (75, 18, 7))[0]
    start = chance.choice((1, 1, 1, 2, 3)) if months < 12 else 1
    waiting = chance.triangular(0, 30, 6)
    priority = _HAZARD[occupation] + 0.25 * max(age - 40, 0) + waiting + chance.uniform(-10, 10)
    fault = FAULTS[number // FAULT_EVERY % len(FAULTS)] if number % FAULT_EVERY == FAULT_EVERY - 1 else None
    return SampleWorker(
        number=number,
        nik=_make_nik(chance, seed, number, village, sex, year - age),
        name=f"{chance.choice(_GIVEN_NAMES[sex])} Contoh {number:06d}",
        village="64.02.99.2001" if fault == "unknown_village" else village,
        occupation=occupation,
        sex=sex,
        birth_year=year - age,
        programmes=chance.choices(_BUNDLES, _BUNDLE_WEIGHTS)[0],
        months=13 if fault == "bad_months" else months,
        start_month=f"{year}-{start:02d}",
        priority=max(1, min(100, round(priority))),
        fault=fault,
    )


def _make_nik(chance: random.Random, seed: int, number: int, village: str, sex: Sex, birth_year: int) -> str:
    """A synthetic NIK. Serial and birthday follow from the number, so that no two workers share one."""
    serial = number % _SERIALS
    day_of_year = (number // _SERIALS + serial * 37 + seed * 101) % _DAYS
    month, day = day_of_year // 28 + 1, day_of_year % 28 + 1
    # The prefix is where the card was issued; one in ten was issued elsewhere in the regency.
    district = village[:8] if chance.random() < 0.9 else f"{REGENCY}.{chance.randint(1, 18):02d}"
    birthday = f"{day + (40 if sex == 'P' else 0):02d}{month:02d}{birth_year % 100:02d}"
    return f"{district.replace('.', '')}{birthday}{9000 + serial:04d}"


@cache
def _weighted_villages(seed: int) -> tuple[tuple[str, ...], tuple[float, ...]]:
    """Villages and cumulative weights: a few large ones, a long tail, kelurahan larger than desa."""
    chance = random.Random(f"villages {seed}")
    villages, cumulative, total = [], [], 0.0
    for region in load_regions():
        if region.level == "village" and region.code.startswith(f"{REGENCY}."):
            total += chance.lognormvariate(0, 0.8) * (2.2 if region.kind == "kelurahan" else 1.0)
            villages.append(region.code)
            cumulative.append(total)
    return tuple(villages), tuple(cumulative)


def _setting(district: str) -> str:
    if district in _TOWN:
        return "town"
    if district in _COAST:
        return "coast"
    return "lakes" if district in _LAKES else "inland"


@dataclass(frozen=True, slots=True)
class _Donor:
    """A kind of company: what it is called, where it works and whom it wants to reach."""

    word: str
    label: str
    share: int
    districts: tuple[str, ...] = ()
    occupations: tuple[tuple[str, ...], ...] = field(default=((),))


_DONORS: Final = (
    _Donor("MIGAS", "Contoh Energi", 10, _OIL_AND_GAS, (("fisher",), (), ("fisher", "trader"))),
    _Donor(
        "BATUBARA", "Contoh Batu Bara", 18, _MINES, ((), (), ("farmer", "labourer"), ("labourer", "driver"))
    ),
    _Donor("SAWIT", "Contoh Sawit", 14, _ESTATES, ((), ("farmer", "labourer"), ("village_worker", "farmer"))),
    _Donor("HTI", "Contoh Hutan Lestari", 6, ("64.02.07", "64.02.11", "64.02.12"), ((), ("farmer",))),
    _Donor("BANK", "Contoh Bank", 5, (), (("trader",), (), ("religious_worker", "village_worker"))),
    _Donor(
        "NIAGA", "Contoh Niaga Mahakam", 7, (), (("driver",), ("fisher", "trader"), ("religious_worker",))
    ),
)


def sample_funds(seed: int, year: int) -> SampleFunds:
    """Four APBD lines (Rp 10 billion of pagu, of which a first part is released) and 60 pledges."""
    rest = [donor for donor in _DONORS for _ in range(donor.share - 1)]
    random.Random(f"donors {seed}").shuffle(rest)
    donors = [*_DONORS, *rest]  # the greatest pledges come from one company of each kind
    pledges = tuple(_make_pledge(seed, rank, donor, year) for rank, donor in enumerate(donors, 1))
    return SampleFunds(pledges, _make_budgets(year))


def _make_pledge(seed: int, rank: int, donor: _Donor, year: int) -> PledgeChanged:
    chance = random.Random(f"pledge {seed} {rank}")
    # One of Rp 2 billion, a few around Rp 100 million, most of 20 to 40 million.
    amount_rupiah = 2_000_000_000 if rank == 1 else round(20 + 200 * rank**-1.2) * 1_000_000
    large, small = rank <= 8, rank > 30
    last_month = 12 if large else chance.choices((12, 9, 6), (8, 1, 1))[0]
    bundles: tuple[tuple[ProgrammeCode, ...], ...] = ((), ("JKK", "JKM"), ("JKK", "JKM", "JHT"), ("JKN",))
    rules = FundRules(
        regions=_near(chance, donor.districts, large=large, small=small),
        occupations=() if large else chance.choice(donor.occupations),
        programmes=chance.choices(bundles, (5, 4, 2, 1))[0] if rank > 1 else ("JKK", "JKM"),
        max_months=chance.choice((None, None, 12, 6)) if last_month == 12 and not large else None,
        # The great pledges spread themselves: a number of people, and no district takes it all.
        head_count_cap=1_000 if rank == 1 else chance.choice((None, None, 300, 500)),
        district_cap=chance.choice((150, 250, 400)) if rank <= 12 else None,
        min_workers=chance.choice((None, None, None, 25)) if small else None,
    )
    return PledgeChanged(
        fund_id=f"TJSLP-{year}-{donor.word}-{rank:02d}",
        revision=1,
        regency=REGENCY,
        name=f"PT {donor.label} {rank:02d}",
        window_from=f"{year}-01",
        window_to=f"{year}-{last_month:02d}",
        rules=rules,
        funder=f"PT {donor.label} {rank:02d}",
        npwp=_make_npwp(seed, rank),
        amount_rupiah=amount_rupiah,
    )


def _near(chance: random.Random, districts: Sequence[str], *, large: bool, small: bool) -> tuple[str, ...]:
    """Where a company gives: all its districts, one or two, or the villages around its site (ring 1)."""
    if not districts or large:
        return tuple(sorted(districts))
    district = chance.choice(districts)
    if not small or chance.random() < 0.3:
        return tuple(sorted(chance.sample(districts, 2)))
    if chance.random() < 0.5:
        return (district,)
    villages = [region.code for region in load_regions() if region.parent == district]
    return tuple(sorted(chance.sample(villages, min(len(villages), 5))))


def _make_npwp(seed: int, rank: int) -> str:
    """A synthetic NPWP of the 15-digit form, from a range the tax office has not given out."""
    from stdnum import luhn

    stem = f"98{(seed * 997 + rank) % 1_000_000:06d}"
    return f"{stem}{luhn.calc_check_digit(stem)}728000"


def _make_budgets(year: int) -> tuple[BudgetChanged, ...]:
    lines: tuple[tuple[str, str, str, int, int, tuple[str, ...], tuple[ProgrammeCode, ...]], ...] = (
        ("NELAYAN-PETANI", "5.1.02.01", "Iuran JKK dan JKM nelayan dan petani", 4_200, 130,
         ("farmer", "fisher"), ("JKK", "JKM")),
        ("BURUH-PENGEMUDI", "5.1.02.02", "Iuran JKK dan JKM buruh, pengemudi, dan pedagang", 3_000, 90,
         ("labourer", "driver", "trader"), ("JKK", "JKM")),
        ("KEAGAMAAN-DESA", "5.1.02.03", "Iuran JKK dan JKM pekerja keagamaan, desa, dan non-ASN", 1_000, 30,
         ("religious_worker", "village_worker", "non_civil_servant"), ("JKK", "JKM")),
        ("JKN", "5.1.02.04", "Iuran JKN kelas III pekerja rentan", 1_800, 60, (), ("JKN",)),
    )  # fmt: skip
    return tuple(
        BudgetChanged(
            fund_id=f"APBD-{year}-{word}",
            revision=1,
            regency=REGENCY,
            name=f"{name}, TA {year}",
            window_from=f"{year}-01",
            window_to=f"{year}-12",
            rules=FundRules(occupations=occupations, programmes=programmes),
            fiscal_year=year,
            account_code=account,
            ceiling_rupiah=ceiling * 1_000_000,
            released_rupiah=released * 1_000_000,
        )
        for word, account, name, ceiling, released, occupations, programmes in lines
    )
