"""Figures in plain words, for the terminal."""

from __future__ import annotations

import math


def say_rupiah(amount_rupiah: int) -> str:
    """``Rp 1,250,000``, every digit."""
    return f"Rp {amount_rupiah:,}"


def say_short_rupiah(amount_rupiah: int) -> str:
    """``Rp 1.72 billion`` or ``Rp 432 million``: for reading at a glance."""
    if amount_rupiah >= 1_000_000_000:
        return f"Rp {amount_rupiah / 1e9:.2f} billion"
    if amount_rupiah >= 1_000_000:
        return f"Rp {amount_rupiah / 1e6:.0f} million"
    return say_rupiah(amount_rupiah)


def say_gap(gap: float) -> str:
    """How far the match may be from the best one, rounded up so that the promise holds."""
    if gap <= 0:
        return "no other match could do better (proven)"
    return f"at most {math.ceil(gap * 10_000 - 1e-9) / 100:.2f} % from the best possible"


def draw_bar(ratio: float, width: int) -> str:
    """A bar of ``width`` characters in eighths of a character."""
    eighths = round(max(0.0, min(1.0, ratio)) * width * 8)
    full, part = divmod(eighths, 8)
    return ("█" * full + (" ▏▎▍▌▋▊▉"[part] if part else "")).ljust(width)
