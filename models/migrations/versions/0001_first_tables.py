"""first tables."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "dead_letter",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("log_id", sa.Text(), nullable=False),
        sa.Column("topic", sa.Text(), nullable=False),
        sa.Column("partition", sa.Integer(), nullable=False),
        sa.Column("offset", sa.BigInteger(), nullable=False),
        sa.Column(
            "position",
            sa.Integer(),
            nullable=False,
            comment="which event of a CloudEvents batch; 0 for a single event or the whole message",
        ),
        sa.Column("event_key", sa.Uuid(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("key_encrypted", sa.LargeBinary(), nullable=True),
        sa.Column("headers_encrypted", sa.LargeBinary(), nullable=False),
        sa.Column("payload_encrypted", sa.LargeBinary(), nullable=False),
        sa.Column("attempt", sa.Integer(), server_default="1", nullable=False),
        sa.Column(
            "received_at",
            postgresql.TIMESTAMP(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.Column("replayed_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_dead_letter")),
        sa.UniqueConstraint(
            "log_id",
            "topic",
            "partition",
            "offset",
            "position",
            name=op.f("uq_dead_letter_log_id_topic_partition_offset_position"),
        ),
    )
    op.create_index("ix_dead_letter_topic_reason", "dead_letter", ["topic", "reason"], unique=False)
    op.create_table(
        "inbox_event",
        sa.Column("event_key", sa.Uuid(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("event_id", sa.Text(), nullable=False),
        sa.Column("content_hash", sa.LargeBinary(), nullable=False),
        sa.Column("log_id", sa.Text(), nullable=False),
        sa.Column("topic", sa.Text(), nullable=False),
        sa.Column("partition", sa.Integer(), nullable=False),
        sa.Column("offset", sa.BigInteger(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column(
            "received_at",
            postgresql.TIMESTAMP(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.CheckConstraint(
            "octet_length(content_hash) = 32", name=op.f("ck_inbox_event_content_hash_is_sha256")
        ),
        sa.PrimaryKeyConstraint("event_key", name=op.f("pk_inbox_event")),
    )
    op.create_table(
        "outbox_message",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("topic", sa.Text(), nullable=False),
        sa.Column("key", sa.LargeBinary(), nullable=True),
        sa.Column("headers", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("value", sa.LargeBinary(), nullable=False),
        sa.Column("value_hash", sa.LargeBinary(), nullable=False),
        sa.Column("intake", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column(
            "created_at",
            postgresql.TIMESTAMP(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.Column("published_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("published_log_id", sa.Text(), nullable=True),
        sa.Column("settled_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.CheckConstraint(
            "octet_length(value_hash) = 32", name=op.f("ck_outbox_message_value_hash_is_sha256")
        ),
        sa.CheckConstraint(
            "intake OR settled_at IS NULL", name=op.f("ck_outbox_message_only_intake_settles")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_outbox_message")),
    )
    op.create_index(
        "ix_outbox_message_unpublished",
        "outbox_message",
        ["intake", "id"],
        unique=False,
        postgresql_where=sa.text("published_at IS NULL AND settled_at IS NULL"),
    )
    op.create_index(
        "ix_outbox_message_in_flight",
        "outbox_message",
        ["id"],
        unique=False,
        postgresql_where=sa.text("intake AND published_at IS NOT NULL AND settled_at IS NULL"),
    )
    # Sealed contents do not compress; trying costs more than the row.
    op.execute("ALTER TABLE outbox_message ALTER COLUMN value SET STORAGE EXTERNAL")
    op.execute("ALTER TABLE dead_letter ALTER COLUMN payload_encrypted SET STORAGE EXTERNAL")
    op.create_table(
        "region",
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("level", sa.Text(), nullable=False),
        sa.Column("parent_code", sa.Text(), nullable=True),
        sa.Column("kind", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "(level = 'village') = (kind IS NOT NULL) AND (kind IS NULL OR kind IN ('desa', 'kelurahan'))",
            name=op.f("ck_region_kind_of_village"),
        ),
        sa.CheckConstraint(
            "code ~ '^\\d{2}(\\.\\d{2}(\\.\\d{2}(\\.\\d{4})?)?)?$'", name=op.f("ck_region_code_wellformed")
        ),
        sa.CheckConstraint(
            "level IN ('province', 'regency', 'district', 'village')", name=op.f("ck_region_level_known")
        ),
        sa.ForeignKeyConstraint(["parent_code"], ["region.code"], name=op.f("fk_region_parent_code")),
        sa.PrimaryKeyConstraint("code", name=op.f("pk_region")),
    )
    op.create_index(op.f("ix_region_parent_code"), "region", ["parent_code"], unique=False)
    op.create_table(
        "regency",
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("timezone", sa.Text(), nullable=False),
        sa.Column("generation", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("halted_reason", sa.Text(), nullable=True),
        sa.CheckConstraint("generation >= 0", name=op.f("ck_regency_generation_not_negative")),
        sa.ForeignKeyConstraint(["code"], ["region.code"], name=op.f("fk_regency_code")),
        sa.PrimaryKeyConstraint("code", name=op.f("pk_regency")),
    )
    op.create_table(
        "worker",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("nik_hash", sa.LargeBinary(), nullable=False),
        sa.Column("nik_encrypted", sa.LargeBinary(), nullable=False),
        sa.Column("nik_key_id", sa.Text(), nullable=False),
        sa.Column("name_encrypted", sa.LargeBinary(), nullable=True),
        sa.Column("village_code", sa.Text(), nullable=False),
        sa.Column("occupation", sa.Text(), nullable=False),
        sa.Column("sex", sa.Text(), nullable=True),
        sa.Column("birth_year", sa.SmallInteger(), nullable=True),
        sa.Column("declared_base_rupiah", sa.BigInteger(), nullable=False),
        sa.Column("reported_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.CheckConstraint("sex IN ('L', 'P')", name=op.f("ck_worker_sex_known")),
        sa.CheckConstraint("birth_year BETWEEN 1900 AND 2100", name=op.f("ck_worker_birth_year_plausible")),
        sa.CheckConstraint("declared_base_rupiah > 0", name=op.f("ck_worker_declared_base_positive")),
        sa.CheckConstraint("octet_length(nik_hash) = 32", name=op.f("ck_worker_nik_hash_is_sha256")),
        sa.ForeignKeyConstraint(["village_code"], ["region.code"], name=op.f("fk_worker_village_code")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_worker")),
        sa.UniqueConstraint("nik_hash", name=op.f("uq_worker_nik_hash")),
    )
    op.create_table(
        "allocation_request",
        sa.Column("regency_code", sa.Text(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column(
            "requested_at",
            postgresql.TIMESTAMP(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.Column(
            "published_at",
            postgresql.TIMESTAMP(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
            comment="renewed when a request is published again",
        ),
        sa.Column("answered_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["regency_code"], ["regency.code"], name=op.f("fk_allocation_request_regency_code")
        ),
        sa.PrimaryKeyConstraint("regency_code", "number", name=op.f("pk_allocation_request")),
    )
    op.create_index(
        "uq_allocation_request_waiting",
        "allocation_request",
        ["regency_code"],
        unique=True,
        postgresql_where=sa.text("answered_at IS NULL"),
    )
    op.create_table(
        "allocation_run",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("regency_code", sa.Text(), nullable=False),
        sa.Column("generation", sa.BigInteger(), nullable=False),
        sa.Column("policy", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("needs", sa.Integer(), server_default="0", nullable=False),
        sa.Column("proposed", sa.Integer(), server_default="0", nullable=False),
        sa.Column("changed", sa.Integer(), server_default="0", nullable=False),
        sa.Column("tiers", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("prices", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("seconds", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("progress", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("marginal_values", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column(
            "started_at",
            postgresql.TIMESTAMP(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.Column("finished_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.CheckConstraint(
            "status IN ('RUNNING', 'OPTIMAL', 'FEASIBLE', 'ABANDONED', 'FAILED')",
            name=op.f("ck_allocation_run_status_known"),
        ),
        sa.ForeignKeyConstraint(
            ["regency_code"], ["regency.code"], name=op.f("fk_allocation_run_regency_code")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_allocation_run")),
        sa.UniqueConstraint(
            "regency_code", "generation", name=op.f("uq_allocation_run_regency_code_generation")
        ),
    )
    op.create_table(
        "allocation_signal",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("regency_code", sa.Text(), nullable=False),
        sa.Column(
            "raised_at",
            postgresql.TIMESTAMP(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.ForeignKeyConstraint(
            ["regency_code"], ["regency.code"], name=op.f("fk_allocation_signal_regency_code")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_allocation_signal")),
    )
    op.create_index(
        "ix_allocation_signal_regency", "allocation_signal", ["regency_code", "raised_at"], unique=False
    )
    op.create_table(
        "coverage_need",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("worker_id", sa.BigInteger(), nullable=False),
        sa.Column("regency_code", sa.Text(), nullable=False),
        sa.Column("district_code", sa.Text(), nullable=False),
        sa.Column("village_code", sa.Text(), nullable=False),
        sa.Column("programmes", sa.SmallInteger(), nullable=False),
        sa.Column("months", sa.SmallInteger(), nullable=False),
        sa.Column("start_month", sa.Date(), nullable=False),
        sa.Column("priority", sa.SmallInteger(), nullable=False),
        sa.Column("state", sa.Text(), server_default="waiting", nullable=False),
        sa.Column("version", sa.Integer(), server_default="1", nullable=False),
        sa.Column("unfunded_reason", sa.Text(), nullable=True),
        sa.Column("reported_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column(
            "registered_at",
            postgresql.TIMESTAMP(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.Column(
            "changed_at",
            postgresql.TIMESTAMP(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
            comment="an older line of this need must not be signed",
        ),
        sa.CheckConstraint(
            "state IN ('waiting', 'proposed', 'approved', 'enrolled', 'closed')",
            name=op.f("ck_coverage_need_state_known"),
        ),
        sa.CheckConstraint(
            "extract(day FROM start_month) = 1", name=op.f("ck_coverage_need_start_month_first_day")
        ),
        sa.CheckConstraint("months BETWEEN 1 AND 12", name=op.f("ck_coverage_need_months_1_to_12")),
        sa.CheckConstraint("priority BETWEEN 1 AND 100", name=op.f("ck_coverage_need_priority_1_to_100")),
        sa.CheckConstraint("programmes BETWEEN 1 AND 15", name=op.f("ck_coverage_need_programmes_known")),
        sa.CheckConstraint("version >= 1", name=op.f("ck_coverage_need_version_positive")),
        sa.ForeignKeyConstraint(
            ["regency_code"], ["regency.code"], name=op.f("fk_coverage_need_regency_code")
        ),
        sa.ForeignKeyConstraint(["worker_id"], ["worker.id"], name=op.f("fk_coverage_need_worker_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_coverage_need")),
    )
    op.create_index(
        "ix_coverage_need_district_state", "coverage_need", ["district_code", "state"], unique=False
    )
    op.create_index(
        "ix_coverage_need_open",
        "coverage_need",
        ["regency_code", "id"],
        unique=False,
        postgresql_where=sa.text("state IN ('waiting', 'proposed')"),
    )
    op.create_index("ix_coverage_need_worker", "coverage_need", ["worker_id", "start_month"], unique=False)
    op.create_table(
        "fund",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("regency_code", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("funder", sa.Text(), nullable=True),
        sa.Column("npwp", sa.Text(), nullable=True),
        sa.Column("fiscal_year", sa.Integer(), nullable=True),
        sa.Column("account_code", sa.Text(), nullable=True),
        sa.Column("ceiling_rupiah", sa.BigInteger(), nullable=True),
        sa.Column("released_rupiah", sa.BigInteger(), nullable=True),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("window_from", sa.Date(), nullable=False),
        sa.Column("window_to", sa.Date(), nullable=False),
        sa.Column("regions", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("occupations", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("programmes", sa.SmallInteger(), nullable=False, comment="bit mask; 0 = every programme"),
        sa.Column("sexes", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("age_from", sa.SmallInteger(), nullable=True),
        sa.Column("age_to", sa.SmallInteger(), nullable=True),
        sa.Column("max_months", sa.SmallInteger(), nullable=True),
        sa.Column("head_count_cap", sa.BigInteger(), nullable=True),
        sa.Column("district_cap", sa.BigInteger(), nullable=True),
        sa.Column("min_workers", sa.BigInteger(), nullable=True),
        sa.Column("jkk_jkm_discount", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("pledged_rupiah", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("reserved_rupiah", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("committed_rupiah", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("disbursed_rupiah", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("expired_rupiah", sa.BigInteger(), server_default="0", nullable=False),
        sa.CheckConstraint(
            "(kind = 'apbd') = (ceiling_rupiah IS NOT NULL AND released_rupiah IS NOT NULL AND fiscal_year IS NOT NULL AND account_code IS NOT NULL)",
            name=op.f("ck_fund_budget_line_complete"),
        ),
        sa.CheckConstraint(
            "NOT (kind = 'apbd' AND jkk_jkm_discount)", name=op.f("ck_fund_no_discount_for_apbd")
        ),
        sa.CheckConstraint(
            "kind = 'csr' OR pledged_rupiah <= least(ceiling_rupiah, released_rupiah)",
            name=op.f("ck_fund_within_ceiling_and_release"),
        ),
        sa.CheckConstraint("kind IN ('csr', 'apbd')", name=op.f("ck_fund_kind_known")),
        sa.CheckConstraint("age_from <= age_to", name=op.f("ck_fund_ages_in_order")),
        sa.CheckConstraint("committed_rupiah >= 0", name=op.f("ck_fund_committed_not_negative")),
        sa.CheckConstraint("disbursed_rupiah >= 0", name=op.f("ck_fund_disbursed_not_negative")),
        sa.CheckConstraint("district_cap >= 0", name=op.f("ck_fund_district_cap_not_negative")),
        sa.CheckConstraint("expired_rupiah >= 0", name=op.f("ck_fund_expired_not_negative")),
        sa.CheckConstraint("head_count_cap >= 0", name=op.f("ck_fund_head_count_cap_not_negative")),
        sa.CheckConstraint("max_months BETWEEN 1 AND 12", name=op.f("ck_fund_max_months_1_to_12")),
        sa.CheckConstraint("min_workers >= 0", name=op.f("ck_fund_min_workers_not_negative")),
        sa.CheckConstraint("pledged_rupiah >= 0", name=op.f("ck_fund_pledged_not_negative")),
        sa.CheckConstraint("programmes BETWEEN 0 AND 15", name=op.f("ck_fund_programmes_known")),
        sa.CheckConstraint(
            "reserved_rupiah + committed_rupiah + disbursed_rupiah + expired_rupiah <= pledged_rupiah",
            name=op.f("ck_fund_never_overdrawn"),
        ),
        sa.CheckConstraint("reserved_rupiah >= 0", name=op.f("ck_fund_reserved_not_negative")),
        sa.CheckConstraint("window_from <= window_to", name=op.f("ck_fund_window_in_order")),
        sa.ForeignKeyConstraint(["regency_code"], ["regency.code"], name=op.f("fk_fund_regency_code")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_fund")),
        sa.UniqueConstraint("code", name=op.f("uq_fund_code")),
    )
    op.create_index(op.f("ix_fund_regency_code"), "fund", ["regency_code"], unique=False)
    op.create_table(
        "journal_entry",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("fund_id", sa.BigInteger(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("amount_rupiah", sa.BigInteger(), nullable=False),
        sa.Column(
            "cause",
            sa.Text(),
            nullable=False,
            comment="what moved the money: a run, an event, a decision ...",
        ),
        sa.Column("cause_id", sa.Uuid(), nullable=False),
        sa.Column("recorded_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("previous_hash", sa.LargeBinary(), nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.CheckConstraint(
            "kind IN ('pledge', 'top_up', 'reduce', 'reserve', 'release', 'post', 'disburse', 'refund', 'expire')",
            name=op.f("ck_journal_entry_kind_known"),
        ),
        sa.CheckConstraint(
            "cause IN ('run', 'event', 'decision', 'answer', 'schedule')",
            name=op.f("ck_journal_entry_cause_known"),
        ),
        sa.CheckConstraint("amount_rupiah > 0", name=op.f("ck_journal_entry_amount_positive")),
        sa.CheckConstraint("number >= 1", name=op.f("ck_journal_entry_number_positive")),
        sa.CheckConstraint(
            "octet_length(hash) = 32 AND octet_length(previous_hash) = 32",
            name=op.f("ck_journal_entry_hash_is_sha256"),
        ),
        sa.ForeignKeyConstraint(["fund_id"], ["fund.id"], name=op.f("fk_journal_entry_fund_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_journal_entry")),
        sa.UniqueConstraint("fund_id", "number", name=op.f("uq_journal_entry_fund_id_number")),
    )
    op.create_index("ix_journal_entry_cause", "journal_entry", ["cause_id", "fund_id"], unique=False)
    op.create_table(
        "proposal",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("need_id", sa.BigInteger(), nullable=False),
        sa.Column("fund_id", sa.BigInteger(), nullable=False),
        sa.Column("run_id", sa.Uuid(), nullable=False),
        sa.Column("months", sa.SmallInteger(), nullable=False),
        sa.Column("amount_rupiah", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.Text(), server_default="proposed", nullable=False),
        sa.Column("version", sa.Integer(), server_default="1", nullable=False),
        sa.Column(
            "opened_at",
            postgresql.TIMESTAMP(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.Column("closed_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("closed_cause", sa.Text(), nullable=True),
        sa.Column("closed_cause_id", sa.Uuid(), nullable=True),
        sa.CheckConstraint(
            "(state IN ('superseded', 'released', 'rejected', 'returned', 'refused')) = (closed_at IS NOT NULL)",
            name=op.f("ck_proposal_closed_has_time"),
        ),
        sa.CheckConstraint(
            "num_nulls(closed_at, closed_cause, closed_cause_id) IN (0, 3)",
            name=op.f("ck_proposal_closed_has_cause"),
        ),
        sa.CheckConstraint(
            "state IN ('proposed', 'confirming', 'approved', 'enrolled',"
            " 'superseded', 'released', 'rejected', 'returned', 'refused')",
            name=op.f("ck_proposal_state_known"),
        ),
        sa.CheckConstraint("version >= 1", name=op.f("ck_proposal_version_positive")),
        sa.CheckConstraint("amount_rupiah > 0", name=op.f("ck_proposal_amount_positive")),
        sa.CheckConstraint("months BETWEEN 1 AND 12", name=op.f("ck_proposal_months_1_to_12")),
        sa.ForeignKeyConstraint(["fund_id"], ["fund.id"], name=op.f("fk_proposal_fund_id")),
        sa.ForeignKeyConstraint(["need_id"], ["coverage_need.id"], name=op.f("fk_proposal_need_id")),
        sa.ForeignKeyConstraint(["run_id"], ["allocation_run.id"], name=op.f("fk_proposal_run_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_proposal")),
    )
    op.create_index("ix_proposal_closed_cause", "proposal", ["closed_cause_id", "fund_id"], unique=False)
    op.create_index("ix_proposal_fund_state", "proposal", ["fund_id", "state"], unique=False)
    op.create_index("ix_proposal_run", "proposal", ["run_id", "fund_id"], unique=False)
    op.create_index(
        "uq_proposal_one_live_per_need",
        "proposal",
        ["need_id"],
        unique=True,
        postgresql_where=sa.text("state IN ('proposed', 'confirming', 'approved', 'enrolled')"),
    )
    op.execute(
        """
        CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            RAISE EXCEPTION 'table % is append-only', TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
        END $$
        """
    )
    op.execute(
        "CREATE TRIGGER journal_entry_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON journal_entry"
        " FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
    )
