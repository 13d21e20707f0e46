"""What every migration that makes a table says about who may reach it."""

from __future__ import annotations

from alembic import op

# Without the role there is nothing to grant; whoever makes it later calls the function then.
_GRANT = """
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'gotong_app') THEN
        PERFORM grant_application_role();
    END IF;
END $$
"""


def grant_application() -> None:
    """Give the application's role its rights on all tables, the new ones too (migration 0005)."""
    op.execute(_GRANT)


def show_to_portal(table: str, condition: str, columns: str = "") -> None:
    """Guard a table's rows: the house reaches all of them, the portal's role reads those of ``condition``.

    ``columns`` narrows what the portal may read, e.g. ``id, state``.
    """
    op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
    op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
    # The house's own processes and commands connect as the role that migrates, or as a member of it.
    op.execute(f"CREATE POLICY house ON {table} TO CURRENT_USER USING (true) WITH CHECK (true)")
    op.execute(f"CREATE POLICY portal ON {table} FOR SELECT TO gotong_portal USING ({condition})")
    op.execute(f"GRANT SELECT{f' ({columns})' if columns else ''} ON {table} TO gotong_portal")
