"""The committed contracts in docs/ are those of the types, and real events keep them."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml
from jsonschema import Draft202012Validator

from models.event import EVENT_TYPES
from models.reason import REASONS
from models.schema import contract_files
from tests.builders import budget, pledge
from tests.event_builders import worker_data

DOCS = Path(__file__).parents[2] / "docs"
REMEDY = "run: python -m models.schema"


@pytest.mark.parametrize("name", sorted(contract_files()))
def test_a_committed_contract_is_that_of_the_types(name: str) -> None:
    path = DOCS / name
    assert path.exists(), REMEDY
    assert path.read_text(encoding="utf-8") == contract_files()[name], REMEDY


def test_no_contract_is_left_of_a_type_that_is_gone() -> None:
    committed = {path.relative_to(DOCS).as_posix() for path in (DOCS / "events").iterdir()}
    assert committed == {name for name in contract_files() if name.startswith("events/")}


def schema(event_type: str) -> Draft202012Validator:
    content = json.loads((DOCS / "events" / f"{event_type}.json").read_text(encoding="utf-8"))
    Draft202012Validator.check_schema(content)
    return Draft202012Validator(content)


GOOD: dict[str, dict[str, Any]] = {
    "coverage.worker-uncovered.v1": worker_data(1),
    "funding.pledge-changed.v1": orjson.loads(
        pledge(rules={"regions": ["64.02"]}).model_dump_json(exclude_none=True)
    ),
    "funding.budget-changed.v1": orjson.loads(budget().model_dump_json(exclude_none=True)),
}


@pytest.mark.parametrize("event_type", EVENT_TYPES)
def test_every_schema_is_a_schema(event_type: str) -> None:
    content = json.loads((DOCS / "events" / f"{event_type}.json").read_text(encoding="utf-8"))
    Draft202012Validator.check_schema(content)
    assert content["$id"] == f"urn:gotong:event:{event_type}"


@pytest.mark.parametrize("event_type", GOOD)
def test_a_right_event_follows_its_schema(event_type: str) -> None:
    schema(event_type).validate(GOOD[event_type])


@pytest.mark.parametrize(
    ("event_type", "change"),
    [
        ("coverage.worker-uncovered.v1", {"nik": "6402051708800001"}),
        ("coverage.worker-uncovered.v1", {"months": 13}),
        ("coverage.worker-uncovered.v1", {"months": 1.5}),
        ("coverage.worker-uncovered.v1", {"programmes": ["JKK", "JKK"]}),
        ("coverage.worker-uncovered.v1", {"village": "64.02.05"}),
        ("funding.pledge-changed.v1", {"amount_rupiah": -1}),
        ("funding.pledge-changed.v1", {"amount_rupiah": 0.5}),
        ("funding.pledge-changed.v1", {"amount_rupiah": 2**53}),
        ("funding.budget-changed.v1", {"released_rupiah": None}),
    ],
)
def test_a_wrong_event_breaks_its_schema_too(event_type: str, change: dict[str, Any]) -> None:
    assert not schema(event_type).is_valid(GOOD[event_type] | change)


def test_the_channels_are_the_topics_and_every_reference_leads_somewhere() -> None:
    document = yaml.safe_load((DOCS / "asyncapi.yaml").read_text(encoding="utf-8"))
    addresses = {channel["address"] for channel in document["channels"].values()}
    assert addresses >= set(EVENT_TYPES)
    assert {address for address in addresses if address.endswith(".dlq")} == {
        f"{event_type}.dlq" for event_type in EVENT_TYPES if event_type in GOOD
    }
    for reference in _references(document):
        if reference.startswith("#/"):
            found = document
            for step in reference.removeprefix("#/").split("/"):
                found = found[step]
        else:
            assert (DOCS / reference).exists(), reference


def _references(node: Any) -> list[str]:
    if isinstance(node, dict):
        own = [node["$ref"]] if "$ref" in node else []
        return own + [found for value in node.values() for found in _references(value)]
    return [found for value in node for found in _references(value)] if isinstance(node, list) else []


INTAKE_FILES = (
    "streams/codec.py",
    "workflow/validate.py",
    "workflow/register.py",
    "workflow/fund_change.py",
)


def test_every_reason_that_intake_gives_is_explained() -> None:
    """Reasons are the words with underscores that are handed to anything that refuses."""
    used = set()
    for name in INTAKE_FILES:
        tree = ast.parse((DOCS.parent / name).read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and "refus" in ast.unparse(node.func).lower():
                words = [argument.value for argument in node.args if isinstance(argument, ast.Constant)]
                used |= {word for word in words if re.fullmatch("[a-z0-9]+(_[a-z0-9]+)+", str(word))}
    assert {"nik_invalid", "malformed_json", "regency_not_served"} <= used
    assert used <= set(REASONS)
