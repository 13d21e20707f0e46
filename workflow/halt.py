"""Halt: an audit breach stops allocation where it was found, and says how to look at it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

from sqlalchemy import Engine, select, update

from models.tables import Fund, Regency
from workflow.audit import Finding, audit
from workflow.record import record_action
from workflow.request import raise_signal

_REGENCY_OF_FUND = select(Fund.code, Fund.regency_code)


def audit_and_halt(engine: Engine, now: dt.datetime) -> list[Finding]:
    """Audit; halt the regencies the findings concern (all of them when that cannot be told)."""
    findings = audit(engine)
    if findings:
        halt_regencies(engine, findings, now)
    return findings


def halt_regencies(engine: Engine, findings: Sequence[Finding], now: dt.datetime) -> list[str]:
    """Stop new runs for the findings' regencies; returns the codes newly halted."""
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
    return halted


def resume_regency(engine: Engine, regency: str, officer: str, now: dt.datetime) -> list[Finding]:
    """Let a halted regency allocate again, when the audit is clean; otherwise the findings come back.

    Raises ``LookupError`` for a regency that is not served.
    """
    findings = audit(engine)
    if findings:
        return findings
    with engine.begin() as connection:
        resumed = connection.execute(
            update(Regency).where(Regency.code == regency).values(halted_reason=None)
        ).rowcount
        if not resumed:
            raise LookupError(f"regency {regency} is not served here")
        raise_signal(connection, regency)
        record_action(connection, officer, "resume", regency, {}, now)
    return []
