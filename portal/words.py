"""Words, numbers and times in the reader's language: Indonesian first, English on request."""

from __future__ import annotations

import datetime as dt
import io
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib import resources
from typing import Final, Literal
from zoneinfo import ZoneInfo

from babel import Locale, numbers
from babel.dates import format_date, format_datetime
from babel.messages.catalog import Catalog
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from babel.support import NullTranslations, Translations

Language = Literal["id", "en"]
LANGUAGES: Final[tuple[Language, ...]] = ("id", "en")
_MILLION = 1_000_000
#: Indonesia's own names of its zones; other languages' data only know an offset.
_ZONES: Final = {"Asia/Jakarta": "WIB", "Asia/Makassar": "WITA", "Asia/Jayapura": "WIT"}


#: Occupations are free words of whoever reports a worker; the usual English ones are said in Indonesian.
USUAL_OCCUPATIONS: Final = {
    "farmer": "petani",
    "fisher": "nelayan",
    "gardener": "pekebun",
    "labourer": "buruh",
    "driver": "pengemudi",
    "trader": "pedagang",
    "religious_worker": "pekerja keagamaan",
    "village_worker": "perangkat desa",
    "non_civil_servant": "pegawai non-ASN",
}


@cache
def read_translations(language: Language) -> NullTranslations:
    """The catalogues of ``portal/locale``, one for each part of the portal; English stands in the templates.

    They are compiled when first needed: no build step, and no compiled file that lags behind its source.
    """
    if language == "en":
        return NullTranslations()
    catalog = Catalog(locale=language)
    catalog.mime_headers = [("Plural-Forms", "nplurals=1; plural=0;")]  # Babel says two
    for part in sorted(
        (resources.files("portal") / "locale" / language).iterdir(), key=lambda each: each.name
    ):
        with part.open("rb") as file:
            for message in read_po(file, locale=language):
                if message.id:
                    catalog[message.id] = message
    compiled = io.BytesIO()
    write_mo(compiled, catalog)
    compiled.seek(0)
    return Translations(fp=compiled)


@cache
def _locale(language: Language) -> Locale:
    return Locale(language)


# A page of a table says a hundred numbers, and the next page says most of them again.
@lru_cache(maxsize=20_000)
def _write_whole(value: int, language: Language) -> str:
    return str(numbers.format_decimal(value, locale=_locale(language)))


@lru_cache(maxsize=20_000)
def _write_short_rupiah(amount_rupiah: int, language: Language) -> str:
    compact = numbers.format_compact_decimal(
        amount_rupiah,
        format_type="long",
        locale=_locale(language),
        fraction_digits=2 if amount_rupiah >= 1000 * _MILLION else 0,
    )
    return f"Rp\N{NO-BREAK SPACE}{compact}".replace(" ", "\N{NO-BREAK SPACE}")


@dataclass(frozen=True, slots=True)
class Words:
    """How to say a thing in one language and time zone."""

    language: Language
    timezone: str = "UTC"

    def whole(self, value: int) -> str:
        """``9.880`` or ``9,880``."""
        return _write_whole(value, self.language)

    def share(self, ratio: float, digits: int = 0) -> str:
        """``73 %`` from 0.73. A share below one is never rounded to the whole, nor a small one to none."""
        step = 10.0 ** -(2 + digits)
        if 0 < ratio < step:
            return "< " + self.share(step, digits)
        rounded = 1 - step if 1 - step < ratio < 1 else ratio
        pattern = "#,##0" + ("." + "0" * digits if digits else "") + " %"
        return str(numbers.format_percent(rounded, format=pattern, locale=_locale(self.language)))

    def rupiah(self, amount_rupiah: int) -> str:
        """``Rp 1.250.000``, every digit."""
        return f"Rp\N{NO-BREAK SPACE}{self.whole(amount_rupiah)}"

    def short_rupiah(self, amount_rupiah: int) -> str:
        """``Rp 1,72 miliar``: rounded, for reading at a glance beside the exact amount."""
        if amount_rupiah < _MILLION:
            return self.rupiah(amount_rupiah)
        return _write_short_rupiah(amount_rupiah, self.language)

    def seconds(self, value: float) -> str:
        """``3,2`` seconds."""
        return str(numbers.format_decimal(value, format="#,##0.0", locale=_locale(self.language)))

    def moment(self, value: dt.datetime) -> str:
        """``23 Nov 2026 15.04.05 WITA``, in the regency's own time."""
        return self._local(value, "d MMM y HH.mm.ss" if self.language == "id" else "d MMM y HH:mm:ss")

    def minute(self, value: dt.datetime) -> str:
        """``23 Nov 2026 15.04 WITA``: where seconds would only be read past. Time and zone stay together."""
        day, _, zone = self._local(
            value, "d MMM y HH.mm" if self.language == "id" else "d MMM y HH:mm"
        ).rpartition(" ")
        return f"{day}\N{NO-BREAK SPACE}{zone}"

    def _local(self, value: dt.datetime, pattern: str) -> str:
        local = format_datetime(value, pattern, tzinfo=ZoneInfo(self.timezone), locale=_locale(self.language))
        return f"{local} {_ZONES.get(self.timezone, self.timezone)}"

    def day(self, value: dt.date) -> str:
        """``23 Nov 2026``."""
        return str(format_date(value, "d MMM y", locale=_locale(self.language)))

    def days(self, period: str) -> str:
        """``1 Jan 2026 – 31 Des 2026`` from ``2026-01-01 – 2026-12-31``."""
        return " – ".join(self.day(dt.date.fromisoformat(each)) for each in period.split(" – "))

    def law(self, source: str) -> str:
        """A law as ``models/data/tariffs.csv`` names it."""
        return source.replace("amended", "diubah dengan") if self.language == "id" else source

    def occupation(self, code: str) -> str:
        """``pekerja keagamaan`` for ``religious_worker``; an unknown word as it was reported."""
        known = USUAL_OCCUPATIONS.get(code) if self.language == "id" else None
        return known or code.replace("_", " ")

    def month(self, value: dt.date) -> str:
        """``November 2026``."""
        return str(format_date(value, "LLLL y", locale=_locale(self.language)))

    def change(self, value: int) -> str:
        """``+12`` or ``−3``: a difference always says which way."""
        return ("+" if value > 0 else "\N{MINUS SIGN}" if value < 0 else "") + self.whole(abs(value))

    def gap(self, gap: float) -> str:
        """The gap in plain words' number: rounded up, so that the promise holds (0.000251 gives 0.03 %)."""
        hundredths = -int(-gap * 10_000 // 1)
        return str(
            numbers.format_percent(hundredths / 10_000, format="0.00 %", locale=_locale(self.language))
        )


def choose_language(asked: str | None, remembered: str | None, default: Language) -> Language:
    """The language in the address, else the remembered one, else the house's."""
    for wish in (asked, remembered):
        for language in LANGUAGES:
            if wish == language:
                return language
    return default
