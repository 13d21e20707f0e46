"""Social-security programmes and the bundles a worker's cover consists of.

A *bundle* is a non-empty set of programmes that one funder pays together. It is
written ``JKK+JKM``: codes in the order of :class:`Programme`, joined by ``+``.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum


class Programme(StrEnum):
    """A contribution programme. The order of the members is the canonical order of a bundle."""

    JKK = "JKK"  # jaminan kecelakaan kerja, work accident
    JKM = "JKM"  # jaminan kematian, death
    JHT = "JHT"  # jaminan hari tua, old age
    JKN = "JKN"  # jaminan kesehatan nasional, health


Bundle = tuple[Programme, ...]

_POSITION = {programme: position for position, programme in enumerate(Programme)}


class BundleError(ValueError):
    """The text is not a bundle of known programmes; the message says what is wrong with it."""


def parse_programme(text: str) -> Programme:
    """The programme that ``text`` names exactly; raises :class:`BundleError` otherwise."""
    try:
        return Programme(text)
    except ValueError:
        known = ", ".join(Programme)
        raise BundleError(f"unknown programme {text[:40]!r}; known are {known}") from None


def parse_bundle(text: str) -> Bundle:
    """Read ``JKM+JKK`` as the canonical ``(JKK, JKM)``.

    Raises :class:`BundleError` for an empty bundle, an unknown programme or one that is named twice.
    """
    if not text:
        raise BundleError("a bundle names at least one programme, such as JKK+JKM")
    programmes = [parse_programme(part) for part in text.split("+")]
    if len(set(programmes)) != len(programmes):
        raise BundleError(f"{text[:40]!r} names a programme twice")
    return order_bundle(programmes)


def order_bundle(programmes: Iterable[Programme]) -> Bundle:
    """The programmes once each, in canonical order."""
    return tuple(sorted(set(programmes), key=_POSITION.__getitem__))


def write_bundle(bundle: Iterable[Programme]) -> str:
    """The canonical text of a bundle, such as ``JKK+JKM``."""
    return "+".join(order_bundle(bundle))


def bundle_mask(bundle: Iterable[Programme]) -> int:
    """A bundle as a bit mask, JKK = 1, JKM = 2, JHT = 4, JKN = 8, as the tables keep it."""
    return sum(1 << _POSITION[programme] for programme in set(bundle))


def bundle_of_mask(mask: int) -> Bundle:
    """The bundle of a bit mask; 0 is the empty bundle. Raises :class:`BundleError` outside 0-15."""
    if not 0 <= mask < 1 << len(Programme):
        raise BundleError(f"{mask} is not a bit mask of programmes")
    return tuple(programme for programme, position in _POSITION.items() if mask >> position & 1)
