"""Rows of the access matrix: api. A change without If-Match or key is refused once the role is known."""

from __future__ import annotations

from typing import Final

from models.role import ROLES
from tests.integration.portal.rows import Maker, Row, signed_in

_API = "/api/v1"
_OFFICE = ("officer", "auditor")
_COMPANY = ("company_user", "company_admin")

ROWS: Final[dict[tuple[str, str], Row]] = {
    ("GET", f"{_API}/openapi.json"): Row(signed_in(200, *ROLES)),
    ("GET", f"{_API}/regions"): Row(signed_in(200, *ROLES)),
    ("GET", f"{_API}/funds"): Row(signed_in(200, *_OFFICE, *_COMPANY)),
    ("GET", f"{_API}/funds/{{code}}"): Row(signed_in(404, *_OFFICE, *_COMPANY)),
    ("GET", f"{_API}/funds/{{code}}/journal"): Row(signed_in(404, *_OFFICE, *_COMPANY)),
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
    ("GET", f"{_API}/alerts"): Row(signed_in(200, *_OFFICE, "administrator")),
    ("GET", f"{_API}/offers"): Row(signed_in(200, *_OFFICE, *_COMPANY)),
    ("GET", f"{_API}/statements"): Row(signed_in(200, *_COMPANY)),
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
MAKERS: Final[dict[str, Maker]] = {}
