"""Halt: an audit breach stops allocation where it was found, and says how to look at it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

from sqlalchemy import Engine, select, update

from models.review_tables import AuditRecord
from models.tables import Fund, Regency
from workflow.audit import Finding, audit
from workflow.raise_alert import close_alerts, raise_alert
from workflow.record import record_action
from workflow.request import raise_signal

_REGENCY_OF_FUND = select(Fund.code, Fund.regency_code)


def audit_and_halt(engine: Engine, now: dt.datetime) -> list[Finding]:
    """Audit; halt the regencies the breaches concern (all of them when that cannot be told).

    Findings that leave every balance right halt nobody; an alert names them, at most once a day.
    """
    findings = audit(engine)
    if breaches := [finding for finding in findings if finding.halts]:
        halt_regencies(engine, breaches, now)
    for finding in findings:
        if not finding.halts:
            _warn(engine, finding, now)
    return findings


def halt_regencies(engine: Engine, findings: Sequence[Finding], now: dt.datetime) -> list[str]:
    """Stop new runs for the findings' regencies and alert people; returns the codes newly halted."""
    with engine.begin() as connection:
        regency_of = {row.code: row.regency_code for row in connection.execute(_REGENCY_OF_FUND)}
        served = connection.scalars(select(Regency.code).order_by(Regency.code)).all()
        concerned = {regency_of.get(finding.subject) for finding in findings}
        codes = list(served) if None in concerned else sorted(code for code in concerned if code)
        first = findings[0]
        reason = (
            f"audit: {first.check} at {first.subject}, {len(findings)} finding(s);"
            " look with 'gotong audit', then 'gotong resume'"
        )
        halted = list(
            connection.scalars(
                update(Regency)
                .where(Regency.code.in_(codes), Regency.halted_reason.is_(None))
                .values(halted_reason=reason)
                .returning(Regency.code)
            )
        )
        for code in halted:
            record_action(connection, "audit", "halt", code, {"findings": len(findings)}, now)
            raise_alert(
                connection,
                "audit_breach",
                first.subject,
                "critical",
                message_id=(
                    f"Audit menemukan {len(findings)} selisih, pertama {first.check} pada {first.subject}:"
                    f" {first.message}. Alokasi {code} dihentikan. Periksa dengan 'gotong audit', lalu"
                    f" 'gotong resume {code}'."
                ),
                message_en=(
                    f"The audit has {len(findings)} finding(s), the first {first.check} at {first.subject}:"
                    f" {first.message}. Allocation for {code} is halted. Look with 'gotong audit', then"
                    f" 'gotong resume {code}'."
                ),
                regency=code,
                now=now,
            )
    return halted


def _warn(engine: Engine, finding: Finding, now: dt.datetime) -> None:
    with engine.begin() as connection:
        said = connection.scalar(
            select(AuditRecord.number)
            .where(
                AuditRecord.action == "warn",
                AuditRecord.subject == finding.subject,
                AuditRecord.recorded_at > now - dt.timedelta(days=1),
            )
            .limit(1)
        )
        if said is not None:
            return
        record_action(connection, "audit", "warn", finding.subject, {"check": finding.check}, now)
        raise_alert(
            connection,
            finding.check,
            finding.subject,
            "warning",
            message_id=f"{finding.subject}: {finding.message}. Periksa dengan 'gotong audit'.",
            message_en=f"{finding.subject}: {finding.message}. Look with 'gotong audit'.",
            now=now,
        )


def resume_regency(engine: Engine, regency: str, officer: str, now: dt.datetime) -> list[Finding]:
    """Let a halted regency allocate again, when no breach stands; otherwise the findings come back.

    Raises ``LookupError`` for a regency that is not served.
    """
    with engine.connect() as connection:
        if connection.scalar(select(Regency.code).where(Regency.code == regency)) is None:
            raise LookupError(f"regency {regency} is not served here")
    findings = [finding for finding in audit(engine) if finding.halts]
    if findings:
        return findings
    with engine.begin() as connection:
        connection.execute(update(Regency).where(Regency.code == regency).values(halted_reason=None))
        raise_signal(connection, regency)
        close_alerts(connection, "audit_breach", regency, now)
        record_action(connection, officer, "resume", regency, {}, now)
    return []
