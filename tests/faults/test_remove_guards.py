"""Every guard is needed: without it a test turns red (`pytest -m faults`)."""

from __future__ import annotations

import pytest

from tests.faults.remove_guards import GUARDS, ROOT, remove_guards


def test_every_guard_is_where_its_removal_looks_for_it() -> None:
    """Quick: the texts that the mutation proof replaces still stand in the tree."""
    counts = {
        guard.name: (ROOT / guard.file).read_text(encoding="utf-8").count(guard.old) for guard in GUARDS
    }
    assert {name: count for name, count in counts.items() if count < 1} == {}
    assert len({guard.name for guard in GUARDS}) == len(GUARDS) >= 15


@pytest.mark.faults
@pytest.mark.timeout(2 * 3600)
def test_removing_any_guard_turns_a_test_red() -> None:
    outcomes = remove_guards(GUARDS)
    assert [(outcome.guard.name, outcome.word) for outcome in outcomes if outcome.word != "red"] == []
