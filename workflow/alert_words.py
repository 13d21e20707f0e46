"""What an alert says and proposes, in Indonesian and English, from its kind, subject, value and facts.

No sentence holds a person: subjects are codes of funds and districts, numbers, and ids of batches.
"""

from __future__ import annotations

import datetime as dt
from typing import Any, Final, Literal
from urllib.parse import quote

from babel import dates, numbers

Language = Literal["id", "en"]
Facts = dict[str, Any]

#: Kind -> what happened, what to do; Indonesian and English. Fields: subject, value, and the facts.
_TEXTS: Final[dict[str, dict[Language, tuple[str, str]]]] = {
    "fund_reserved": {
        "id": (
            "Dana {subject}: {share} komitmen sudah dicadangkan atau dipakai; sisa {available_rupiah}.",
            "Periksa usulan yang menunggu, lalu putuskan atau tambah dana.",
        ),
        "en": (
            "Fund {subject}: {share} of the pledge is reserved or used; {available_rupiah} is free.",
            "Look at the proposals that wait, then decide them or raise the fund.",
        ),
    },
    "fund_committed": {
        "id": (
            "Dana {subject}: {share} komitmen sudah terikat atau dibayar; sisa {available_rupiah}.",
            "Bicarakan tambahan dengan penyandang dana sebelum habis.",
        ),
        "en": (
            "Fund {subject}: {share} of the pledge is committed or paid; {available_rupiah} is free.",
            "Talk to the funder about a top-up before it is used up.",
        ),
    },
    "fund_exhaustion": {
        "id": (
            "Dana {subject} diperkirakan habis sekitar {likely} ({early} – {late}), sebelum {ends_on}"
            " (kemungkinan {share}).",
            "Tambah {missing_rupiah}: ± {more_workers} pekerja lagi terlindungi sampai {ends_on}.",
        ),
        "en": (
            "Fund {subject} is likely to run out about {likely} ({early} – {late}), before {ends_on}"
            " (chance {share}).",
            "Raise it by {missing_rupiah}: about {more_workers} more workers covered until {ends_on}.",
        ),
    },
    "fund_lapse": {
        "id": (
            "Dana {subject}: {left_rupiah} ({share}) diperkirakan tidak terpakai pada {ends_on}. {waiting}"
            " pekerja yang menunggu memenuhi syaratnya; {stopped} tertahan oleh aturan {rule}.",
            "Longgarkan aturan {rule}: uangnya cukup untuk ± {could_carry} pekerja.",
        ),
        "en": (
            "Fund {subject}: {left_rupiah} ({share}) is likely to stay unspent on {ends_on}. {waiting}"
            " waiting workers meet its rules; {stopped} are stopped by the rule {rule}.",
            "Relax the rule {rule}: the money is enough for about {could_carry} workers.",
        ),
    },
    "pledge_unpaid": {
        "id": (
            "Komitmen {subject}: iuran yang disetujui belum dibayar sejak {value} hari ({unpaid_rupiah}).",
            "Kirim berkas pendaftaran atau tagih pembayaran penyandang dana.",
        ),
        "en": (
            "Pledge {subject}: approved contributions are unpaid for {value} days ({unpaid_rupiah}).",
            "Send the enrolment file, or ask the funder for the payment.",
        ),
    },
    "pledge_reduced": {
        "id": (
            "Komitmen {subject} berkurang {share} ({reduced_rupiah}).",
            "Hubungi penyandang dana; pekerja yang dilepas dicocokkan lagi dengan dana lain.",
        ),
        "en": (
            "Pledge {subject} was reduced or withdrawn by {share} ({reduced_rupiah}).",
            "Talk to the funder; the workers it released are matched with other funds again.",
        ),
    },
    "large_decision": {
        "id": (
            "Satu keputusan atas dana {fund}, kecamatan {place}: {amount} untuk {lines} pekerja.",
            "Tinjau keputusan itu di halaman dana.",
        ),
        "en": (
            "One decision on fund {fund}, district {place}: {amount} for {lines} workers.",
            "Look at that decision on the fund's page.",
        ),
    },
    "coverage_falling": {
        "id": (
            "Kecamatan {place}: cakupan turun {points} poin dalam {days} hari menjadi {now_share}.",
            "Lihat pekerja yang belum terlindungi di kecamatan ini dan usulkan dana.",
        ),
        "en": (
            "District {place}: coverage fell by {points} points in {days} days, to {now_share}.",
            "Look at this district's uncovered workers and propose a fund.",
        ),
    },
    "coverage_lapsing": {
        "id": (
            "Kecamatan {place}: perlindungan {lapsing} pekerja ({share}) berakhir dalam {days} hari tanpa"
            " lanjutan.",
            "Perpanjang sekarang agar perlindungan tidak terputus.",
        ),
        "en": (
            "District {place}: cover of {lapsing} workers ({share}) ends within {days} days with nothing"
            " after it.",
            "Renew now, so that cover does not break.",
        ),
    },
    "waiting_long": {
        "id": (
            "Kecamatan {place}: {value} pekerja menunggu lebih dari {days} hari.",
            "Lihat alasannya dan tambah atau longgarkan dana.",
        ),
        "en": (
            "District {place}: {value} workers have waited for more than {days} days.",
            "See why, and add or relax a fund.",
        ),
    },
    "enrolment_refused": {
        "id": (
            "Dana {subject}: {share} dari {answered} pendaftaran ditolak dalam {days} hari.",
            "Periksa alasan penolakan dan perbaiki data.",
        ),
        "en": (
            "Fund {subject}: {share} of {answered} enrolments were refused in {days} days.",
            "Look at the reasons and mend the data.",
        ),
    },
    "run_gap": {
        "id": (
            "Pencocokan terakhir belum terbukti optimal: selisih {share}.",
            "Beri waktu lebih lama (GOTONG_SOLVE_SECONDS) atau periksa aturan dana.",
        ),
        "en": (
            "The last match is not proven optimal: its gap is {share}.",
            "Give it more time (GOTONG_SOLVE_SECONDS) or look at the funds' rules.",
        ),
    },
    "run_time": {
        "id": ("Pencocokan terakhir memakan {value} detik.", "Periksa beban dan batas waktu."),
        "en": ("The last match took {value} seconds.", "Look at the load and the time limit."),
    },
    # Words of their own, said by the step that saw them (workflow.raise_alert).
    "audit_breach": {"id": ("{message_id}", ""), "en": ("{message_en}", "")},
    "intake_paused": {"id": ("{message_id}", ""), "en": ("{message_en}", "")},
    "operation": {"id": ("{message_id}", ""), "en": ("{message_en}", "")},
    "dead_letters": {
        "id": (
            "Topik {subject}: {share} pesan ditolak dalam {days} hari ({refused} dari {received}).",
            "Lihat alasannya, perbaiki sumbernya, lalu kirim ulang.",
        ),
        "en": (
            "Topic {subject}: {share} of the messages were refused in {days} days ({refused} of {received}).",
            "See the reasons, mend the source, then replay.",
        ),
    },
    "channel_failing": {
        "id": ("Saluran {label} gagal {value} kali berturut-turut.", "Perbaiki atau matikan saluran itu."),
        "en": ("Channel {label} failed {value} times in a row.", "Mend the channel or switch it off."),
    },
}

#: Said after what to do, where the facts hold a sum that would help: ``raise_rupiah`` and what it buys.
_RAISE: Final[dict[Language, str]] = {
    "id": " Tambah {raise_rupiah}: ± {more_workers} pekerja lagi terlindungi sampai {until}.",
    "en": " Raise it by {raise_rupiah}: about {more_workers} more workers covered until {until}.",
}
_RAISE_DISTRICT: Final[dict[Language, str]] = {
    "id": " Dengan ± {raise_rupiah} lagi, {more_workers} pekerja terlindungi sampai {until}.",
    "en": " About {raise_rupiah} more would cover {more_workers} workers until {until}.",
}
#: Money will be left, but no rule keeps the workers who wait from it.
_LAPSE_WITHOUT_RULE: Final[dict[Language, str]] = {
    "id": "Putuskan usulan yang menunggu dan laporkan pekerja baru: uangnya cukup untuk ± {could_carry}"
    " pekerja sampai {ends_on}.",
    "en": "Decide the proposals that wait and report new workers: the money is enough for about"
    " {could_carry} workers until {ends_on}.",
}
#: Facts that are days, as the database writes them.
_DAYS: Final = ("early", "likely", "late", "ends_on", "until")
_DISTRICT_KINDS: Final = ("coverage_falling", "coverage_lapsing", "waiting_long")
#: A rule of the matcher -> the what-if question that takes it away.
_RELAXED: Final = {
    "occupation_accepted": "every_occupation=1",
    "region_accepted": "every_region=1",
    "months_within_limit": "max_months=-1",
}

#: Rules of the matcher as an officer reads them.
_RULES: Final[dict[str, dict[Language, str]]] = {
    "region_accepted": {"id": "wilayah", "en": "region"},
    "occupation_accepted": {"id": "pekerjaan", "en": "occupation"},
    "programmes_accepted": {"id": "program", "en": "programmes"},
    "sex_accepted": {"id": "jenis kelamin", "en": "sex"},
    "age_accepted": {"id": "usia", "en": "age"},
    "months_within_limit": {"id": "jumlah bulan", "en": "number of months"},
    "window_covers_months": {"id": "masa berlaku dana", "en": "the fund's window"},
}


def say(kind: str, subject: str, value: int, facts: Facts, language: Language) -> str:
    """What happened, in one or two sentences."""
    return _TEXTS[kind][language][0].format_map(_Fields(kind, subject, value, facts, language))


def act(kind: str, subject: str, value: int, facts: Facts, language: Language) -> str:
    """What to do about it, with the sum that would help and whom it would cover where that is known."""
    words = _TEXTS[kind][language][1]
    if kind == "fund_lapse" and not facts.get("rule"):
        words = _LAPSE_WITHOUT_RULE[language]
    if facts.get("raise_rupiah"):
        words += (_RAISE_DISTRICT if kind in _DISTRICT_KINDS else _RAISE)[language]
    return words.format_map(_Fields(kind, subject, value, facts, language))


def name_place(subject: str, facts: Facts) -> str:
    """What an alert is about, as people call it: a district or decision by the district's name, a
    channel by its label."""
    if "label" in facts:
        return str(facts["label"])
    code, name = facts.get("district", subject), facts.get("district_name")
    return f"{name} ({code})" if name else str(code)


def path_of(kind: str, subject: str, facts: Facts, role: str = "") -> str:
    """The portal's page where one can act; of a match an administrator reads another than an officer."""
    match kind:
        case "large_decision":
            return f"/review/decisions/{quote(subject)}"
        case "coverage_falling" | "coverage_lapsing" | "waiting_long":
            return f"/unfunded?district={quote(subject)}"
        case "fund_exhaustion":
            return _raised(subject, facts.get("missing_rupiah"))
        case "fund_lapse":
            relaxed = _RELAXED.get(str(facts.get("rule")))
            return f"/what-if?fund={quote(subject)}" + (f"&{relaxed}" if relaxed else "")
        case "fund_reserved" | "fund_committed" | "pledge_reduced" if facts.get("raise_rupiah"):
            return _raised(subject, facts["raise_rupiah"])
        case "run_gap" | "run_time":
            return "/today" if role in ("officer", "auditor") else "/administration/health"
        case "audit_breach" | "operation":
            return "/audit"
        case "dead_letters" | "intake_paused":
            return "/administration/dead-letters"
        case "channel_failing":
            return "/alerts/channels"
        case _:
            return f"/funds/{quote(subject)}"


def _raised(fund: str, rupiah: int | None) -> str:
    """What the match would be with so much more, in whole millions."""
    more = f"&more_millions={-(-rupiah // 1_000_000)}" if rupiah else ""
    return f"/what-if?fund={quote(fund)}{more}"


class _Fields(dict[str, str]):
    """The fields of a sentence, written as the language writes them."""

    def __init__(self, kind: str, subject: str, value: int, facts: Facts, language: Language) -> None:
        super().__init__(
            {name: _write(name, fact, language) for name, fact in facts.items() if fact is not None}
        )
        self["subject"] = subject
        self["place"] = name_place(subject, facts)
        self["value"] = _number(value, language)
        self["share"] = _share(value, language)
        self["amount"] = _rupiah(value, language)

    def __missing__(self, name: str) -> str:
        return "–"


def _write(name: str, fact: Any, language: Language) -> str:
    if name in _DAYS:
        return str(dates.format_date(dt.date.fromisoformat(fact), "d MMM y", locale=language))
    if name == "rule":
        return _RULES.get(str(fact), {}).get(language, str(fact))
    if isinstance(fact, int):
        if name.endswith("_rupiah"):
            return _rupiah(fact, language)
        return _share(fact, language) if name.endswith("_share") else _number(fact, language)
    if isinstance(fact, float):
        return str(numbers.format_decimal(fact, locale=language))
    return str(fact)


def _number(value: int, language: Language) -> str:
    return str(numbers.format_decimal(value, locale=language))


def _rupiah(value: int, language: Language) -> str:
    return f"Rp {_number(value, language)}"


def _share(value: int, language: Language) -> str:
    return str(numbers.format_percent(value / 10_000, format="0.## %", locale=language))
