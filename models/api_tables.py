"""Tables of the JSON API and of the policies that administrators keep: keys, answered requests, versions."""

from __future__ import annotations

import datetime as dt
import uuid
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, ForeignKeyConstraint, Index, Integer, func, text
from sqlalchemy.orm import Mapped, mapped_column

from models.role import ROLES
from models.tables import Base

_ROLE_LIST = ", ".join(repr(role) for role in ROLES)


class ApiKey(Base):
    """A key with which a program uses the JSON API, with a role and its scope. Only its digest is kept."""

    __tablename__ = "api_key"
    __table_args__ = (
        CheckConstraint(f"role IN ({_ROLE_LIST})", name="role_known"),
        CheckConstraint("octet_length(token_hash) = 32", name="token_hash_is_sha256"),
        CheckConstraint("length(name) BETWEEN 1 AND 100", name="name_given"),
        CheckConstraint("expires_at > created_at", name="expires_after_creation"),
        CheckConstraint("(revoked_at IS NULL) = (revoked_by IS NULL)", name="revoked_by_somebody"),
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
        Index("uq_api_key_name_in_use", "name", unique=True, postgresql_where=text("revoked_at IS NULL")),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    name: Mapped[str]
    token_hash: Mapped[bytes] = mapped_column(unique=True)
    role: Mapped[str]
    regency_code: Mapped[str | None] = mapped_column(ForeignKey("regency.code"))
    funder: Mapped[str | None] = mapped_column(comment="the company's NPWP in 16 digits")
    village_code: Mapped[str | None] = mapped_column(ForeignKey("region.code"))
    created_by: Mapped[str]
    created_at: Mapped[dt.datetime]
    expires_at: Mapped[dt.datetime]
    used_at: Mapped[dt.datetime | None] = mapped_column(comment="to the minute")
    revoked_at: Mapped[dt.datetime | None]
    revoked_by: Mapped[str | None]


class IdempotentRequest(Base):
    """A change that was asked for with an Idempotency-Key, and its answer once there is one."""

    __tablename__ = "idempotent_request"
    __table_args__ = (
        CheckConstraint("octet_length(content_hash) = 32", name="content_hash_is_sha256"),
        CheckConstraint("(status IS NULL) = (body IS NULL)", name="answer_whole"),
    )

    caller: Mapped[uuid.UUID] = mapped_column(primary_key=True, comment="an account or an API key")
    key: Mapped[str] = mapped_column(primary_key=True)
    content_hash: Mapped[bytes]
    begun_at: Mapped[dt.datetime]
    status: Mapped[int | None] = mapped_column(Integer)
    body: Mapped[dict[str, Any] | None]


class PolicyVersion(Base):
    """A saved version of a named policy. Versions are added, never changed: runs were made with them."""

    __tablename__ = "policy_version"
    __table_args__ = (CheckConstraint("version >= 1", name="version_positive"),)

    name: Mapped[str] = mapped_column(primary_key=True)
    version: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    content: Mapped[dict[str, Any]]
    saved_by: Mapped[str]
    saved_at: Mapped[dt.datetime] = mapped_column(server_default=func.clock_timestamp())


class PolicyInForce(Base):
    """The policy that a regency's next runs follow. Without a row, or a name, it is the one Gotong ships."""

    __tablename__ = "policy_in_force"
    __table_args__ = (
        ForeignKeyConstraint(
            ["name", "version"],
            ["policy_version.name", "policy_version.version"],
            name="fk_policy_in_force_version",
        ),
        CheckConstraint("num_nulls(name, version) IN (0, 2)", name="version_whole"),
    )

    regency_code: Mapped[str] = mapped_column(ForeignKey("regency.code"), primary_key=True)
    name: Mapped[str | None]
    version: Mapped[int | None] = mapped_column(Integer)
    chosen_by: Mapped[str]
    chosen_at: Mapped[dt.datetime]
