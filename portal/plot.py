"""Plots: one Altair specification, drawn on the server as SVG for screen, PDF and mail.

The page shows the picture as an image and the same numbers as a table (``figure`` in _components.html), so
a plot needs no script and can be read by everybody.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any, Final

import altair as alt
import vl_convert
from fastapi import Response

from portal.words import Language

# Altair asks whether pandas is loaded and then uses it, be it half loaded by another thread's first match.
import_module("pandas")

#: Readable on light and dark ground; colour-blind safe in this order (Okabe and Ito, Color Universal Design).
COLOURS: Final = ("#0f7b70", "#d9851e", "#4a7fb5", "#b0577b", "#7a8a3c", "#6b6f76")
_FONT: Final = "Inter, Segoe UI, Noto Sans, Arial, Liberation Sans, sans-serif"
_DARK: Final = (
    "<style>text{fill:#53645f}@media (prefers-color-scheme:dark){text{fill:#b4c5c0}"
    ".mark-rule line{stroke:#33443f}}</style>"
)
#: Decimal and thousands signs, and names of months, as Vega wants them (d3-format, d3-time-format).
_NUMBERS: Final[dict[Language, dict[str, Any]]] = {
    "id": {"decimal": ",", "thousands": ".", "grouping": [3], "currency": ["Rp ", ""]},
    "en": {"decimal": ".", "thousands": ",", "grouping": [3], "currency": ["Rp ", ""]},
}
_MONTHS_ID: Final = (
    ("Januari", "Jan"),
    ("Februari", "Feb"),
    ("Maret", "Mar"),
    ("April", "Apr"),
    ("Mei", "Mei"),
    ("Juni", "Jun"),
    ("Juli", "Jul"),
    ("Agustus", "Agt"),
    ("September", "Sep"),
    ("Oktober", "Okt"),
    ("November", "Nov"),
    ("Desember", "Des"),
)
_TIMES_ID: Final = {
    "dateTime": "%A %e %B %Y pukul %X",
    "date": "%d/%m/%Y",
    "time": "%H.%M.%S",
    "periods": ["AM", "PM"],
    "days": ["Minggu", "Senin", "Selasa", "Rabu", "Kamis", "Jumat", "Sabtu"],
    "shortDays": ["Min", "Sen", "Sel", "Rab", "Kam", "Jum", "Sab"],
    "months": [long for long, _ in _MONTHS_ID],
    "shortMonths": [short for _, short in _MONTHS_ID],
}


def draw(
    chart: alt.Chart | alt.LayerChart | alt.HConcatChart | alt.VConcatChart, language: Language
) -> bytes:
    """The chart as SVG in the house's look and the reader's way to write numbers and months."""
    # Room at the left: the reader's own letters may be wider than those the labels were measured with.
    looked = chart.configure(
        background="transparent",
        font=_FONT,
        padding={"left": 28, "right": 12, "top": 4, "bottom": 4},
        range=alt.RangeConfig(category=list(COLOURS)),
    )
    looked = looked.configure_view(stroke=None).configure_axis(
        gridColor="#8fa09b", gridOpacity=0.25, domainColor="#8fa09b", tickColor="#8fa09b", labelFontSize=12
    )
    svg: str = vl_convert.vegalite_to_svg(
        looked.configure_legend(orient="top", title=None, labelFontSize=12).to_dict(),
        format_locale=_NUMBERS[language],
        time_format_locale=_TIMES_ID if language == "id" else None,
    )
    head, tag, rest = svg.partition(">")
    return f"{head}{tag}{_DARK}{rest}".encode()


def rupiah_axis(language: Language) -> alt.Axis:
    """Amounts at an axis in the words of money: ``Rp 2,5 miliar``, not the ``2.5G`` of physics."""
    words = "ribu juta miliar triliun" if language == "id" else "thousand million billion trillion"
    label = "format(datum.value, '$,.3~s')"
    for prefix, word in zip("kMGT", words.split(), strict=True):
        label = f"replace({label}, '{prefix}', ' {word}')"
    return alt.Axis(labelExpr=label)


def plot_response(svg: bytes) -> Response:
    """The SVG as an image of its own, whose own style is the only thing it may use."""
    return Response(
        svg,
        media_type="image/svg+xml",
        headers={"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'"},
    )
