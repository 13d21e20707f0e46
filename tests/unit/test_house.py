"""The house keeps its own rules: what is listed, locked and shipped is what is there."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("models", "optimizer", "workflow", "streams", "portal", "gotong")
LOCKS = ("requirements.lock", "requirements-dev.lock")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def _source_files() -> list[Path]:
    files = [path for package in PACKAGES for path in (ROOT / package).rglob("*") if path.is_file()]
    return [path.relative_to(ROOT) for path in files if "__pycache__" not in path.parts]


def _locked_versions(lock: str) -> dict[str, list[Version]]:
    """Versions by package; several where they differ by Python version."""
    found: dict[str, list[Version]] = {}
    for name, version in re.findall(
        r"^([A-Za-z0-9._-]+)==([^\s;\\]+)", (ROOT / lock).read_text(), re.MULTILINE
    ):
        found.setdefault(canonicalize_name(name), []).append(Version(version))
    return found


def test_every_package_is_listed() -> None:
    listed = set(PROJECT["tool"]["setuptools"]["packages"])
    present = {".".join(path.parts[:-1]) for path in _source_files() if path.suffix == ".py"}
    assert listed == present


def test_package_markers_are_empty() -> None:
    markers = [path for path in _source_files() if path.name == "__init__.py"]
    assert markers
    assert [path for path in markers if (ROOT / path).read_text().strip()] == []


def test_no_file_is_named_for_nothing_in_particular() -> None:
    vague = {"utils.py", "util.py", "helpers.py", "common.py", "misc.py", "service.py"}
    assert [path for path in _source_files() if path.name in vague] == []


@pytest.mark.parametrize("lock", LOCKS)
def test_lock_satisfies_every_direct_dependency(lock: str) -> None:
    declared = [*PROJECT["project"]["dependencies"], *PROJECT["build-system"]["requires"]]
    if lock == "requirements-dev.lock":
        declared += PROJECT["project"]["optional-dependencies"]["dev"]
    locked = _locked_versions(lock)
    for text in declared:
        requirement = Requirement(text)
        versions = locked.get(canonicalize_name(requirement.name), [])
        assert versions, f"{requirement.name} is not in {lock}; run: make lock"
        assert all(version in requirement.specifier for version in versions), (
            f"{text} in {lock}; run: make lock"
        )


@pytest.mark.parametrize("lock", LOCKS)
def test_lock_names_no_index_and_hashes_every_package(lock: str) -> None:
    text = (ROOT / lock).read_text()
    assert "://" not in text
    assert not re.search(r"^\s*-(?!-hash)", text, re.MULTILINE), "no options but hashes"
    entries = re.split(r"\n(?=\S)", text.strip())
    assert len(entries) > 50
    assert [entry for entry in entries if "--hash=sha256:" not in entry] == []


def test_development_lock_contains_the_runtime_lock() -> None:
    runtime, dev = map(_locked_versions, LOCKS)
    assert {name: dev.get(name) for name in runtime} == runtime


@pytest.mark.filterwarnings("default")
def test_wheel_ships_every_file_of_the_packages(tmp_path: Path) -> None:
    """A template or table that is missing from the wheel breaks the image, never the source tree."""
    tree = tmp_path / "tree"
    for package in PACKAGES:
        shutil.copytree(ROOT / package, tree / package, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE", "NOTICE"):
        shutil.copy(ROOT / name, tree / name)
    build = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "--no-index",
    ]
    subprocess.run([*build, f"--wheel-dir={tmp_path}", str(tree)], check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    shipped = set(zipfile.ZipFile(wheel).namelist())
    missing = [str(path) for path in _source_files() if str(path) not in shipped]
    assert missing == []
