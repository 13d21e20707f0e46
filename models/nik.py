"""NIK: the 16-digit identity number, PPRRSS + DDMMYY + serial; women's day of birth has 40 added.

Format and place are judged by python-stdnum. Three things it does not do are added here: the
district must exist where the region table knows the regency's districts, the places it does not
list yet (``models/data/nik_places.csv``) are accepted, and a day above 71 is refused.

The prefix is the place of *issue*: any regency of the country is right, whatever the village of
residence. Sex and birth year of the NIK are no proof against what is reported: a number is for
life, also when the civil registry corrects the birth date or sex. A difference is therefore worth
a warning to a person who types, not a refusal.
"""

from __future__ import annotations

import datetime as dt
from functools import lru_cache

from stdnum.exceptions import ValidationError
from stdnum.id import nik as stdnum_nik

from models.region import RegionTable

_WOMENS_DAY_OFFSET = 40


class NikError(ValueError):
    """Not a possible NIK. The message says why and never holds the number."""


def check_nik(nik: str, regions: RegionTable) -> None:
    """Raise :class:`NikError` unless ``nik`` is 16 digits of a known place and a real birth date."""
    if len(nik) != 16 or not (nik.isascii() and nik.isdigit()):
        raise NikError("a NIK has 16 digits")
    regency = f"{nik[:2]}.{nik[2:4]}"
    if not (regions.is_nik_place(regency) or _stdnum_knows_place(nik[:4])):
        raise NikError("its first four digits are no regency or city")
    if not regions.issues_nik(f"{regency}.{nik[4:6]}"):
        raise NikError("its first six digits are no district")
    day, month, year = int(nik[6:8]), int(nik[8:10]), int(nik[10:12])
    if day > _WOMENS_DAY_OFFSET:
        day -= _WOMENS_DAY_OFFSET
    try:
        # 2000 and 1900 differ only in 29 February; every other day of the two centuries agrees.
        dt.date(1900 + year if year else 2000, month, day)
    except ValueError:
        raise NikError("digits 7 to 12 are no birth date") from None


def sex_of_nik(nik: str) -> str:
    """``L`` (laki-laki) or ``P`` (perempuan) of a checked NIK."""
    return "P" if int(nik[6:8]) > _WOMENS_DAY_OFFSET else "L"


def born_in_year(nik: str, birth_year: int) -> bool:
    """Whether a checked NIK's two digits of the year agree with ``birth_year``."""
    return int(nik[10:12]) == birth_year % 100


@lru_cache(maxsize=1024)
def _stdnum_knows_place(prefix: str) -> bool:
    """The library's answer per place; asking it for every NIK costs 15 microseconds each."""
    try:
        stdnum_nik.validate(f"{prefix}010101700001")
    except ValidationError:
        return False
    return True
