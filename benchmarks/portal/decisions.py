"""Batches of 10,000 lines through the portal's own forms: opened, signed once, signed twice, rejected."""

from __future__ import annotations

import re
import time
from collections import defaultdict
from collections.abc import Mapping
from typing import Final

from sqlalchemy import text

from benchmarks.portal.house import Portal
from benchmarks.portal.seed import BATCH_FUNDS, SIGNED_ALONE
from tests.integration.portal.site import Browser

#: Of the batches that need two signatures, the last ones are rejected.
_REJECTED: Final = 2
#: One batch of each kind stays, so that another round of pages finds one.
_KEPT: Final = 1

_LARGE = text(
    """
    SELECT b.id::text, b.fund_id FROM review_batch b
    WHERE b.fund_id <= :funds AND b.open_lines > 0 AND b.confirming_lines = 0 ORDER BY b.fund_id
    """
)
_KEY = re.compile(r'name="key" value="([^"]+)"')
_TOKEN = re.compile(r'name="token" value="([^"]*)"')


def measure_decisions(portal: Portal) -> Mapping[str, list[float]]:
    """Seconds of each request, by what it asks for. Raises ``RuntimeError`` when one is refused."""
    with portal.engine.connect() as connection:
        batches = connection.execute(_LARGE, {"funds": BATCH_FUNDS}).all()
    alone = [row.id for row in batches if row.fund_id > BATCH_FUNDS - SIGNED_ALONE][_KEPT:]
    pairs = [row.id for row in batches if row.fund_id <= BATCH_FUNDS - SIGNED_ALONE][_KEPT:]
    if not alone or len(pairs) <= _REJECTED:
        raise RuntimeError("the batches of this database are decided already; seed a new one")
    seconds: defaultdict[str, list[float]] = defaultdict(list)
    first, second = portal.people["officer"], portal.people["second"]
    for batch in pairs[:-_REJECTED]:
        decision = _decide(first, batch, "approve:all", "approve, first of two signatures", seconds)
        _time(second, f"/review/decisions/{decision}/confirm", {}, "confirm, second signature", seconds)
    for batch in alone:
        _decide(first, batch, "approve:all", "approve, one signature", seconds)
    for batch in pairs[-_REJECTED:]:
        _decide(first, batch, "reject:all", "reject", seconds)
    return seconds


def _decide(
    officer: Browser, batch: str, action: str, name: str, seconds: defaultdict[str, list[float]]
) -> str:
    _time(officer, f"/review/{batch}/claim", {}, "claim", seconds)
    begun = time.perf_counter()
    page = officer.get(f"/review/{batch}").text
    seconds["open the claimed batch"].append(time.perf_counter() - begun)
    key, token = _KEY.search(page), _TOKEN.search(page)
    assert key is not None and token is not None
    form = {"key": key[1], "token": token[1], "do": action, "reason": "data_doubtful"}
    went = _time(officer, f"/review/{batch}/decide", form, name, seconds)
    return went.rpartition("done=")[2]


def _time(
    officer: Browser, path: str, form: dict[str, str], name: str, seconds: defaultdict[str, list[float]]
) -> str:
    begun = time.perf_counter()
    answer = officer.post(path, form)
    seconds[name].append(time.perf_counter() - begun)
    if answer.status_code != 303:
        raise RuntimeError(f"{path} was answered {answer.status_code}")
    return answer.headers["location"]
