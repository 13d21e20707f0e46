"""Questions that a page hands to the desk: seconds to the first answer, and to the same one once more."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Final

import httpx

from benchmarks.portal.house import Portal
from benchmarks.portal.traffic import read_samples

QUESTIONS: Final = (
    ("cheapest change for each reason", "/unfunded/changes"),
    ("what if a fund had Rp 10 billion more", "/what-if/answer?fund={fund}&more_millions=10000"),
)
#: A page tries again where the desk is still busy with others' questions.
_PATIENCE_SECONDS: Final = 300.0


def measure_questions(portal: Portal) -> Mapping[str, list[float]]:
    """Each question of ``QUESTIONS`` twice, as an officer's page asks it."""
    samples = {name: values[0] for name, values in read_samples(portal.engine).items()}
    addresses = {name: portal.url + path.format_map(samples) for name, path in QUESTIONS}
    return {name: [_ask(address, portal) for _ in range(2)] for name, address in addresses.items()}


def _ask(address: str, portal: Portal) -> float:
    headers, begun = portal.people["officer"].headers(), time.perf_counter()
    with httpx.Client(trust_env=False, verify=False, timeout=90) as client:  # noqa: S501 - plain http here
        while (answer := client.get(address, headers=headers)).status_code == 503:
            if time.perf_counter() - begun > _PATIENCE_SECONDS:
                break
    answer.raise_for_status()
    return time.perf_counter() - begun
