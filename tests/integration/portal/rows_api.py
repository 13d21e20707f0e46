"""Rows of the access matrix: api. A change without If-Match or key is refused once the role is known."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import Engine, text

from models.role import ROLES
from models.vault import Vault
from tests.integration.portal.rows import Maker, Row, signed_in
from tests.integration.portal.rows_review import make_batch
from tests.integration.portal.site import MASTER_KEY, now
from workflow.enrol import make_batch as enrol_batch

_API = "/api/v1"
_OFFICE = ("officer", "auditor")
_COMPANY = ("company_user", "company_admin")
_MANAGERS = ("administrator", "company_admin")
_OFFICER = frozenset({"officer"})
_PERSON = {"email": "orang@perusahaan.example", "name": "Orang Baru", "role": "company_user"}
_RULE = {"fire": 2000, "clear": 1000, "severity": "warning", "days": 90}
#: An offer as a company makes it.
OFFER: Final = {
    "funder_name": "PT Contoh Rekaan",
    "regency": "64.02",
    "name": "Komitmen API",
    "amount_rupiah": 25_000_000,
    "window_from": "2027-01",
    "window_to": "2027-12",
}


def _make_enrolment_batch(engine: Engine, kind: str, visitor: str) -> str:
    """A batch of one approved line, of the officer's regency or of another one."""
    values: dict[str, Any] = {"batch": make_batch(engine, kind, visitor)}
    vault = Vault(MASTER_KEY)
    with engine.begin() as connection:
        line = connection.execute(
            text(
                "SELECT p.id AS line, p.need_id, n.worker_id, f.code FROM review_batch b"
                " JOIN proposal p USING (run_id, fund_id) JOIN coverage_need n ON n.id = p.need_id"
                " JOIN fund f ON f.id = p.fund_id WHERE b.id = :batch"
            ),
            values,
        ).one()
        values |= line._asdict() | {"nik": vault.encrypt(b"6402051708809001", "nik")}
        for statement in (
            "UPDATE worker SET nik_encrypted = :nik WHERE id = :worker_id",
            "UPDATE proposal SET state = 'approved', version = version + 1 WHERE id = :line",
            "UPDATE coverage_need SET state = 'approved', version = version + 1 WHERE id = :need_id",
        ):
            connection.execute(text(statement), values)
    return str(enrol_batch(engine, line.code, "test", now()))


ROWS: Final[dict[tuple[str, str], Row]] = {
    ("GET", f"{_API}/openapi.json"): Row(signed_in(200, *ROLES)),
    ("GET", f"{_API}/regions"): Row(signed_in(200, *ROLES)),
    ("GET", f"{_API}/funds"): Row(signed_in(200, *_OFFICE, *_COMPANY)),
    ("GET", f"{_API}/funds/{{code}}"): Row(signed_in(404, *_OFFICE, *_COMPANY)),
    ("GET", f"{_API}/funds/{{code}}/journal"): Row(signed_in(404, *_OFFICE, *_COMPANY)),
    ("GET", f"{_API}/funds/{{code}}/documents"): Row(signed_in(404, *_OFFICE)),
    ("GET", f"{_API}/funds/{{code}}/terms"): Row(signed_in(200, *_OFFICE), objects="fund", scoped=_OFFICER),
    ("PATCH", f"{_API}/funds/{{code}}/terms"): Row(
        signed_in(428, "officer"), json={"window_to": "2027-12"}, objects="fund", scoped=_OFFICER
    ),
    ("POST", f"{_API}/funds/{{code}}/documents"): Row(
        signed_in(400, "officer"), objects="fund", scoped=_OFFICER
    ),
    ("GET", f"{_API}/documents/{{document_id}}"): Row(
        signed_in(200, *_OFFICE), objects="document", scoped=_OFFICER
    ),
    ("POST", f"{_API}/funds/{{code}}/enrolment-batches"): Row(
        signed_in(400, "officer"), objects="fund", scoped=_OFFICER
    ),
    ("POST", f"{_API}/enrolment-batches/{{batch_id}}/file"): Row(
        signed_in(200, "officer"), objects="enrolment batch", scoped=_OFFICER
    ),
    ("POST", f"{_API}/enrolment-answers"): Row(signed_in(400, "officer")),
    ("GET", f"{_API}/batches"): Row(signed_in(200, *_OFFICE)),
    ("GET", f"{_API}/batches/{{run_id}}/{{fund}}/{{district}}"): Row(signed_in(404, *_OFFICE)),
    ("GET", f"{_API}/batches/{{run_id}}/{{fund}}/{{district}}/lines"): Row(signed_in(404, *_OFFICE)),
    ("POST", f"{_API}/batches/{{run_id}}/{{fund}}/{{district}}/decisions"): Row(signed_in(404, "officer")),
    ("GET", f"{_API}/decisions"): Row(signed_in(200, *_OFFICE)),
    ("GET", f"{_API}/decisions/{{decision_id}}"): Row(signed_in(404, *_OFFICE)),
    ("POST", f"{_API}/decisions/{{decision_id}}/confirm"): Row(signed_in(404, "officer")),
    ("POST", f"{_API}/decisions/{{decision_id}}/undo"): Row(signed_in(404, "officer")),
    ("GET", f"{_API}/runs"): Row(signed_in(200, *_OFFICE)),
    ("GET", f"{_API}/unfunded"): Row(signed_in(200, *_OFFICE)),
    ("GET", f"{_API}/coverage"): Row(signed_in(200, *_OFFICE)),
    ("GET", f"{_API}/enrolment-batches"): Row(signed_in(200, *_OFFICE)),
    ("GET", f"{_API}/enrolment-batches/{{batch_id}}/lines"): Row(signed_in(404, *_OFFICE)),
    ("POST", f"{_API}/what-if"): Row(signed_in(404, *_OFFICE), json={"new_rupiah": 1}),
    ("GET", f"{_API}/cheapest-changes"): Row(signed_in(200, *_OFFICE)),
    ("GET", f"{_API}/alerts"): Row(signed_in(200, *_OFFICE, "administrator")),
    ("GET", f"{_API}/alerts/{{alert_id}}"): Row(
        signed_in(200, *_OFFICE, "administrator"), objects="alert", scoped=_OFFICER
    ),
    **{
        ("POST", f"{_API}/alerts/{{alert_id}}/{change}"): Row(
            signed_in(428, "officer"), json={"note": "uji"}, objects="alert", scoped=_OFFICER
        )
        for change in ("acknowledge", "resolve")
    },
    ("GET", f"{_API}/alert-rules"): Row(signed_in(200, "officer")),
    ("GET", f"{_API}/alert-rules/{{name}}"): Row(
        signed_in(200, "officer"), objects="alert rule", scoped=_OFFICER
    ),
    ("PUT", f"{_API}/alert-rules/{{name}}"): Row(
        signed_in(428, "officer"), json=_RULE, objects="alert rule", scoped=_OFFICER
    ),
    **{
        (method, f"{_API}/alert-overrides/{place}s/{{code}}"): Row(
            signed_in(status, "officer"),
            json={"rule": rule, "own": None} if method == "PATCH" else None,
            objects=place,
            scoped=_OFFICER,
        )
        for place, rule in (("fund", "fund_lapse"), ("district", "waiting_long"))
        for method, status in (("GET", 200), ("PATCH", 428))
    },
    ("POST", f"{_API}/runs/cancel"): Row(signed_in(400, "officer")),
    ("POST", f"{_API}/regencies/{{regency}}/resume"): Row(signed_in(404, "administrator")),
    ("POST", f"{_API}/intake/{{topic}}/resume"): Row(signed_in(404, "administrator")),
    ("GET", f"{_API}/offers"): Row(signed_in(200, *_OFFICE, *_COMPANY)),
    ("POST", f"{_API}/offers"): Row(signed_in(400, *_COMPANY), json=OFFER),
    ("GET", f"{_API}/offers/{{offer_id}}"): Row(
        signed_in(200, *_OFFICE, *_COMPANY), objects="offer", scoped=frozenset({"officer", *_COMPANY})
    ),
    ("POST", f"{_API}/offers/{{offer_id}}/withdraw"): Row(
        signed_in(428, *_COMPANY), objects="offer", scoped=frozenset(_COMPANY)
    ),
    ("POST", f"{_API}/offers/{{offer_id}}/confirm"): Row(
        signed_in(428, "officer"), objects="offer", scoped=_OFFICER
    ),
    ("POST", f"{_API}/offers/{{offer_id}}/decline"): Row(
        signed_in(428, "officer"), json={"remark": "tidak jadi"}, objects="offer", scoped=_OFFICER
    ),
    **{
        ("GET", f"{_API}/{path}"): Row(signed_in(200, *_COMPANY))
        for path in (
            "statements",
            "company/impact",
            "company/cover-months",
            "company/money-months",
            "company/workers",
            "company/messages",
        )
    },
    ("GET", f"{_API}/company/message-mark"): Row(signed_in(200, *_COMPANY)),
    ("PUT", f"{_API}/company/message-mark"): Row(
        signed_in(400, *_COMPANY), json={"read_at": "2026-11-01T00:00:00Z"}
    ),
    ("POST", f"{_API}/statements"): Row(signed_in(400, *_COMPANY), json={"year": 2026}),
    ("GET", f"{_API}/verification/workers"): Row(signed_in(200, "verifier")),
    ("GET", f"{_API}/verification/workers/{{need}}"): Row(
        signed_in(200, "verifier"), objects="need", scoped=frozenset({"verifier"})
    ),
    ("POST", f"{_API}/verification/workers/{{need}}/findings"): Row(
        signed_in(428, "verifier"),
        json={"outcome": "confirmed"},
        objects="need",
        scoped=frozenset({"verifier"}),
    ),
    ("POST", f"{_API}/verification/findings/{{finding}}/undo"): Row(signed_in(404, "verifier")),
    ("GET", f"{_API}/audit-records"): Row(signed_in(200, *_OFFICE, "administrator")),
    ("GET", f"{_API}/dead-letters"): Row(signed_in(200, "administrator")),
    ("POST", f"{_API}/dead-letters/replay"): Row(signed_in(400, "administrator"), json={}),
    ("GET", f"{_API}/dead-letters/{{number}}"): Row(signed_in(200, "administrator"), objects="dead letter"),
    ("POST", f"{_API}/dead-letters/{{number}}/replay"): Row(
        signed_in(428, "administrator"), objects="dead letter"
    ),
    ("GET", f"{_API}/keys"): Row(signed_in(200, "administrator")),
    ("GET", f"{_API}/keys/{{key_id}}"): Row(signed_in(200, "administrator"), objects="api key"),
    ("DELETE", f"{_API}/keys/{{key_id}}"): Row(signed_in(428, "administrator"), objects="api key"),
    ("GET", f"{_API}/people"): Row(signed_in(200, *_MANAGERS)),
    ("POST", f"{_API}/people"): Row(signed_in(400, *_MANAGERS), json=_PERSON),
    ("GET", f"{_API}/people/{{account_id}}"): Row(
        signed_in(200, *_MANAGERS), objects="person", scoped=frozenset({"company_admin"})
    ),
    **{
        (method, f"{_API}/people/{{account_id}}/{change}"): Row(
            signed_in(428, *_MANAGERS),
            json={"role": "company_user"} if method == "PUT" else None,
            objects="person",
            scoped=frozenset({"company_admin"}),
        )
        for method, change in (
            ("PUT", "role"),
            ("POST", "disable"),
            ("POST", "enable"),
            ("POST", "second-factor"),
            ("POST", "link"),
        )
    },
    ("GET", f"{_API}/policies"): Row(signed_in(200, "administrator")),
    ("GET", f"{_API}/policies/{{name}}"): Row(signed_in(404, "administrator")),
    ("PUT", f"{_API}/policies/{{name}}"): Row(signed_in(404, "administrator"), json={"tiers": ["coverage"]}),
    ("GET", f"{_API}/regencies/{{regency}}/policy"): Row(signed_in(200, "administrator"), objects="regency"),
    ("PUT", f"{_API}/regencies/{{regency}}/policy"): Row(
        signed_in(428, "administrator"), json={"name": "default", "version": 0}, objects="regency"
    ),
    ("GET", f"{_API}/health"): Row(signed_in(200, "administrator")),
    ("POST", f"{_API}/worker-events"): Row(
        signed_in(400, "officer", "administrator"), json={"rows": [{"nik": "1"}]}
    ),
}

#: How to make the objects that the addresses name.
MAKERS: Final[dict[str, Maker]] = {"enrolment batch": _make_enrolment_batch}
