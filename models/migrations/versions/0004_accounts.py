"""accounts; row-level security for what companies, villages and auditors read."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from models.migrations.access import show_to_portal

revision = "0004"
down_revision = "0002"
branch_labels = None
depends_on = None

# Roles belong to the whole server, so another database may have made it already, perhaps just now.
_MAKE_ROLE = """
DO $$
BEGIN
    IF NOT EXISTS (SELECT 1 FROM pg_roles WHERE rolname = 'gotong_portal') THEN
        BEGIN
            CREATE ROLE gotong_portal NOLOGIN NOSUPERUSER NOBYPASSRLS NOCREATEDB NOCREATEROLE;
        EXCEPTION
            WHEN duplicate_object OR unique_violation THEN NULL;
            WHEN insufficient_privilege THEN
                RAISE EXCEPTION USING
                    ERRCODE = 'insufficient_privilege',
                    MESSAGE = 'the role gotong_portal is missing and ' || current_user || ' may not create it',
                    HINT = 'As a superuser: CREATE ROLE gotong_portal NOLOGIN; GRANT gotong_portal TO '
                           || quote_ident(current_user);
        END;
    END IF;
    IF EXISTS (SELECT 1 FROM pg_roles WHERE rolname = 'gotong_portal' AND (rolsuper OR rolbypassrls)) THEN
        RAISE EXCEPTION 'the role gotong_portal must not bypass row-level security';
    END IF;
    IF NOT pg_has_role(current_user, 'gotong_portal',
                       CASE WHEN current_setting('server_version_num')::int4 < 160000 THEN 'MEMBER' ELSE 'SET' END) THEN
        EXECUTE 'GRANT gotong_portal TO ' || quote_ident(current_user);
    END IF;
END $$
"""

# What a request is about, set for its transaction alone (portal/unit.py). Unset reads as NULL, and NULL sees nothing.
_CONTEXT = """
CREATE FUNCTION portal_context(name text) RETURNS text LANGUAGE sql STABLE PARALLEL SAFE
RETURN nullif(current_setting('gotong.' || name, true), '')
"""

# Definer functions, because policies of two tables that look at each other would recurse; and because a
# set that is read once is hashed, while a condition per row would be looked up a million times.
_OWN_NEEDS = """
CREATE FUNCTION portal_own_needs() RETURNS SETOF bigint LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, public AS $$
    SELECT n.id FROM coverage_need n
    WHERE portal_context('role') = 'verifier' AND n.village_code = portal_context('village')
      AND n.district_code = left(portal_context('village'), 8)
    UNION ALL
    SELECT p.need_id FROM fund f JOIN proposal p ON p.fund_id = f.id
    WHERE portal_context('role') IN ('company_user', 'company_admin') AND f.kind = 'csr'
      AND lpad(regexp_replace(f.npwp, '\\D', '', 'g'), 16, '0') = portal_context('funder')
      AND p.state IN ('proposed', 'confirming', 'approved', 'enrolled')
$$
"""
_OWN_WORKERS = """
CREATE FUNCTION portal_own_workers() RETURNS SETOF bigint LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, public AS $$
    SELECT n.worker_id FROM coverage_need n WHERE n.id IN (SELECT portal_own_needs())
$$
"""

_REGENCY = """
    CASE portal_context('role')
        WHEN 'officer' THEN regency_code = portal_context('regency')
        WHEN 'auditor' THEN portal_context('regency') IS NULL OR regency_code = portal_context('regency')
        {others}
        ELSE false END
"""
_COMPANY = "portal_context('role') IN ('company_user', 'company_admin')"
_OFFICE = "portal_context('role') IN ('officer', 'auditor')"

# Table -> which of its rows the portal's role may read. A subquery obeys the policies of its own table.
POLICIES = {
    "fund": f"""
        CASE WHEN {_COMPANY} THEN
            kind = 'csr' AND lpad(regexp_replace(npwp, '\\D', '', 'g'), 16, '0') = portal_context('funder')
        ELSE {_REGENCY.format(others="")} END
    """,
    "coverage_need": _REGENCY.format(
        others="""
        WHEN 'verifier' THEN village_code = portal_context('village')
        WHEN 'company_user' THEN id IN (SELECT portal_own_needs())
        WHEN 'company_admin' THEN id IN (SELECT portal_own_needs())
        """
    ),
    "worker": """
        CASE portal_context('role')
            WHEN 'officer' THEN left(village_code, 5) = portal_context('regency')
            WHEN 'auditor' THEN
                portal_context('regency') IS NULL OR left(village_code, 5) = portal_context('regency')
            WHEN 'verifier' THEN village_code = portal_context('village')
            WHEN 'company_user' THEN id IN (SELECT portal_own_workers())
            WHEN 'company_admin' THEN id IN (SELECT portal_own_workers())
            ELSE false END
    """,
    "proposal": f"""
        CASE WHEN portal_context('role') = 'verifier' THEN need_id IN (SELECT portal_own_needs())
             WHEN {_COMPANY} THEN fund_id IN (SELECT id FROM fund)
                  AND state IN ('proposed', 'confirming', 'approved', 'enrolled')
             WHEN {_OFFICE} THEN fund_id IN (SELECT id FROM fund)
             ELSE false END
    """,
    "journal_entry": "fund_id IN (SELECT id FROM fund)",
    "decision": "fund_id IN (SELECT id FROM fund)",
    "decision_line": "EXISTS (SELECT 1 FROM decision d WHERE d.id = decision_id)",
    "enrolment_batch": "fund_id IN (SELECT id FROM fund)",
    "enrolment_line": "EXISTS (SELECT 1 FROM proposal p WHERE p.id = proposal_id)",
    "funded_month": "EXISTS (SELECT 1 FROM proposal p WHERE p.id = proposal_id)",
    "allocation_run": _REGENCY.format(others=""),
}

# Where not every column may be read: a NIK or a name by nobody, an officer's name and words by nobody outside.
COLUMNS = {
    "worker": "id, village_code, occupation",
    "decision": "id, action, fund_id, district_code, run_id, lines, amount_rupiah, needs_second, state,"
    " decided_at, closed_at",
    "enrolment_batch": "id, fund_id, lines, total_rupiah, exported_at",
    "allocation_run": "id, regency_code, generation, status, needs, proposed, changed, tiers, started_at, finished_at",
}


def upgrade() -> None:
    """Apply."""
    # ### commands auto generated by Alembic ###
    op.create_table(
        "oidc_attempt",
        sa.Column("token_hash", sa.LargeBinary(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("nonce", sa.Text(), nullable=False),
        sa.Column("code_verifier", sa.Text(), nullable=False),
        sa.Column("return_to", sa.Text(), nullable=False),
        sa.Column("expires_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.CheckConstraint(
            "octet_length(token_hash) = 32", name=op.f("ck_oidc_attempt_token_hash_is_sha256")
        ),
        sa.PrimaryKeyConstraint("token_hash", name=op.f("pk_oidc_attempt")),
    )
    op.create_table(
        "sign_in_lock",
        sa.Column("subject_hash", sa.LargeBinary(), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("failed_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("locked_until", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.CheckConstraint("failures >= 0", name=op.f("ck_sign_in_lock_failures_not_negative")),
        sa.PrimaryKeyConstraint("subject_hash", name=op.f("pk_sign_in_lock")),
    )
    op.create_table(
        "account",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("email", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("regency_code", sa.Text(), nullable=True),
        sa.Column("funder", sa.Text(), nullable=True, comment="the company's NPWP in 16 digits"),
        sa.Column("village_code", sa.Text(), nullable=True),
        sa.Column("state", sa.Text(), server_default="invited", nullable=False),
        sa.Column(
            "demo",
            sa.Boolean(),
            server_default=sa.text("false"),
            nullable=False,
            comment="its password is public; it signs in to a demo only",
        ),
        sa.Column("password_hash", sa.Text(), nullable=True),
        sa.Column("oidc_issuer", sa.Text(), nullable=True),
        sa.Column("oidc_subject", sa.Text(), nullable=True),
        sa.Column("totp_secret_encrypted", sa.LargeBinary(), nullable=True),
        sa.Column("totp_confirmed_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column(
            "totp_last_step",
            sa.BigInteger(),
            nullable=True,
            comment="a code is good once: older steps are refused",
        ),
        sa.Column(
            "created_at",
            postgresql.TIMESTAMP(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.CheckConstraint(
            "CASE role WHEN 'officer' THEN regency_code IS NOT NULL AND num_nonnulls(funder, village_code) = 0 WHEN 'company_user' THEN funder IS NOT NULL AND num_nonnulls(regency_code, village_code) = 0 WHEN 'company_admin' THEN funder IS NOT NULL AND num_nonnulls(regency_code, village_code) = 0 WHEN 'verifier' THEN village_code IS NOT NULL AND num_nonnulls(regency_code, funder) = 0 WHEN 'auditor' THEN num_nonnulls(funder, village_code) = 0 ELSE num_nonnulls(regency_code, funder, village_code) = 0 END",
            name=op.f("ck_account_scope_fits_role"),
        ),
        sa.CheckConstraint(
            "email = lower(email) AND email LIKE '%_@_%'", name=op.f("ck_account_email_lower_case")
        ),
        sa.CheckConstraint("funder ~ '^\\d{16}$'", name=op.f("ck_account_funder_is_npwp")),
        sa.CheckConstraint(
            "role IN ('officer', 'company_user', 'company_admin', 'verifier', 'auditor', 'administrator')",
            name=op.f("ck_account_role_known"),
        ),
        sa.CheckConstraint("state IN ('invited', 'active', 'disabled')", name=op.f("ck_account_state_known")),
        sa.CheckConstraint(
            "(oidc_issuer IS NULL) = (oidc_subject IS NULL)", name=op.f("ck_account_oidc_identity_whole")
        ),
        sa.ForeignKeyConstraint(["regency_code"], ["regency.code"], name=op.f("fk_account_regency_code")),
        sa.ForeignKeyConstraint(["village_code"], ["region.code"], name=op.f("fk_account_village_code")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_account")),
        sa.UniqueConstraint("email", name=op.f("uq_account_email")),
        sa.UniqueConstraint("oidc_issuer", "oidc_subject", name=op.f("uq_account_oidc_issuer_oidc_subject")),
    )
    op.create_index(
        "ix_account_funder",
        "account",
        ["funder"],
        unique=False,
        postgresql_where=sa.text("funder IS NOT NULL"),
    )
    op.create_table(
        "account_session",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("token_hash", sa.LargeBinary(), nullable=False),
        sa.Column("complete", sa.Boolean(), nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("device", sa.Text(), nullable=False),
        sa.Column("created_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("seen_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("expires_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.CheckConstraint(
            "octet_length(token_hash) = 32", name=op.f("ck_account_session_token_hash_is_sha256")
        ),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_account_session_account_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_account_session")),
        sa.UniqueConstraint("token_hash", name=op.f("uq_account_session_token_hash")),
    )
    op.create_index("ix_account_session_account", "account_session", ["account_id"], unique=False)
    op.create_table(
        "account_token",
        sa.Column("token_hash", sa.LargeBinary(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("purpose", sa.Text(), nullable=False),
        sa.Column("expires_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("used_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.CheckConstraint("purpose IN ('invitation', 'reset')", name=op.f("ck_account_token_purpose_known")),
        sa.CheckConstraint(
            "octet_length(token_hash) = 32", name=op.f("ck_account_token_token_hash_is_sha256")
        ),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_account_token_account_id")),
        sa.PrimaryKeyConstraint("token_hash", name=op.f("pk_account_token")),
    )
    op.create_index("ix_account_token_account", "account_token", ["account_id"], unique=False)
    op.create_table(
        "recovery_code",
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("code_hash", sa.LargeBinary(), nullable=False),
        sa.Column("used_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.CheckConstraint("octet_length(code_hash) = 32", name=op.f("ck_recovery_code_code_hash_is_sha256")),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_recovery_code_account_id")),
        sa.PrimaryKeyConstraint("account_id", "code_hash", name=op.f("pk_recovery_code")),
    )
    # ### end Alembic commands ###
    op.execute(_MAKE_ROLE)
    op.execute("GRANT USAGE ON SCHEMA public TO gotong_portal")
    op.execute(_CONTEXT)
    for function in ("portal_own_needs", "portal_own_workers"):
        op.execute(_OWN_NEEDS if function == "portal_own_needs" else _OWN_WORKERS)
        op.execute(f"REVOKE EXECUTE ON FUNCTION {function}() FROM PUBLIC")
        op.execute(f"GRANT EXECUTE ON FUNCTION {function}() TO gotong_portal")
    for table in ("region", "regency"):
        op.execute(f"GRANT SELECT ON {table} TO gotong_portal")
    for table, condition in POLICIES.items():
        show_to_portal(table, condition, COLUMNS.get(table, ""))
