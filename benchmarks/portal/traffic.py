"""Requests that arrive at fixed times, whether or not the former ones were answered."""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import aiohttp
import numpy as np
from sqlalchemy import Engine, text

from benchmarks.portal.house import Portal
from benchmarks.portal.seed import BATCH_FUNDS, REGENCY

#: Who asks for what, and how often in a round. ``{batch}`` and the like are another one each time.
ROUTES: Final = (
    ("officer", "/", 1),
    ("officer", "/today", 6),
    ("officer", "/today/figures", 6),
    ("officer", "/review", 8),
    ("officer", "/review?district={district}&sort=-lines&q=PT", 3),
    ("officer", "/review/news?seen=1.1.1", 4),
    ("officer", "/review/{batch}", 8),
    ("officer", "/review/{large}", 3),
    ("officer", "/review/{large}/changes?since={moment}", 2),
    ("officer", "/review/decisions", 3),
    ("officer", "/review/decisions/{decision}", 3),
    ("officer", "/funds", 4),
    ("officer", "/funds/{fund}", 4),
    ("officer", "/funds/{fund}/edit", 1),
    ("officer", "/funds/{fund}/chain", 1),
    ("officer", "/offers", 1),
    ("officer", "/unfunded", 3),
    ("officer", "/what-if", 1),
    ("officer", "/alerts", 3),
    ("officer", "/alerts/rules", 1),
    ("officer", "/alerts/channels", 1),
    ("auditor", "/audit", 2),
    ("auditor", "/audit?action=confirm", 1),
    ("company", "/company", 4),
    ("company", "/company/months.svg", 2),
    ("company", "/company/workers", 4),
    ("company", "/company/workers?state=enrolled&q=fisher&page=3", 1),
    ("company", "/company/impact", 1),
    ("company", "/company/messages", 1),
    ("company", "/company/statements", 1),
    ("company", "/company/offers", 1),
    ("verifier", "/village", 5),
    ("verifier", "/village?page=200", 1),
    ("administrator", "/administration/health", 1),
    ("administrator", "/administration/dead-letters", 2),
    ("administrator", "/administration/policies", 1),
    ("administrator", "/administration/keys", 1),
    ("administrator", "/people", 1),
    ("officer", "/account", 1),
    ("officer", "/components", 1),
    ("officer", "/api/v1/funds", 2),
    ("officer", "/api/v1/funds/{fund}", 2),
    ("officer", "/api/v1/funds/{fund}/journal", 1),
    ("officer", "/api/v1/batches", 2),
    ("officer", "/api/v1/batches/{place}", 1),
    ("officer", "/api/v1/batches/{place}/lines", 1),
    ("officer", "/api/v1/decisions", 1),
    ("officer", "/api/v1/runs", 1),
    ("officer", "/api/v1/unfunded", 1),
    ("officer", "/api/v1/coverage", 1),
    ("officer", "/api/v1/enrolment-batches", 1),
    ("officer", "/api/v1/alerts", 1),
    ("auditor", "/api/v1/audit-records", 1),
    ("administrator", "/api/v1/dead-letters", 1),
    ("company", "/api/v1/funds", 1),
)

_SAMPLES: Final = {
    "batch": f"SELECT id::text FROM review_batch WHERE fund_id > {BATCH_FUNDS} AND open_lines > 0"
    " ORDER BY md5(id::text) LIMIT 200",
    "large": f"SELECT id::text FROM review_batch WHERE fund_id <= {BATCH_FUNDS} AND open_lines > 0"
    " ORDER BY id",
    "decision": "SELECT id::text FROM decision ORDER BY md5(id::text) LIMIT 200",
    "fund": "SELECT code FROM fund ORDER BY code",
    # A page that has been open for half an hour.
    "moment": "SELECT (extract(epoch FROM now()) - 1800)::int8::text",
    "district": f"SELECT code FROM region WHERE parent_code = '{REGENCY}' ORDER BY code",
    "place": "SELECT concat_ws('/', b.run_id, f.code, b.district_code) FROM review_batch b"
    " JOIN fund f ON f.id = b.fund_id WHERE b.open_lines > 0 ORDER BY md5(b.id::text) LIMIT 200",
}


@dataclass(slots=True)
class Timings:
    """Milliseconds from a request's due time to its answer's last byte, and how many were no 200."""

    milliseconds: list[float] = field(default_factory=list)
    failed: int = 0

    def percentile(self, percent: float) -> float:
        """Of those answered."""
        return float(np.percentile(self.milliseconds, percent))


def read_samples(engine: Engine) -> dict[str, list[str]]:
    """What the addresses' placeholders may stand for."""
    with engine.connect() as connection:
        found = {name: list(connection.scalars(text(sql))) for name, sql in _SAMPLES.items()}
    for name, values in found.items():
        if not values:
            raise RuntimeError(f"the database holds no {name}")
    return found


def measure_traffic(portal: Portal, per_second: float, seconds: float) -> dict[tuple[str, str], Timings]:
    """By role and address; a quarter of the time as much was asked before, as it would be in a morning."""
    samples = {name: itertools.cycle(values) for name, values in read_samples(portal.engine).items()}
    return asyncio.run(_run(portal, samples, per_second, seconds))


async def _run(
    portal: Portal, samples: Mapping[str, Any], per_second: float, seconds: float
) -> dict[tuple[str, str], Timings]:
    timings = {(role, path): Timings() for role, path, _ in ROUTES}
    rounds = [(role, path) for role, path, times in ROUTES for _ in range(times)]
    chance = random.Random(1)
    arrivals: list[tuple[str, str]] = []
    while len(arrivals) < per_second * seconds:
        chance.shuffle(rounds)
        arrivals += rounds
    # The lightest client there is: it has its share of the same two cores.
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=200),
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(60),
    ) as client:
        for role, path in timings:
            await _ask(client, portal, role, path, samples, Timings(), time.perf_counter())
        warming = {route: Timings() for route in timings}
        for counted, many in ((warming, per_second * seconds / 4), (timings, per_second * seconds)):
            begun, asked = time.perf_counter(), []
            for number, (role, path) in enumerate(arrivals[: int(many)]):
                due = begun + number / per_second
                if (wait := due - time.perf_counter()) > 0:
                    await asyncio.sleep(wait)
                question = _ask(client, portal, role, path, samples, counted[role, path], due)
                asked.append(asyncio.create_task(question))
            await asyncio.gather(*asked)
    return timings


async def _ask(
    client: aiohttp.ClientSession,
    portal: Portal,
    role: str,
    path: str,
    samples: Mapping[str, Any],
    timings: Timings,
    due: float,
) -> None:
    address = path.format_map(
        {name: next(values) for name, values in samples.items() if f"{{{name}}}" in path}
    )
    try:
        async with client.get(portal.url + address, headers=portal.people[role].headers()) as answer:
            await answer.read()
    except (aiohttp.ClientError, TimeoutError):
        timings.failed += 1
        return
    timings.milliseconds.append((time.perf_counter() - due) * 1000)
    if answer.status != 200:
        timings.failed += 1


def slowest(timings: Mapping[tuple[str, str], Timings], percent: float = 95) -> Sequence[tuple[str, str]]:
    """The routes, slowest first."""
    return sorted(timings, key=lambda route: -timings[route].percentile(percent))
