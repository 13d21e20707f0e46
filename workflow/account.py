"""Account: who may use the portal, as what, and who gave them that.

An account begins with an invitation: a link that works once and for a limited time, with which its
owner sets a password. A lost password is mended the same way. Whoever loses rights loses the open
sessions in the same transaction, so it bites on the next request.

``within`` limits an action to the people of one funder: for a company's own administrator everybody
else does not exist.
"""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import re
import secrets
import uuid
from dataclasses import dataclass
from typing import Any, Final, Literal

import pyotp
from sqlalchemy import Connection, Engine, delete, func, insert, select, text, update
from sqlalchemy.exc import IntegrityError
from stdnum.id import npwp as stdnum_npwp

from models.account_tables import Account, AccountSession, AccountToken, RecoveryCode
from models.role import Role
from models.tables import Regency, Region
from models.vault import Vault
from workflow.lock_out import email_subject, forgive
from workflow.password import check_new_password, hash_password
from workflow.record import record_action

INVITATION_LASTS: Final = dt.timedelta(days=7)
RESET_LASTS: Final = dt.timedelta(hours=1)
FIRST_ADMINISTRATOR: Final = "administrator@gotong.invalid"
DEMO_PASSWORD: Final = "perahu-biru-di-mahakam"  # noqa: S105 - public on purpose: it opens synthetic data only
_EMAIL = re.compile(r"[^@\s]{1,64}@[^@\s.]+(\.[^@\s.]+)+")
_FIRST_LOCK = text("SELECT pg_advisory_xact_lock(7308332183994953322)")

#: What a role must be told; the others take nothing, except an auditor who may have one regency.
_SCOPE_OF: Final = {
    "officer": "regency",
    "company_user": "funder",
    "company_admin": "funder",
    "verifier": "village",
}

Purpose = Literal["invitation", "reset"]


class AccountRefusedError(ValueError):
    """An account cannot be made or changed so.

    ``reason`` is ``email_invalid``, ``email_taken``, ``name_missing``, ``scope_wrong``, ``regency_unknown``,
    ``village_unknown``, ``npwp_invalid``, ``last_administrator``, ``own_account`` or ``wrong_state``.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class AccountUnknownError(LookupError):
    """There is no such account, or it is none of the asker's business; both look the same."""


class TokenInvalidError(LookupError):
    """The link was used, has expired, or never was."""


@dataclass(frozen=True, slots=True)
class Scope:
    """What a role extends to. ``funder`` is an NPWP in any notation."""

    regency: str | None = None
    funder: str | None = None
    village: str | None = None


@dataclass(frozen=True, slots=True)
class Invitation:
    """A single-use link's secret; it is not stored and cannot be shown again."""

    account_id: uuid.UUID
    email: str
    purpose: Purpose
    token: str
    expires_at: dt.datetime


@dataclass(frozen=True, slots=True)
class AccountView:
    """An account as lists show it."""

    id: uuid.UUID
    email: str
    name: str
    role: Role
    regency: str | None
    funder: str | None
    village: str | None
    state: str
    second_factor: bool
    created_at: dt.datetime


@dataclass(frozen=True, slots=True)
class DemoAccount:
    """A way into the demo, shown on its sign-in page."""

    email: str
    name: str
    role: Role


def normalise_email(email: str) -> str:
    """Lower case, without blanks around. Raises :class:`AccountRefusedError`."""
    email = email.strip().lower()
    if len(email) > 254 or not _EMAIL.fullmatch(email):
        raise AccountRefusedError("email_invalid")
    return email


def normalise_funder(npwp: str) -> str:
    """A company's NPWP in 16 digits: the old notation of 15 with a zero in front."""
    digits = re.sub(r"\D", "", npwp)
    if len(digits) not in (15, 16) or (len(digits) == 16 and not digits.startswith("0")):
        raise AccountRefusedError("npwp_invalid")
    if not stdnum_npwp.is_valid(digits[-15:]):
        raise AccountRefusedError("npwp_invalid")
    return digits.zfill(16)


def digest(token: str) -> bytes:
    """What is stored of a random token: its 256 bits need no salt and no slow hash."""
    return hashlib.sha256(token.encode()).digest()


def create_account(
    engine: Engine,
    actor: str,
    *,
    email: str,
    name: str,
    role: Role,
    scope: Scope,
    now: dt.datetime,
    within: str | None = None,
) -> Invitation:
    """Make an account and its invitation. Raises :class:`AccountRefusedError`."""
    email, name = normalise_email(email), " ".join(name.split())[:200]
    if not name:
        raise AccountRefusedError("name_missing")
    with engine.begin() as connection:
        columns = check_scope(connection, role, scope, within)
        account_id = uuid.uuid4()
        try:
            with connection.begin_nested():
                connection.execute(
                    insert(Account).values(
                        id=account_id, email=email, name=name, role=role, created_at=now, **columns
                    )
                )
        except IntegrityError:
            raise AccountRefusedError("email_taken") from None
        record_action(
            connection, actor, "account_create", str(account_id), {"role": role, **_said(columns)}, now
        )
        return _issue_token(connection, account_id, email, "invitation", now)


def issue_link(
    engine: Engine, actor: str, account_id: uuid.UUID, now: dt.datetime, within: str | None = None
) -> Invitation:
    """A new link: an invitation before the first sign-in, afterwards a reset. Earlier links end.

    Raises :class:`AccountUnknownError`, and :class:`AccountRefusedError` for a disabled account.
    """
    with engine.begin() as connection:
        account = _lock_account(connection, account_id, within)
        if account.state == "disabled":
            raise AccountRefusedError("wrong_state")
        purpose: Purpose = "invitation" if account.state == "invited" else "reset"
        record_action(connection, actor, f"account_{purpose}", str(account_id), {}, now)
        return _issue_token(connection, account_id, account.email, purpose, now)


def read_link(engine: Engine, token: str, purpose: Purpose, now: dt.datetime) -> AccountView:
    """Whose link it is. Raises :class:`TokenInvalidError`."""
    with engine.connect() as connection:
        account = connection.execute(
            _SELECT_VIEW.join(AccountToken, AccountToken.account_id == Account.id).where(
                AccountToken.token_hash == digest(token),
                AccountToken.purpose == purpose,
                AccountToken.used_at.is_(None),
                AccountToken.expires_at > now,
                Account.state != "disabled",
            )
        ).one_or_none()
    if account is None:
        raise TokenInvalidError
    return _view(account)


def use_link(engine: Engine, token: str, purpose: Purpose, password: str, now: dt.datetime) -> uuid.UUID:
    """Set the password by a link; every open session of the account ends.

    Raises :class:`TokenInvalidError` or ``PasswordRefusedError``; after the latter the link still works.
    """
    owner = read_link(engine, token, purpose, now)
    check_new_password(password, owner.email, owner.name)
    password_hash = hash_password(password)
    with engine.begin() as connection:
        used = connection.execute(
            update(AccountToken)
            .where(
                AccountToken.token_hash == digest(token),
                AccountToken.purpose == purpose,
                AccountToken.used_at.is_(None),
                AccountToken.expires_at > now,
            )
            .values(used_at=now)
        ).rowcount
        activated = connection.execute(
            update(Account)
            .where(Account.id == owner.id, Account.state != "disabled")
            .values(password_hash=password_hash, state="active")
        ).rowcount
        if not (used and activated):
            raise TokenInvalidError  # another request was faster: nothing of this one stays
        end_sessions(connection, owner.id)
        forgive(connection, email_subject(owner.email))
        record_action(connection, owner.email, f"account_{purpose}_used", str(owner.id), {}, now)
    return owner.id


def change_role(
    engine: Engine,
    actor: str,
    account_id: uuid.UUID,
    role: Role,
    scope: Scope,
    now: dt.datetime,
    within: str | None = None,
) -> None:
    """Give another role and scope; the person signs in anew. Raises ``AccountUnknownError`` and refusals."""
    with engine.begin() as connection:
        account = _lock_account(connection, account_id, within)
        if account.email == actor:
            raise AccountRefusedError("own_account")
        columns = check_scope(connection, role, scope, within)
        if role != "administrator":
            _keep_an_administrator(connection, account)
        connection.execute(update(Account).where(Account.id == account_id).values(role=role, **columns))
        end_sessions(connection, account_id)
        detail = {"from": account.role, "to": role, **_said(columns)}
        record_action(connection, actor, "account_role", str(account_id), detail, now)


def disable_account(
    engine: Engine, actor: str, account_id: uuid.UUID, now: dt.datetime, within: str | None = None
) -> None:
    """Shut a person out at once: sessions and links end. Repeating it is harmless."""
    with engine.begin() as connection:
        account = _lock_account(connection, account_id, within)
        if account.email == actor:
            raise AccountRefusedError("own_account")
        if account.state == "disabled":
            return
        _keep_an_administrator(connection, account)
        connection.execute(update(Account).where(Account.id == account_id).values(state="disabled"))
        connection.execute(delete(AccountToken).where(AccountToken.account_id == account_id))
        end_sessions(connection, account_id)
        record_action(connection, actor, "account_disable", str(account_id), {}, now)


def enable_account(
    engine: Engine, actor: str, account_id: uuid.UUID, now: dt.datetime, within: str | None = None
) -> None:
    """Let a disabled person in again, as before. Repeating it is harmless."""
    with engine.begin() as connection:
        account = _lock_account(connection, account_id, within)
        if account.state != "disabled":
            return
        state = "active" if account.password_hash or account.oidc_subject else "invited"
        connection.execute(update(Account).where(Account.id == account_id).values(state=state))
        record_action(connection, actor, "account_enable", str(account_id), {}, now)


def reset_second_factor(
    engine: Engine, actor: str, account_id: uuid.UUID, now: dt.datetime, within: str | None = None
) -> None:
    """Forget a lost authenticator: the next sign-in enrols a new one. Sessions end."""
    with engine.begin() as connection:
        account = _lock_account(connection, account_id, within)
        if account.email == actor:
            raise AccountRefusedError("own_account")
        forgotten = {"totp_secret_encrypted": None, "totp_confirmed_at": None, "totp_last_step": None}
        connection.execute(update(Account).where(Account.id == account_id).values(forgotten))
        connection.execute(delete(RecoveryCode).where(RecoveryCode.account_id == account_id))
        end_sessions(connection, account_id)
        record_action(connection, actor, "account_second_factor_reset", str(account_id), {}, now)


def list_accounts(engine: Engine, within: str | None = None) -> list[AccountView]:
    """Every account, or those of one funder, by e-mail address."""
    statement = _SELECT_VIEW.order_by(Account.email)
    if within is not None:
        statement = statement.where(Account.funder == within)
    with engine.connect() as connection:
        return [_view(row) for row in connection.execute(statement)]


def read_account(engine: Engine, account_id: uuid.UUID, within: str | None = None) -> AccountView:
    """One account by its id. Raises :class:`AccountUnknownError`."""
    statement = _SELECT_VIEW.where(Account.id == account_id)
    if within is not None:
        statement = statement.where(Account.funder == within)
    with engine.connect() as connection:
        row = connection.execute(statement).one_or_none()
    if row is None:
        raise AccountUnknownError
    return _view(row)


def find_account(engine: Engine, email: str) -> AccountView:
    """The account of this e-mail address. Raises :class:`AccountUnknownError`."""
    with engine.connect() as connection:
        row = connection.execute(_SELECT_VIEW.where(Account.email == email.strip().lower())).one_or_none()
    if row is None:
        raise AccountUnknownError
    return _view(row)


def ensure_first_administrator(engine: Engine, now: dt.datetime) -> Invitation | None:
    """An invitation for the first administrator where there is no account at all, else ``None``.

    Two processes at once make one administrator; only the maker gets the link.
    """
    with engine.begin() as connection:
        connection.execute(_FIRST_LOCK)
        if connection.scalar(select(func.count()).select_from(Account).where(Account.demo.is_(False))):
            return None
        account_id = uuid.uuid4()
        connection.execute(
            insert(Account).values(
                id=account_id,
                email=FIRST_ADMINISTRATOR,
                name="Administrator",
                role="administrator",
                created_at=now,
            )
        )
        record_action(connection, "gotong", "account_create", str(account_id), {"role": "administrator"}, now)
        return _issue_token(connection, account_id, FIRST_ADMINISTRATOR, "invitation", now)


def ensure_demo_accounts(
    engine: Engine, vault: Vault, *, regency: str, funder: str, village: str, now: dt.datetime
) -> list[DemoAccount]:
    """One account per role (and a second officer, for four eyes), with a public password.

    They sign in only where the portal runs in demo mode. Repeating it changes nothing.
    """
    company, place = Scope(funder=funder), Scope(village=village)
    wanted: list[tuple[str, str, Role, Scope]] = [
        ("petugas@demo.invalid", "Petugas Keuangan (contoh)", "officer", Scope(regency=regency)),
        ("petugas2@demo.invalid", "Petugas Kedua (contoh)", "officer", Scope(regency=regency)),
        ("perusahaan@demo.invalid", "Staf Perusahaan (contoh)", "company_user", company),
        ("admin.perusahaan@demo.invalid", "Admin Perusahaan (contoh)", "company_admin", company),
        ("desa@demo.invalid", "Verifikator Desa (contoh)", "verifier", place),
        ("auditor@demo.invalid", "Auditor (contoh)", "auditor", Scope()),
        ("admin@demo.invalid", "Administrator (contoh)", "administrator", Scope()),
    ]
    password_hash = ""
    for email, name, role, scope in wanted:
        with engine.begin() as connection:
            connection.execute(_FIRST_LOCK)
            if connection.scalar(select(Account.id).where(Account.email == email)) is not None:
                continue
            password_hash = password_hash or hash_password(DEMO_PASSWORD)
            account_id = uuid.uuid4()
            connection.execute(
                insert(Account).values(
                    id=account_id,
                    email=email,
                    name=name,
                    role=role,
                    state="active",
                    demo=True,
                    password_hash=password_hash,
                    totp_secret_encrypted=seal_totp_secret(vault, account_id, pyotp.random_base32()),
                    totp_confirmed_at=now,
                    created_at=now,
                    **check_scope(connection, role, scope, None),
                )
            )
            record_action(connection, "gotong", "account_create", str(account_id), {"role": role}, now)
    return [DemoAccount(email, name, role) for email, name, role, _ in wanted]


def list_demo_accounts(engine: Engine) -> list[DemoAccount]:
    """The demo's accounts that can sign in, officers first."""
    with engine.connect() as connection:
        rows = connection.execute(
            select(Account.email, Account.name, Account.role)
            .where(Account.demo, Account.state == "active")
            .order_by(Account.created_at)
        )
        return [DemoAccount(row.email, row.name, row.role) for row in rows]


def seal_totp_secret(vault: Vault, account_id: uuid.UUID, secret: str) -> bytes:
    """Seal an authenticator's secret; it opens for this account only."""
    return vault.encrypt(secret.encode(), f"totp:{account_id}")


def open_totp_secret(vault: Vault, account_id: uuid.UUID, sealed: bytes) -> str:
    """Open what :func:`seal_totp_secret` sealed. Raises ``UndecryptableError``."""
    return vault.decrypt(sealed, f"totp:{account_id}").decode()


def make_token() -> str:
    """256 random bits for a link or a session."""
    return base64.urlsafe_b64encode(secrets.token_bytes(32)).decode().rstrip("=")


def end_sessions(connection: Connection, account_id: uuid.UUID, but: uuid.UUID | None = None) -> int:
    """End the account's sessions, all or all ``but`` one; returns how many."""
    statement = delete(AccountSession).where(AccountSession.account_id == account_id)
    if but is not None:
        statement = statement.where(AccountSession.id != but)
    return connection.execute(statement).rowcount


_SELECT_VIEW = select(
    Account.id,
    Account.email,
    Account.name,
    Account.role,
    Account.regency_code,
    Account.funder,
    Account.village_code,
    Account.state,
    Account.totp_confirmed_at,
    Account.created_at,
)


def _view(row: Any) -> AccountView:
    return AccountView(
        id=row.id,
        email=row.email,
        name=row.name,
        role=row.role,
        regency=row.regency_code,
        funder=row.funder,
        village=row.village_code,
        state=row.state,
        second_factor=row.totp_confirmed_at is not None,
        created_at=row.created_at,
    )


def _lock_account(connection: Connection, account_id: uuid.UUID, within: str | None) -> Any:
    statement = select(
        Account.email, Account.role, Account.state, Account.password_hash, Account.oidc_subject
    ).where(Account.id == account_id)
    if within is not None:
        statement = statement.where(Account.funder == within)
    account = connection.execute(statement.with_for_update()).one_or_none()
    if account is None:
        raise AccountUnknownError
    return account


def check_scope(
    connection: Connection, role: Role, scope: Scope, within: str | None
) -> dict[str, str | None]:
    """The columns of a scope that fits the role. Raises :class:`AccountRefusedError`."""
    needed = {
        "officer": "regency",
        "company_user": "funder",
        "company_admin": "funder",
        "verifier": "village",
    }
    given = {name for name in ("regency", "funder", "village") if getattr(scope, name)}
    allowed = {needed[role]} if role in needed else set()
    if given != allowed and not (role == "auditor" and given == {"regency"}):
        raise AccountRefusedError("scope_wrong")
    funder = normalise_funder(scope.funder) if scope.funder else None
    if within is not None and (role not in ("company_user", "company_admin") or funder != within):
        raise AccountRefusedError("scope_wrong")
    if scope.regency and not connection.scalar(select(Regency.code).where(Regency.code == scope.regency)):
        raise AccountRefusedError("regency_unknown")
    if scope.village and not connection.scalar(
        select(Region.code).where(Region.code == scope.village, Region.level == "village")
    ):
        raise AccountRefusedError("village_unknown")
    return {
        "regency_code": scope.regency or None,
        "funder": funder,
        "village_code": scope.village or None,
    }


def _said(columns: dict[str, str | None]) -> dict[str, str]:
    return {name: value for name, value in columns.items() if value is not None}


def _keep_an_administrator(connection: Connection, account: Any) -> None:
    """Refuse to take the last administrator away. Two such changes at once queue here."""
    if account.role != "administrator" or account.state == "disabled":
        return
    connection.execute(_FIRST_LOCK)
    others = connection.scalar(
        select(func.count())
        .select_from(Account)
        .where(Account.role == "administrator", Account.state == "active", Account.email != account.email)
    )
    if not others:
        raise AccountRefusedError("last_administrator")


def _issue_token(
    connection: Connection, account_id: uuid.UUID, email: str, purpose: Purpose, now: dt.datetime
) -> Invitation:
    connection.execute(
        delete(AccountToken).where(AccountToken.account_id == account_id, AccountToken.used_at.is_(None))
    )
    token = make_token()
    expires_at = now + (INVITATION_LASTS if purpose == "invitation" else RESET_LASTS)
    connection.execute(
        insert(AccountToken).values(
            token_hash=digest(token), account_id=account_id, purpose=purpose, expires_at=expires_at
        )
    )
    return Invitation(account_id, email, purpose, token, expires_at)
