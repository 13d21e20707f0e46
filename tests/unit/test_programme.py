from __future__ import annotations

import pytest

from models.programme import (
    BundleError,
    Programme,
    bundle_mask,
    bundle_of_mask,
    parse_bundle,
    write_bundle,
)


def test_a_bundle_is_written_in_canonical_order_whatever_order_it_came_in() -> None:
    assert write_bundle(parse_bundle("JKN+JHT+JKM+JKK")) == "JKK+JKM+JHT+JKN"
    assert parse_bundle("JKM+JKK") == (Programme.JKK, Programme.JKM)


@pytest.mark.parametrize("text", ["", "JKK+", "jkk", "JKK;JKM", "JKP", "JKK+JKK", " JKK", "JKK + JKM"])
def test_a_bundle_of_anything_else_is_refused(text: str) -> None:
    with pytest.raises(BundleError):
        parse_bundle(text)


def test_every_bundle_survives_its_bit_mask() -> None:
    masks = {bundle_mask(bundle_of_mask(mask)) for mask in range(1, 16)}
    assert masks == set(range(1, 16))
    assert bundle_of_mask(3) == (Programme.JKK, Programme.JKM)
    with pytest.raises(BundleError):
        bundle_of_mask(16)
