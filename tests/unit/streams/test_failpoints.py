from __future__ import annotations

import subprocess
import sys
import time

import pytest

from streams import failpoints


def test_unset_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(failpoints.VARIABLE, raising=False)
    for point in failpoints.POINTS:
        failpoints.reach(point)


def test_only_the_named_point_acts_and_only_at_its_count(monkeypatch: pytest.MonkeyPatch) -> None:
    failpoints._reached.clear()
    monkeypatch.setenv(failpoints.VARIABLE, "decode:raise@2,poll:sleep=0.05")
    failpoints.reach("before_ack")
    failpoints.reach("decode")
    with pytest.raises(failpoints.FailpointError):
        failpoints.reach("decode")
    failpoints.reach("decode")
    begin = time.monotonic()
    failpoints.reach("poll")
    assert time.monotonic() - begin >= 0.05


@pytest.mark.parametrize("plan", ["nowhere:kill", "poll:explode"])
def test_a_misspelt_plan_says_so(monkeypatch: pytest.MonkeyPatch, plan: str) -> None:
    monkeypatch.setenv(failpoints.VARIABLE, plan)
    with pytest.raises(ValueError, match=failpoints.VARIABLE):
        failpoints.reach("poll")


def test_kill_ends_the_process_without_a_goodbye() -> None:
    script = "from streams import failpoints; failpoints.reach('poll'); print('alive')"
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={failpoints.VARIABLE: "poll:kill", "PYTHONPATH": "."},
        capture_output=True,
        check=False,
    )
    assert done.returncode == -9
    assert done.stdout == b""
