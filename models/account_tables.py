"""Tables of the people who use the portal: accounts, their sessions, single-use tokens and lock-outs.

No secret stands here in the clear: passwords are argon2id hashes, every token and recovery code is
a SHA-256 of a long random value, and the TOTP secret is sealed by the vault.
"""

from __future__ import annotations

import datetime as dt
import uuid

from sqlalchemy import CheckConstraint, ForeignKey, Index, Integer, UniqueConstraint, func, text
from sqlalchemy.orm import Mapped, mapped_column

from models.role import ROLES
from models.tables import Base

_ROLE_LIST = ", ".join(repr(role) for role in ROLES)


class Account(Base):
    """A person who signs in. Role and scope are read anew with every request.

    The scope is part of the role: an officer belongs to a regency, a company's people to a funder
    (its NPWP, 16 digits), a village verifier to a village. An auditor without a regency reads all.
    """

    __tablename__ = "account"
    __table_args__ = (
        CheckConstraint(f"role IN ({_ROLE_LIST})", name="role_known"),
        CheckConstraint("email = lower(email) AND email LIKE '%_@_%'", name="email_lower_case"),
        CheckConstraint("state IN ('invited', 'active', 'disabled')", name="state_known"),
        CheckConstraint(
            "CASE role WHEN 'officer' THEN regency_code IS NOT NULL"
            " AND num_nonnulls(funder, village_code) = 0"
            " WHEN 'company_user' THEN funder IS NOT NULL AND num_nonnulls(regency_code, village_code) = 0"
            " WHEN 'company_admin' THEN funder IS NOT NULL AND num_nonnulls(regency_code, village_code) = 0"
            " WHEN 'verifier' THEN village_code IS NOT NULL AND num_nonnulls(regency_code, funder) = 0"
            " WHEN 'auditor' THEN num_nonnulls(funder, village_code) = 0"
            " ELSE num_nonnulls(regency_code, funder, village_code) = 0 END",
            name="scope_fits_role",
        ),
        CheckConstraint(r"funder ~ '^\d{16}$'", name="funder_is_npwp"),
        CheckConstraint("(oidc_issuer IS NULL) = (oidc_subject IS NULL)", name="oidc_identity_whole"),
        UniqueConstraint("oidc_issuer", "oidc_subject"),
        Index("ix_account_funder", "funder", postgresql_where=text("funder IS NOT NULL")),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    email: Mapped[str] = mapped_column(unique=True)
    name: Mapped[str]
    role: Mapped[str]
    regency_code: Mapped[str | None] = mapped_column(ForeignKey("regency.code"))
    funder: Mapped[str | None] = mapped_column(comment="the company's NPWP in 16 digits")
    village_code: Mapped[str | None] = mapped_column(ForeignKey("region.code"))
    state: Mapped[str] = mapped_column(server_default="invited")
    demo: Mapped[bool] = mapped_column(
        server_default=text("false"), comment="its password is public; it signs in to a demo only"
    )
    password_hash: Mapped[str | None]
    oidc_issuer: Mapped[str | None]
    oidc_subject: Mapped[str | None]
    totp_secret_encrypted: Mapped[bytes | None]
    totp_confirmed_at: Mapped[dt.datetime | None]
    totp_last_step: Mapped[int | None] = mapped_column(comment="a code is good once: older steps are refused")
    created_at: Mapped[dt.datetime] = mapped_column(server_default=func.clock_timestamp())


class AccountSession(Base):
    """A signed-in browser. ``complete`` is false until the second factor was given, where one is due."""

    __tablename__ = "account_session"
    __table_args__ = (
        CheckConstraint("octet_length(token_hash) = 32", name="token_hash_is_sha256"),
        Index("ix_account_session_account", "account_id"),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    account_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("account.id"))
    token_hash: Mapped[bytes] = mapped_column(unique=True)
    complete: Mapped[bool]
    address: Mapped[str]
    device: Mapped[str]
    created_at: Mapped[dt.datetime]
    seen_at: Mapped[dt.datetime]
    expires_at: Mapped[dt.datetime]


class AccountToken(Base):
    """An invitation or a password reset: good once, until it expires."""

    __tablename__ = "account_token"
    __table_args__ = (
        CheckConstraint("purpose IN ('invitation', 'reset')", name="purpose_known"),
        CheckConstraint("octet_length(token_hash) = 32", name="token_hash_is_sha256"),
        Index("ix_account_token_account", "account_id"),
    )

    token_hash: Mapped[bytes] = mapped_column(primary_key=True)
    account_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("account.id"))
    purpose: Mapped[str]
    expires_at: Mapped[dt.datetime]
    used_at: Mapped[dt.datetime | None]


class RecoveryCode(Base):
    """A code on paper for the day the authenticator is lost; good once."""

    __tablename__ = "recovery_code"
    __table_args__ = (CheckConstraint("octet_length(code_hash) = 32", name="code_hash_is_sha256"),)

    account_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("account.id"), primary_key=True)
    code_hash: Mapped[bytes] = mapped_column(primary_key=True)
    used_at: Mapped[dt.datetime | None]


class SignInLock(Base):
    """Failed attempts of one e-mail address (known here or not) or one network address, by digest."""

    __tablename__ = "sign_in_lock"
    __table_args__ = (CheckConstraint("failures >= 0", name="failures_not_negative"),)

    subject_hash: Mapped[bytes] = mapped_column(primary_key=True)
    failures: Mapped[int] = mapped_column(Integer)
    failed_at: Mapped[dt.datetime]
    locked_until: Mapped[dt.datetime | None]


class OidcAttempt(Base):
    """A sign-in that went to the identity provider and has not come back; bound to one browser."""

    __tablename__ = "oidc_attempt"
    __table_args__ = (CheckConstraint("octet_length(token_hash) = 32", name="token_hash_is_sha256"),)

    token_hash: Mapped[bytes] = mapped_column(primary_key=True)
    state: Mapped[str]
    nonce: Mapped[str]
    code_verifier: Mapped[str]
    return_to: Mapped[str]
    expires_at: Mapped[dt.datetime]
