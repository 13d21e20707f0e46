"""Sign in: password or identity provider, then the second factor where it is due; sessions.

A session is a row; the browser holds a random token of which the row has the digest. The token
changes whenever the session gains rights. Account, role and state are read with every request, so
a change bites on the next one.
"""

from __future__ import annotations

import base64
import datetime as dt
import hmac
import re
import secrets
import uuid
from dataclasses import dataclass
from typing import Any, Final, Literal

import pyotp
from sqlalchemy import Connection, Engine, delete, insert, literal, or_, select, update

from models.account_tables import Account, AccountSession, OidcAttempt, RecoveryCode
from models.database import connect_alone
from models.role import SECOND_FACTOR_ROLES, Role
from models.vault import Vault
from workflow.account import digest, end_sessions, make_token, open_totp_secret, seal_totp_secret
from workflow.lock_out import (
    address_subject,
    count_attempt,
    email_subject,
    factor_subject,
    sweep_locks,
    take_back_attempt,
)
from workflow.password import check_new_password, hash_password, verify_password
from workflow.record import record_action

IDLE_LASTS: Final = dt.timedelta(hours=1)
SESSION_LASTS: Final = dt.timedelta(hours=12)
INCOMPLETE_LASTS: Final = dt.timedelta(minutes=10)
OIDC_LASTS: Final = dt.timedelta(minutes=10)
TOTP_STEP_SECONDS: Final = 30
RECOVERY_CODES: Final = 10
_SEEN_EVERY: Final = dt.timedelta(minutes=1)
_ISSUER: Final = "Gotong"

Missing = Literal["second_factor", "enrolment"]


class SignInRefusedError(Exception):
    """Wrong: e-mail address, password or code; which of them is not said."""


class SessionGoneError(Exception):
    """The session that was to change is not there any more."""


@dataclass(frozen=True, slots=True)
class Visitor:
    """Who asks, as of this request. ``missing`` names what a half signed-in session still owes.

    With ``by_key`` it is a program with an API key (``workflow.api_key``): both ids are the key's.
    """

    account_id: uuid.UUID
    session_id: uuid.UUID
    email: str
    name: str
    role: Role
    regency: str | None
    funder: str | None
    village: str | None
    missing: Missing | None
    demo: bool
    by_key: bool = False


@dataclass(frozen=True, slots=True)
class SignedIn:
    """The new token for the browser; ``missing`` as in :class:`Visitor`."""

    token: str
    missing: Missing | None


@dataclass(frozen=True, slots=True)
class SessionView:
    """A session as its owner sees it."""

    id: uuid.UUID
    address: str
    device: str
    created_at: dt.datetime
    seen_at: dt.datetime
    complete: bool


@dataclass(frozen=True, slots=True)
class OidcStart:
    """What the way to the identity provider takes along; ``browser_token`` stays in the browser."""

    browser_token: str
    state: str
    nonce: str
    code_verifier: str


def sign_in(
    engine: Engine, *, email: str, password: str, address: str, device: str, now: dt.datetime, demo: bool
) -> SignedIn:
    """Check the password and open a session, incomplete where a second factor is due.

    ``demo`` lets the demo's accounts in; elsewhere their public password opens nothing. Raises
    :class:`SignInRefusedError` (which takes as long for unknown accounts) or ``LockedOutError``.
    """
    subjects = [email_subject(email), address_subject(address)]
    count_attempt(engine, subjects, now)
    with engine.connect() as connection:
        account = connection.execute(
            select(*_ACCOUNT, Account.password_hash, Account.state).where(
                Account.email == email.strip().lower()
            )
        ).one_or_none()
    usable = account is not None and account.state == "active" and (demo or not account.demo)
    if not verify_password(password, account.password_hash if account is not None and usable else None):
        raise SignInRefusedError
    assert account is not None
    with engine.begin() as connection:
        take_back_attempt(connection, subjects)
        return _open_session(connection, account, address, device, now, "password")


def check_session(engine: Engine, token: str, now: dt.datetime, *, demo: bool = False) -> Visitor | None:
    """Whose session it is, with the rights of this moment; ``None`` when it ended or never was."""
    with connect_alone(engine) as connection:
        row = connection.execute(
            select(
                *_ACCOUNT,
                Account.totp_confirmed_at,
                AccountSession.id.label("session_id"),
                AccountSession.complete,
                AccountSession.seen_at,
            )
            .join(Account, Account.id == AccountSession.account_id)
            .where(
                AccountSession.token_hash == digest(token),
                AccountSession.expires_at > now,
                AccountSession.seen_at > now - IDLE_LASTS,
                Account.state == "active",
                or_(Account.demo.is_(False), literal(demo)),
            )
        ).one_or_none()
        if row is None:
            return None
        if row.seen_at < now - _SEEN_EVERY:
            connection.execute(
                update(AccountSession).where(AccountSession.id == row.session_id).values(seen_at=now)
            )
    # A second factor that was asked for must be given, and one that became due must be enrolled.
    missing: Missing | None = None
    if row.role in SECOND_FACTOR_ROLES and row.totp_confirmed_at is None:
        missing = "enrolment"
    elif not row.complete:
        missing = "second_factor"
    return Visitor(
        account_id=row.id,
        session_id=row.session_id,
        email=row.email,
        name=row.name,
        role=row.role,
        regency=row.regency_code,
        funder=row.funder,
        village=row.village_code,
        missing=missing,
        demo=row.demo,
    )


def start_totp(engine: Engine, vault: Vault, visitor: Visitor) -> str:
    """The ``otpauth:`` address for an authenticator. The same secret until it is confirmed.

    Raises :class:`SignInRefusedError` where a confirmed one must be shown instead of replaced.
    """
    with engine.begin() as connection:
        account = _lock_factor(connection, visitor.account_id)
        if account.totp_confirmed_at is not None:
            raise SignInRefusedError
        if account.totp_secret_encrypted is None:
            secret = pyotp.random_base32()
            connection.execute(
                update(Account)
                .where(Account.id == visitor.account_id)
                .values(totp_secret_encrypted=seal_totp_secret(vault, visitor.account_id, secret))
            )
        else:
            secret = open_totp_secret(vault, visitor.account_id, account.totp_secret_encrypted)
    return pyotp.TOTP(secret).provisioning_uri(name=visitor.email, issuer_name=_ISSUER)


def confirm_totp(
    engine: Engine, vault: Vault, visitor: Visitor, code: str, address: str, now: dt.datetime
) -> tuple[SignedIn, list[str]]:
    """The first code shows that the authenticator has the secret: enrol it, complete the session.

    Returns the new token and the recovery codes, shown this once. Raises :class:`SignInRefusedError`.
    """
    subjects = [factor_subject(str(visitor.account_id)), address_subject(address)]
    count_attempt(engine, subjects, now)
    with engine.begin() as connection:
        account = _lock_factor(connection, visitor.account_id)
        step = None
        if account.totp_confirmed_at is None and account.totp_secret_encrypted is not None:
            secret = open_totp_secret(vault, visitor.account_id, account.totp_secret_encrypted)
            step = _matching_step(secret, code, account.totp_last_step, now)
        if step is None:
            raise SignInRefusedError
        take_back_attempt(connection, subjects)
        connection.execute(
            update(Account)
            .where(Account.id == visitor.account_id)
            .values(totp_confirmed_at=now, totp_last_step=step)
        )
        codes = _make_recovery_codes(connection, visitor.account_id)
        end_sessions(connection, visitor.account_id, but=visitor.session_id)
        record_action(connection, visitor.email, "account_second_factor", str(visitor.account_id), {}, now)
        return _renew_session(connection, visitor.session_id, now), codes


def give_second_factor(
    engine: Engine, vault: Vault, visitor: Visitor, code: str, address: str, now: dt.datetime
) -> SignedIn:
    """Complete the session with a code of the authenticator or a recovery code; each is good once.

    Raises :class:`SignInRefusedError` or ``LockedOutError``.
    """
    subjects = [factor_subject(str(visitor.account_id)), address_subject(address)]
    count_attempt(engine, subjects, now)
    plain = re.sub(r"[\s-]", "", code).upper()
    with engine.begin() as connection:
        account = _lock_factor(connection, visitor.account_id)
        if account.totp_confirmed_at is None or account.totp_secret_encrypted is None:
            raise SignInRefusedError
        if len(plain) == 6 and plain.isascii() and plain.isdigit():
            secret = open_totp_secret(vault, visitor.account_id, account.totp_secret_encrypted)
            step = _matching_step(secret, plain, account.totp_last_step, now)
            if step is None:
                raise SignInRefusedError
            connection.execute(
                update(Account).where(Account.id == visitor.account_id).values(totp_last_step=step)
            )
        else:
            used = connection.execute(
                update(RecoveryCode)
                .where(
                    RecoveryCode.account_id == visitor.account_id,
                    RecoveryCode.code_hash == digest(plain),
                    RecoveryCode.used_at.is_(None),
                )
                .values(used_at=now)
            ).rowcount
            if not used:
                raise SignInRefusedError
            record_action(
                connection, visitor.email, "account_recovery_code", str(visitor.account_id), {}, now
            )
        take_back_attempt(connection, subjects)
        return _renew_session(connection, visitor.session_id, now)


def show_demo_code(engine: Engine, vault: Vault, visitor: Visitor, now: dt.datetime) -> str | None:
    """What a demo account's authenticator would show now; ``None`` for everybody else."""
    if not visitor.demo:
        return None
    with engine.connect() as connection:
        account = connection.execute(
            select(Account.totp_secret_encrypted, Account.totp_last_step).where(
                Account.id == visitor.account_id, Account.demo
            )
        ).one_or_none()
    if account is None or account.totp_secret_encrypted is None:
        return None
    totp = pyotp.TOTP(open_totp_secret(vault, visitor.account_id, account.totp_secret_encrypted))
    step = int(now.timestamp()) // TOTP_STEP_SECONDS
    # Two visitors share the account: offer the first code that is still good.
    for each in (step - 1, step, step + 1):
        if account.totp_last_step is None or each > account.totp_last_step:
            return str(totp.generate_otp(each))
    return str(totp.generate_otp(step + 1))


def change_password(
    engine: Engine, visitor: Visitor, old: str, new: str, address: str, now: dt.datetime
) -> SignedIn:
    """Set another password; the other sessions end and this one gets a new token.

    Raises :class:`SignInRefusedError` (the old one is wrong), ``PasswordRefusedError``, ``LockedOutError``.
    """
    check_new_password(new, visitor.email, visitor.name)
    subjects = [email_subject(visitor.email), address_subject(address)]
    count_attempt(engine, subjects, now)
    with engine.connect() as connection:
        stored = connection.scalar(select(Account.password_hash).where(Account.id == visitor.account_id))
    if not verify_password(old, stored):
        raise SignInRefusedError
    password_hash = hash_password(new)
    with engine.begin() as connection:
        take_back_attempt(connection, subjects)
        connection.execute(
            update(Account).where(Account.id == visitor.account_id).values(password_hash=password_hash)
        )
        end_sessions(connection, visitor.account_id, but=visitor.session_id)
        record_action(connection, visitor.email, "account_password", str(visitor.account_id), {}, now)
        return _renew_session(connection, visitor.session_id, now)


def sign_out(engine: Engine, token: str) -> None:
    """End the session; harmless when there is none."""
    with engine.begin() as connection:
        connection.execute(delete(AccountSession).where(AccountSession.token_hash == digest(token)))


def list_sessions(engine: Engine, account_id: uuid.UUID, now: dt.datetime) -> list[SessionView]:
    """The account's open sessions, the latest first."""
    with engine.connect() as connection:
        rows = connection.execute(
            select(
                AccountSession.id,
                AccountSession.address,
                AccountSession.device,
                AccountSession.created_at,
                AccountSession.seen_at,
                AccountSession.complete,
            )
            .where(
                AccountSession.account_id == account_id,
                AccountSession.expires_at > now,
                AccountSession.seen_at > now - IDLE_LASTS,
            )
            .order_by(AccountSession.seen_at.desc())
        )
        return [SessionView(**row._mapping) for row in rows]


def revoke_session(engine: Engine, account_id: uuid.UUID, session_id: uuid.UUID) -> bool:
    """End one session of this account; false when it has none such."""
    with engine.begin() as connection:
        return bool(
            connection.execute(
                delete(AccountSession).where(
                    AccountSession.id == session_id, AccountSession.account_id == account_id
                )
            ).rowcount
        )


def revoke_other_sessions(engine: Engine, visitor: Visitor) -> int:
    """End all sessions of the account but the visitor's; returns how many."""
    with engine.begin() as connection:
        return end_sessions(connection, visitor.account_id, but=visitor.session_id)


def start_oidc(engine: Engine, return_to: str, now: dt.datetime) -> OidcStart:
    """Remember a way to the identity provider, bound to the browser that sets out."""
    start = OidcStart(make_token(), make_token(), make_token(), make_token())
    with engine.begin() as connection:
        connection.execute(delete(OidcAttempt).where(OidcAttempt.expires_at <= now))
        connection.execute(
            insert(OidcAttempt).values(
                token_hash=digest(start.browser_token),
                state=start.state,
                nonce=start.nonce,
                code_verifier=start.code_verifier,
                return_to=return_to,
                expires_at=now + OIDC_LASTS,
            )
        )
    return start


def take_oidc(engine: Engine, browser_token: str, state: str, now: dt.datetime) -> tuple[OidcStart, str]:
    """The way this browser set out on, once; and where it wanted to go. Raises ``SignInRefusedError``."""
    with engine.begin() as connection:
        row = connection.execute(
            delete(OidcAttempt)
            .where(OidcAttempt.token_hash == digest(browser_token), OidcAttempt.expires_at > now)
            .returning(OidcAttempt.state, OidcAttempt.nonce, OidcAttempt.code_verifier, OidcAttempt.return_to)
        ).one_or_none()
    if row is None or not hmac.compare_digest(row.state.encode(), state.encode()):
        raise SignInRefusedError
    return OidcStart(browser_token, row.state, row.nonce, row.code_verifier), row.return_to


def sign_in_by_oidc(
    engine: Engine,
    *,
    issuer: str,
    subject: str,
    email: str,
    email_verified: bool,
    address: str,
    device: str,
    now: dt.datetime,
) -> SignedIn:
    """Open a session for whom the identity provider vouches.

    The first time, a verified e-mail address links the identity to the account invited under it; later
    only issuer and subject count. Nobody gets an account this way, and a second factor stays due.
    Raises :class:`SignInRefusedError`.
    """
    with engine.begin() as connection:
        known = select(*_ACCOUNT, Account.state).where(
            Account.oidc_issuer == issuer, Account.oidc_subject == subject
        )
        account = connection.execute(known).one_or_none()
        if account is None and email_verified:
            linked = connection.execute(
                update(Account)
                .where(
                    Account.email == email.strip().lower(),
                    Account.oidc_subject.is_(None),
                    Account.state != "disabled",
                    Account.demo.is_(False),
                )
                .values(oidc_issuer=issuer, oidc_subject=subject, state="active")
            ).rowcount
            account = connection.execute(known).one_or_none() if linked else None
            if account is not None:
                detail = {"issuer": issuer}
                record_action(connection, account.email, "account_oidc_link", str(account.id), detail, now)
        if account is None or account.state != "active":
            raise SignInRefusedError
        return _open_session(connection, account, address, device, now, "oidc")


_ACCOUNT = (
    Account.id,
    Account.email,
    Account.name,
    Account.role,
    Account.regency_code,
    Account.funder,
    Account.village_code,
    Account.demo,
)


def _open_session(
    connection: Connection, account: Any, address: str, device: str, now: dt.datetime, means: str
) -> SignedIn:
    enrolled = (
        connection.scalar(select(Account.totp_confirmed_at).where(Account.id == account.id)) is not None
    )
    due = account.role in SECOND_FACTOR_ROLES
    missing: Missing | None = "second_factor" if enrolled else "enrolment" if due else None
    # People sign in seldom enough to clear away here what has ended.
    connection.execute(
        delete(AccountSession).where(
            or_(AccountSession.expires_at <= now, AccountSession.seen_at <= now - IDLE_LASTS)
        )
    )
    sweep_locks(connection, now)
    token = make_token()
    connection.execute(
        insert(AccountSession).values(
            id=uuid.uuid4(),
            account_id=account.id,
            token_hash=digest(token),
            complete=missing is None,
            address=address[:64],
            device=device[:200],
            created_at=now,
            seen_at=now,
            expires_at=now + (SESSION_LASTS if missing is None else INCOMPLETE_LASTS),
        )
    )
    record_action(connection, account.email, "sign_in", str(account.id), {"means": means}, now)
    return SignedIn(token, missing)


def _renew_session(connection: Connection, session_id: uuid.UUID, now: dt.datetime) -> SignedIn:
    """Another token for the session, which is complete from now on: an older token opens nothing."""
    token = make_token()
    renewed = connection.execute(
        update(AccountSession)
        .where(AccountSession.id == session_id)
        .values(token_hash=digest(token), complete=True, seen_at=now, expires_at=now + SESSION_LASTS)
    ).rowcount
    if not renewed:
        raise SessionGoneError
    return SignedIn(token, None)


def _lock_factor(connection: Connection, account_id: uuid.UUID) -> Any:
    return connection.execute(
        select(Account.totp_secret_encrypted, Account.totp_confirmed_at, Account.totp_last_step)
        .where(Account.id == account_id)
        .with_for_update()
    ).one()


def _matching_step(secret: str, code: str, last_step: int | None, now: dt.datetime) -> int | None:
    """The time step whose code this is, one step of clock error allowed; ``None`` for a wrong or used one."""
    totp = pyotp.TOTP(secret)
    current = int(now.timestamp()) // TOTP_STEP_SECONDS
    found = None
    for step in (current - 1, current, current + 1):
        if hmac.compare_digest(str(totp.generate_otp(step)).encode(), code.strip().encode()):
            found = step
    return None if found is None or (last_step is not None and found <= last_step) else found


def _make_recovery_codes(connection: Connection, account_id: uuid.UUID) -> list[str]:
    codes = [base64.b32encode(secrets.token_bytes(10)).decode() for _ in range(RECOVERY_CODES)]
    connection.execute(delete(RecoveryCode).where(RecoveryCode.account_id == account_id))
    connection.execute(
        insert(RecoveryCode), [{"account_id": account_id, "code_hash": digest(code)} for code in codes]
    )
    return ["-".join(code[start : start + 4] for start in range(0, 16, 4)) for code in codes]
