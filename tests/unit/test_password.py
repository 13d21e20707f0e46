"""What may become a password, and how it is kept."""

from __future__ import annotations

import pytest

from workflow.password import PasswordRefusedError, check_new_password, hash_password, verify_password

EMAIL, NAME = "siti.rahma@kukar.example", "Siti Rahma"


@pytest.mark.parametrize(
    "password", ["sebelas kapal di teluk", "x7-Qm!pL0v2z", "ikan asin dan nasi hangat", "🐟 perahu biru 🐟"]
)
def test_length_is_enough(password: str) -> None:
    check_new_password(password, EMAIL, NAME)


@pytest.mark.parametrize(
    ("password", "reason"),
    [
        ("kapal teluk", "too_short"),
        ("k" * 6 + "apal" * 31, "too_long"),
        ("password1234", "common"),
        ("Password-2026!", "common"),
        ("qwertyuiop12", "common"),
        ("123456789012", "common"),
        ("abcdefghijkl", "common"),
        ("aaaaaaaaaaaaaa", "common"),
        ("ababababababab", "common"),
        ("KutaiKartanegara1", "common"),
        ("gotongroyong2026", "common"),
        ("bismillah-bismillah", "common"),
        ("siti.rahma@kukar.example", "own"),
        ("siti.rahma-2026", "own"),
        ("xx SITI RAHMA xx", "own"),
    ],
)
def test_what_is_tried_first_is_refused(password: str, reason: str) -> None:
    with pytest.raises(PasswordRefusedError) as refused:
        check_new_password(password, EMAIL, NAME)
    assert refused.value.reason == reason


def test_the_hash_is_argon2id_with_a_salt_of_its_own() -> None:
    first, second = hash_password("sebelas kapal"), hash_password("sebelas kapal")
    assert first.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert first != second
    assert verify_password("sebelas kapal", first)
    assert not verify_password("sebelas kapal ", first)


def test_without_a_hash_nothing_is_right() -> None:
    assert not verify_password("nobody has this password", None)
    assert not verify_password("", None)


def test_an_endless_password_costs_no_more() -> None:
    assert not verify_password("a" * 1_000_000, hash_password("sebelas kapal"))
