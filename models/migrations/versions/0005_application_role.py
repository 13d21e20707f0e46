"""the role of the application's processes: it may add to the books, never change or remove what stands in them."""

from __future__ import annotations

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

# Rows that the program itself removes: what was taken, sent, forgiven or has lapsed.
_DELETES = (
    "account_session",
    "account_token",
    "allocation_signal",
    "funded_month",
    "oidc_attempt",
    "outbox_message",
    "recovery_code",
    "sign_in_lock",
)
_READ_ONLY = ("alembic_version", "legal_transition")
_APPEND_ONLY = ("audit_record", "journal_entry")

# Run again after the role was made later, and by every migration that makes a table.
_GRANT = f"""
CREATE FUNCTION grant_application_role() RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    named text;
    secured boolean;
BEGIN
    GRANT USAGE ON SCHEMA public TO gotong_app;
    FOR named, secured IN
        SELECT c.relname, c.relrowsecurity FROM pg_class c
        WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r'
    LOOP
        EXECUTE format('REVOKE ALL ON %I FROM gotong_app', named);
        EXECUTE format('GRANT SELECT ON %I TO gotong_app', named);
        CONTINUE WHEN named = ANY (ARRAY{list(_READ_ONLY)!r});
        EXECUTE format('GRANT INSERT ON %I TO gotong_app', named);
        IF secured AND NOT EXISTS (
            SELECT FROM pg_policy WHERE polrelid = named::regclass AND polname = 'application'
        ) THEN
            EXECUTE format(
                'CREATE POLICY application ON %I TO gotong_app USING (true) WITH CHECK (true)', named);
        END IF;
        CONTINUE WHEN named = ANY (ARRAY{list(_APPEND_ONLY)!r});
        EXECUTE format('GRANT UPDATE ON %I TO gotong_app', named);
        IF named = ANY (ARRAY{list(_DELETES)!r}) THEN
            EXECUTE format('GRANT DELETE ON %I TO gotong_app', named);
        END IF;
    END LOOP;
    -- The portal answers outside readers under a narrower role, which its processes must be able to take.
    BEGIN
        GRANT gotong_portal TO gotong_app;
    EXCEPTION WHEN insufficient_privilege THEN
        RAISE NOTICE '% may not grant gotong_portal to gotong_app; a superuser must', current_user;
    END;
END $$
"""

# Roles belong to the whole server, so another database may have made it already, perhaps just now.
_MAKE_ROLE = """
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'gotong_app') THEN
        BEGIN
            CREATE ROLE gotong_app NOLOGIN NOSUPERUSER NOBYPASSRLS NOCREATEDB NOCREATEROLE;
        EXCEPTION
            WHEN duplicate_object OR unique_violation THEN NULL;
            WHEN insufficient_privilege THEN
                RAISE NOTICE '% may not create roles: no role gotong_app. Once somebody has created it: '
                             'SELECT grant_application_role()', current_user;
                RETURN;
        END;
    END IF;
    PERFORM grant_application_role();
END $$
"""


def upgrade() -> None:
    """Apply."""
    op.execute(_GRANT)
    op.execute("REVOKE EXECUTE ON FUNCTION grant_application_role() FROM PUBLIC")
    op.execute(_MAKE_ROLE)
