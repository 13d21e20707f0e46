"""keys of programs, and their requests; policies and which of them is in force."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from models.migrations.access import grant_application

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "api_key",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("token_hash", sa.LargeBinary(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("regency_code", sa.Text(), nullable=True),
        sa.Column("funder", sa.Text(), nullable=True, comment="the company's NPWP in 16 digits"),
        sa.Column("village_code", sa.Text(), nullable=True),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column("created_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("expires_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("used_at", postgresql.TIMESTAMP(timezone=True), nullable=True, comment="to the minute"),
        sa.Column("revoked_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("revoked_by", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "role IN ('officer', 'company_user', 'company_admin', 'verifier', 'auditor', 'administrator')",
            name=op.f("ck_api_key_role_known"),
        ),
        sa.CheckConstraint("octet_length(token_hash) = 32", name=op.f("ck_api_key_token_hash_is_sha256")),
        sa.CheckConstraint("length(name) BETWEEN 1 AND 100", name=op.f("ck_api_key_name_given")),
        sa.CheckConstraint("expires_at > created_at", name=op.f("ck_api_key_expires_after_creation")),
        sa.CheckConstraint(
            "(revoked_at IS NULL) = (revoked_by IS NULL)", name=op.f("ck_api_key_revoked_by_somebody")
        ),
        sa.CheckConstraint(
            "CASE role WHEN 'officer' THEN regency_code IS NOT NULL AND num_nonnulls(funder, village_code) = 0 WHEN 'company_user' THEN funder IS NOT NULL AND num_nonnulls(regency_code, village_code) = 0 WHEN 'company_admin' THEN funder IS NOT NULL AND num_nonnulls(regency_code, village_code) = 0 WHEN 'verifier' THEN village_code IS NOT NULL AND num_nonnulls(regency_code, funder) = 0 WHEN 'auditor' THEN num_nonnulls(funder, village_code) = 0 ELSE num_nonnulls(regency_code, funder, village_code) = 0 END",
            name=op.f("ck_api_key_scope_fits_role"),
        ),
        sa.ForeignKeyConstraint(["regency_code"], ["regency.code"], name=op.f("fk_api_key_regency_code")),
        sa.ForeignKeyConstraint(["village_code"], ["region.code"], name=op.f("fk_api_key_village_code")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_key")),
        sa.UniqueConstraint("token_hash", name=op.f("uq_api_key_token_hash")),
    )
    op.create_index(
        "uq_api_key_name_in_use",
        "api_key",
        ["name"],
        unique=True,
        postgresql_where=sa.text("revoked_at IS NULL"),
    )
    op.create_table(
        "idempotent_request",
        sa.Column("caller", sa.Uuid(), nullable=False, comment="an account or an API key"),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("content_hash", sa.LargeBinary(), nullable=False),
        sa.Column("begun_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("status", sa.Integer(), nullable=True),
        sa.Column("body", postgresql.JSONB(), nullable=True),
        sa.CheckConstraint(
            "octet_length(content_hash) = 32", name=op.f("ck_idempotent_request_content_hash_is_sha256")
        ),
        sa.CheckConstraint(
            "(status IS NULL) = (body IS NULL)", name=op.f("ck_idempotent_request_answer_whole")
        ),
        sa.PrimaryKeyConstraint("caller", "key", name=op.f("pk_idempotent_request")),
    )
    op.create_table(
        "policy_version",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("content", postgresql.JSONB(), nullable=False),
        sa.Column("saved_by", sa.Text(), nullable=False),
        sa.Column(
            "saved_at",
            postgresql.TIMESTAMP(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.CheckConstraint("version >= 1", name=op.f("ck_policy_version_version_positive")),
        sa.PrimaryKeyConstraint("name", "version", name=op.f("pk_policy_version")),
    )
    op.create_table(
        "policy_in_force",
        sa.Column("regency_code", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=True),
        sa.Column("version", sa.Integer(), nullable=True),
        sa.Column("chosen_by", sa.Text(), nullable=False),
        sa.Column("chosen_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["regency_code"], ["regency.code"], name=op.f("fk_policy_in_force_regency_code")
        ),
        sa.ForeignKeyConstraint(
            ["name", "version"],
            ["policy_version.name", "policy_version.version"],
            name="fk_policy_in_force_version",
        ),
        sa.CheckConstraint(
            "num_nulls(name, version) IN (0, 2)", name=op.f("ck_policy_in_force_version_whole")
        ),
        sa.PrimaryKeyConstraint("regency_code", name=op.f("pk_policy_in_force")),
    )
    grant_application()
