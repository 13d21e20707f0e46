"""A policy file is read as written, and refused with the field's name when it is wrong."""

from __future__ import annotations

import pytest

from optimizer.policy import DEFAULT_POLICY, Policy, PolicyError, Tier


def test_the_default_policy_survives_writing_and_reading() -> None:
    assert Policy.from_mapping(DEFAULT_POLICY.to_mapping()) == DEFAULT_POLICY


def test_names_alone_take_the_default_tolerances() -> None:
    policy = Policy.from_mapping({"tiers": ["coverage", "apbd_saving"]})
    assert policy.tiers == (Tier("coverage", 0.0001), Tier("apbd_saving", 0.001))


def test_later_tiers_share_a_tolerance_by_weight() -> None:
    policy = Policy((Tier("coverage", 0.08), Tier("equity", 0, 2.0), Tier("stability"), Tier("cohesion")))
    assert [policy.allowance(0, later) for later in (1, 2, 3)] == pytest.approx([0.04, 0.06, 0.08])


@pytest.mark.parametrize(
    ("mapping", "words"),
    [
        ({"tires": []}, "unknown key 'tires'"),
        ({"tiers": "coverage"}, "tiers must be a list"),
        ({"tiers": []}, "first tier must be coverage"),
        ({"tiers": ["equity", "coverage"]}, "first tier must be coverage"),
        ({"tiers": ["coverage", "coverage"]}, "more than once"),
        ({"tiers": ["coverage", "luck"]}, "'luck' is unknown"),
        ({"tiers": [{"name": "coverage", "tolerance": 1.5}]}, "coverage: tolerance"),
        ({"tiers": [{"name": "coverage", "tolerance": "much"}]}, "coverage: tolerance"),
        ({"tiers": [{"name": "coverage", "weight": -1}]}, "coverage: weight"),
        ({"tiers": [{"name": "coverage", "weight": float("nan")}]}, "coverage: weight"),
        ({"tiers": [{"name": "coverage", "slack": 1}]}, "tier 1: unknown key 'slack'"),
        ({"tiers": [{"tolerance": 0}]}, "tier 1 needs a name"),
        ({"tiers": [7]}, "tier 1 must be"),
        ({"coverage_counts": "heads"}, "coverage_counts"),
        ({"name": 3}, "name must be a text"),
        ({"name": ""}, "name must be a text"),
    ],
)
def test_a_wrong_policy_is_refused_by_field(mapping: dict[str, object], words: str) -> None:
    with pytest.raises(PolicyError, match=words.replace("(", r"\(")):
        Policy.from_mapping(mapping)
