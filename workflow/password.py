"""Password: what is accepted, and how it is kept (argon2id).

Rules after NIST SP 800-63B: length counts, composition does not; what everybody tries first is refused.
"""

from __future__ import annotations

import threading
from functools import cache
from itertools import pairwise
from typing import Final

from pwdlib import PasswordHash
from pwdlib.hashers.argon2 import Argon2Hasher

SHORTEST_PASSWORD: Final = 12
LONGEST_PASSWORD: Final = 128

#: The parts that make up the passwords everybody tries first, in two languages; of twelve characters or
#: more those are nearly always one of these, twice, or with digits behind.
_COMMON: Final = frozenset(
    """
    password passw0rd passwort kata sandi katasandi kata kunci rahasia sandi qwerty qwertyuiop asdfgh
    asdfghjkl zxcvbnm 1q2w3e 1q2w3e4r 1qaz2wsx abc abcd abcdef abcdefgh letmein welcome selamat datang
    selamatdatang admin administrator root user login iloveyou sayang cinta aku akucinta bismillah
    alhamdulillah indonesia merdeka garuda pancasila nusantara kukar kutai kartanegara kutaikartanegara
    tenggarong samarinda kaltim gotong royong gotongroyong monkey dragon football sunshine princess master
    changeme default secret test testing demo
    """.split()  # noqa: SIM905 - a list of words reads better so
)


class PasswordRefusedError(ValueError):
    """A new password that is not accepted; ``reason`` is ``too_short``, ``too_long``, ``common``, ``own``."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def check_new_password(password: str, email: str, name: str = "") -> None:
    """Raise :class:`PasswordRefusedError` unless this may become the password of this person."""
    if len(password) < SHORTEST_PASSWORD:
        raise PasswordRefusedError("too_short")
    if len(password) > LONGEST_PASSWORD:
        raise PasswordRefusedError("too_long")
    plain = password.casefold()
    own = {email.casefold(), email.casefold().partition("@")[0], name.casefold().strip()}
    if any(len(part) >= 4 and part in plain for part in own):
        raise PasswordRefusedError("own")
    letters = "".join(character for character in plain if character.isalpha())
    if len(set(plain)) < 5 or _is_run(plain) or _is_common(letters) or _is_common(plain):
        raise PasswordRefusedError("common")


def hash_password(password: str) -> str:
    """Argon2id with a random salt, in PHC format."""
    with _hashing():
        return _hasher().hash(password)


def verify_password(password: str, password_hash: str | None) -> bool:
    """Whether it is the password. Without a hash the answer is no, and takes as long."""
    if len(password) > LONGEST_PASSWORD:
        password = ""
    with _hashing():
        right = _hasher().verify(password, password_hash or _nobodys_hash())
    return right and password_hash is not None


def _is_run(text: str) -> bool:
    """``123456789012``, ``abcdefghijkl``, and the same backwards."""
    steps = {(ord(after) - ord(before)) % 10 for before, after in pairwise(text)}
    return steps in ({1}, {9}, {0})


def _is_common(text: str) -> bool:
    """Whether the text is made of common parts alone (not cached: it is somebody's password)."""
    return text in _COMMON or any(
        text.startswith(part) and len(part) < len(text) and _is_common(text[len(part) :]) for part in _COMMON
    )


@cache
def _hasher() -> PasswordHash:
    # OWASP's parameters: 19 MiB and two passes. Memory times concurrent sign-ins must fit a small server.
    return PasswordHash((Argon2Hasher(time_cost=2, memory_cost=19_456, parallelism=1),))


@cache
def _hashing() -> threading.BoundedSemaphore:
    """A flood of sign-ins waits here instead of taking all memory and processors."""
    return threading.BoundedSemaphore(4)


@cache
def _nobodys_hash() -> str:
    return _hasher().hash("nobody has this password")
