from __future__ import annotations

from importlib import resources
from pathlib import Path

from optimizer.policy import DEFAULT_POLICY
from workflow.match_policy import read_policy


def test_the_shipped_example_is_the_default_policy() -> None:
    with resources.as_file(resources.files("gotong.data").joinpath("policy.toml")) as path:
        assert read_policy(path) == DEFAULT_POLICY


def test_an_empty_file_or_none_is_the_default_policy(tmp_path: Path) -> None:
    empty = tmp_path / "policy.toml"
    empty.write_text("\ufeff", encoding="utf-8")
    assert read_policy(empty) == read_policy(None) == DEFAULT_POLICY
