"""The vault opens what it sealed, for the purpose it was sealed for, and nothing else."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.vault import (
    UndecryptableError,
    Vault,
    decode_base64,
    decode_master_keys,
    encode_base64,
    key_id_of,
    make_master_key,
)

OLD, NEW, OTHER = bytes(32), bytes(range(32)), bytes([7]) * 32
NIK = "6402051708800001"


@given(st.binary(max_size=200), st.text(max_size=20))
def test_what_was_sealed_opens_with_the_same_context(content: bytes, context: str) -> None:
    vault = Vault(NEW)
    assert vault.decrypt(vault.encrypt(content, context), context) == content


def test_sealing_twice_gives_two_ciphertexts() -> None:
    vault = Vault(NEW)
    assert vault.encrypt(b"same", "x") != vault.encrypt(b"same", "x")


@pytest.mark.parametrize("position", [0, 5, 20, -1])
def test_a_changed_ciphertext_does_not_open(position: int) -> None:
    vault = Vault(NEW)
    sealed = bytearray(vault.encrypt(b"content", "x"))
    sealed[position] ^= 1
    with pytest.raises(UndecryptableError):
        vault.decrypt(bytes(sealed), "x")


@pytest.mark.parametrize("sealed", [b"", b"1234", bytes(20)])
def test_what_is_no_ciphertext_does_not_open(sealed: bytes) -> None:
    with pytest.raises(UndecryptableError):
        Vault(NEW).decrypt(sealed, "x")


def test_a_ciphertext_does_not_open_for_another_purpose_or_key() -> None:
    sealed = Vault(NEW).encrypt(b"content", "nik")
    with pytest.raises(UndecryptableError, match="purpose"):
        Vault(NEW).decrypt(sealed, "name")
    with pytest.raises(UndecryptableError, match="key"):
        Vault(OTHER).decrypt(sealed, "nik")


def test_after_a_rotation_old_contents_open_new_ones_use_the_new_key_and_hashes_stay() -> None:
    before, after = Vault(OLD), Vault(NEW, retired_keys=[OLD])
    sealed = before.encrypt(b"content", "x")
    assert after.decrypt(sealed, "x") == b"content"
    assert key_id_of(sealed) == before.key_id != after.key_id
    assert key_id_of(after.encrypt(b"", "x")) == after.key_id
    assert after.hash_nik(NIK) == before.hash_nik(NIK)
    assert after.fingerprint(b"facts") == before.fingerprint(b"facts")
    with pytest.raises(UndecryptableError):
        before.decrypt(after.encrypt(b"content", "x"), "x")


def test_the_hash_tells_workers_apart_and_depends_on_the_key() -> None:
    assert Vault(NEW).hash_nik(NIK) == Vault(NEW).hash_nik(NIK)
    assert (
        len({Vault(NEW).hash_nik(NIK), Vault(NEW).hash_nik(NIK[:-1] + "2"), Vault(OTHER).hash_nik(NIK)}) == 3
    )


def test_a_name_does_not_open_beside_another_worker() -> None:
    vault = Vault(NEW)
    sealed = vault.seal_worker(NIK, "Pekerja Rekaan")
    assert sealed["name_encrypted"] is not None
    name = decode_base64(sealed["name_encrypted"])
    assert vault.open_nik(decode_base64(sealed["nik_encrypted"])) == NIK
    assert vault.open_name(name, bytes.fromhex(sealed["nik_hash"])) == "Pekerja Rekaan"
    with pytest.raises(UndecryptableError):
        vault.open_name(name, vault.hash_nik(NIK[:-1] + "2"))


def test_nothing_of_the_worker_shows_in_what_travels() -> None:
    sealed = Vault(NEW).seal_worker(NIK, "Pekerja Rekaan")
    for field in ("nik_encrypted", "name_encrypted"):
        opened = decode_base64(str(sealed[field]))
        assert NIK.encode() not in opened and b"Rekaan" not in opened
    assert NIK not in repr(sealed) and "Rekaan" not in repr(sealed)


@given(st.binary(max_size=100))
def test_base64_of_events_round_trips_padded_or_not(content: bytes) -> None:
    text = encode_base64(content)
    assert decode_base64(text) == decode_base64(text.rstrip("=")) == content
    assert base64.urlsafe_b64decode(text) == content


@pytest.mark.parametrize("text", ["a", "ä" * 16, "abcde"])
def test_what_is_no_base64_is_undecryptable(text: str) -> None:
    with pytest.raises(UndecryptableError):
        decode_base64(text)


def test_a_made_key_makes_a_vault_and_a_ring_is_read_newest_first() -> None:
    newest, oldest = make_master_key(), make_master_key()
    assert newest != oldest
    ring = f"{newest}, {oldest}"
    assert Vault.from_text(ring).key_id == Vault.from_text(newest).key_id
    assert Vault.from_text(ring).hash_nik(NIK) == Vault.from_text(oldest).hash_nik(NIK)


@pytest.mark.parametrize(
    "text",
    ["", "secret", "c2VjcmV0", "!" * 44, make_master_key() + ",x"],
    ids=["empty", "a word", "too short", "no base64", "one good one bad"],
)
def test_a_wrong_master_key_is_refused_without_being_shown(text: str) -> None:
    with pytest.raises(ValueError, match=r"^key \d (is not base64|has \d+ bytes instead of 32)$"):
        decode_master_keys(text)
