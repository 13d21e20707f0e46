"""The vault: NIK, names and dead letters are readable only through here.

One master key of 32 bytes, kept outside the database; HKDF (RFC 5869) makes one key per purpose
from it, so that no key serves twice. Contents are sealed with AES-256-GCM under a random nonce
(safe for 2**32 sealings per key). Whether two NIK are the same is told by a keyed hash.

Keys rotate: new contents are sealed with the newest key, and every ciphertext names its key, so
that retired keys still open old ones. Hashes must stay comparable for ever and therefore come from
the *oldest* key of the ring, which must not be dropped.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
from collections.abc import Sequence
from typing import Final, TypedDict

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

MASTER_KEY_BYTES: Final = 32
_KEY_ID_BYTES: Final = 4
_NONCE_BYTES: Final = 12
_FROM_URLSAFE: Final = bytes.maketrans(b"-_", b"+/")
_HEAD_BYTES: Final = _KEY_ID_BYTES + _NONCE_BYTES


class UndecryptableError(ValueError):
    """The ciphertext was changed, was sealed for another purpose, or its key is not in the ring."""


class SealedWorker(TypedDict):
    """The personal fields of a ``coverage.worker-uncovered`` event."""

    nik_encrypted: str
    nik_key_id: str
    nik_hash: str
    name_encrypted: str | None


class Vault:
    """Seals with ``master_key`` (32 bytes), opens with it or any of ``retired_keys`` (newest first)."""

    def __init__(self, master_key: bytes, *, retired_keys: Sequence[bytes] = ()) -> None:
        ring = (master_key, *retired_keys)
        if any(len(key) != MASTER_KEY_BYTES for key in ring):
            raise ValueError(f"a master key has {MASTER_KEY_BYTES} bytes")
        self._ciphers = {
            _derive(key, "key-id")[:_KEY_ID_BYTES]: AESGCM(_derive(key, "seal")) for key in reversed(ring)
        }
        self._current_id = _derive(master_key, "key-id")[:_KEY_ID_BYTES]
        self._current = self._ciphers[self._current_id]
        self._nik_key = _derive(ring[-1], "nik-hash")
        self._fingerprint_key = _derive(ring[-1], "fingerprint")
        self._signing_seed = _derive(ring[-1], "statement-signature")

    @classmethod
    def from_text(cls, text: str) -> Vault:
        """A vault from ``GOTONG_MASTER_KEY``: base64 keys of 32 bytes, newest first, joined by commas.

        Raises ``ValueError``; the message never holds a key.
        """
        newest, *retired = decode_master_keys(text)
        return cls(newest, retired_keys=retired)

    @property
    def key_id(self) -> str:
        """Name of the key that seals now, 8 hexadecimal digits."""
        return self._current_id.hex()

    def encrypt(self, content: bytes, context: str) -> bytes:
        """Seal ``content``; it opens only with the same ``context``, which says what it is."""
        nonce = os.urandom(_NONCE_BYTES)
        return self._current_id + nonce + self._current.encrypt(nonce, content, context.encode())

    def decrypt(self, sealed: bytes, context: str) -> bytes:
        """Open what :meth:`encrypt` sealed. Raises :class:`UndecryptableError`."""
        cipher = self._ciphers.get(sealed[:_KEY_ID_BYTES])
        if cipher is None:
            raise UndecryptableError("sealed with a key that is not in the ring")
        try:
            return cipher.decrypt(sealed[_KEY_ID_BYTES:_HEAD_BYTES], sealed[_HEAD_BYTES:], context.encode())
        except (InvalidTag, ValueError):
            raise UndecryptableError("changed after sealing, or sealed for another purpose") from None

    def hash_nik(self, nik: str) -> bytes:
        """Keyed hash (HMAC-SHA256, 32 bytes) that identifies a worker without telling the NIK."""
        return hmac.digest(self._nik_key, nik.encode(), "sha256")

    def fingerprint(self, content: bytes) -> bytes:
        """Keyed hash (BLAKE2b, 32 bytes) of contents that may be personal: equal contents, equal prints."""
        return hashlib.blake2b(content, digest_size=32, key=self._fingerprint_key).digest()

    def statement_key(self) -> Ed25519PrivateKey:
        """The house's key for statements; from the oldest key, so that old statements stay checkable."""
        return Ed25519PrivateKey.from_private_bytes(self._signing_seed)

    def seal_worker(self, nik: str, name: str | None = None) -> SealedWorker:
        """The personal fields of a worker's event, for an edge that holds a plain NIK.

        The name is bound to the NIK: it does not open beside another worker's hash.
        """
        nik_hash = self.hash_nik(nik).hex()
        return SealedWorker(
            nik_encrypted=encode_base64(self.encrypt(nik.encode(), "nik")),
            nik_key_id=self.key_id,
            nik_hash=nik_hash,
            name_encrypted=None
            if name is None
            else encode_base64(self.encrypt(name.encode(), f"name:{nik_hash}")),
        )

    def open_nik(self, nik_encrypted: bytes) -> str:
        """The NIK that :meth:`seal_worker` sealed. Raises :class:`UndecryptableError`."""
        return _read_text(self.decrypt(nik_encrypted, "nik"))

    def open_name(self, name_encrypted: bytes, nik_hash: bytes) -> str:
        """The name sealed for the worker with this hash. Raises :class:`UndecryptableError`."""
        return _read_text(self.decrypt(name_encrypted, f"name:{nik_hash.hex()}"))


def make_master_key() -> str:
    """A new master key as text for ``GOTONG_MASTER_KEY``."""
    return base64.b64encode(os.urandom(MASTER_KEY_BYTES)).decode()


def decode_master_keys(text: str) -> list[bytes]:
    """The keys of ``GOTONG_MASTER_KEY``, newest first. Raises ``ValueError`` without showing a key."""
    keys = []
    for number, part in enumerate(text.strip().split(","), start=1):
        try:
            key = base64.b64decode(
                part.strip(), altchars=b"-_" if set(part) & set("-_") else None, validate=True
            )
        except (binascii.Error, ValueError):
            raise ValueError(f"key {number} is not base64") from None
        if len(key) != MASTER_KEY_BYTES:
            raise ValueError(f"key {number} has {len(key)} bytes instead of {MASTER_KEY_BYTES}")
        keys.append(key)
    return keys


def key_id_of(sealed: bytes) -> str:
    """Name of the key that sealed this."""
    return sealed[:_KEY_ID_BYTES].hex()


def encode_base64(content: bytes) -> str:
    """As the events carry bytes: base64 with ``-`` and ``_``, padded."""
    return base64.urlsafe_b64encode(content).decode()


def decode_base64(text: str) -> bytes:
    """Bytes of an event's field. Raises :class:`UndecryptableError` when it is not base64."""
    try:
        # What base64.urlsafe_b64decode does, in a quarter of its time.
        return binascii.a2b_base64(
            text.encode().translate(_FROM_URLSAFE) + b"=" * (-len(text) % 4), strict_mode=True
        )
    except ValueError:
        raise UndecryptableError("not base64") from None


def _read_text(content: bytes) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise UndecryptableError("does not hold text") from None


def _derive(master_key: bytes, purpose: str) -> bytes:
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=f"gotong/v1/{purpose}".encode()).derive(
        master_key
    )
