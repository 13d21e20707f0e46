"""The command line: help for everything, exit codes, one clear line for what is wrong."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
COMMANDS = (
    "demo",
    "up",
    "portal",
    "worker",
    "migrate",
    "audit",
    "status",
    "dlq list",
    "dlq show",
    "dlq replay",
    "events send",
    "import",
    "allocate",
    "explain",
    "what-if",
)


def run(*arguments: str, folder: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GOTONG_")}
    environment |= {"PYTHONPATH": str(ROOT), "COLUMNS": "200", "TERM": "dumb", **settings}
    return subprocess.run(
        [sys.executable, "-m", "gotong", *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_help_lists_every_command_without_importing_the_solver(tmp_path: Path) -> None:
    shown = run("--help", folder=tmp_path)
    assert shown.returncode == 0
    for command in COMMANDS:
        assert f" {command.split()[0]} " in shown.stdout
    traced = run("--help", folder=tmp_path, PYTHONPROFILEIMPORTTIME="1")
    assert re.search(r"\|\s+typer\b", traced.stderr)
    assert not re.search(r"\|\s+(ortools|sqlalchemy|faust|fastapi)\b", traced.stderr)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command: str, tmp_path: Path) -> None:
    shown = run(*command.split(), "--help", folder=tmp_path)
    assert shown.returncode == 0, shown.stderr
    assert len(shown.stdout.split()) > 20
    assert list(tmp_path.iterdir()) == []


def test_readme_names_every_command_and_only_commands_that_exist() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    named = set(re.findall(r"^\| `gotong ([a-z-]+(?: (?:list|show|replay|send))?)", readme, re.MULTILINE))
    assert named == set(COMMANDS)


@pytest.mark.parametrize("command", ["demo --exit", "up", "audit", "status", "worker", "portal", "migrate"])
def test_a_wrong_setting_is_one_line_and_exit_2(command: str, tmp_path: Path) -> None:
    done = run(*command.split(), folder=tmp_path, GOTONG_PORT="many")
    assert done.returncode == 2
    assert done.stderr.startswith("gotong: GOTONG_PORT: ")
    assert len(done.stderr.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_option_is_exit_2(tmp_path: Path) -> None:
    done = run("demo", "--workers", "-1", folder=tmp_path)
    assert done.returncode == 2
    assert "--workers" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("audit", "there is no data in"),
        ("status", "there is no data in"),
        ("dlq list", "there is no data in"),
    ],
)
def test_reading_where_nothing_is_says_so_and_makes_nothing(command: str, said: str, tmp_path: Path) -> None:
    done = run(*command.split(), folder=tmp_path)
    assert done.returncode == 1
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("command", "named"), [("worker", "GOTONG_KAFKA_BROKERS"), ("portal", "GOTONG_DATABASE_URL")]
)
def test_a_part_alone_names_the_setting_it_needs(command: str, named: str, tmp_path: Path) -> None:
    done = run(command, folder=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith(f"gotong: {named}: required")


def test_several_workers_need_a_broker_of_ones_own(tmp_path: Path) -> None:
    done = run("up", folder=tmp_path, GOTONG_WORKERS="2")
    assert done.returncode == 2
    assert done.stderr.startswith("gotong: GOTONG_WORKERS: 2 workers need a broker of your own")
    assert list(tmp_path.iterdir()) == []


def test_a_database_that_is_away_is_one_line_and_exit_1(tmp_path: Path) -> None:
    done = run("audit", folder=tmp_path, GOTONG_DATABASE_URL="postgresql://u:geheim@127.0.0.1:9/gotong")
    assert done.returncode == 1
    assert done.stderr.startswith("gotong: the database does not answer: ")
    assert "geheim" not in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_architecture_names_only_files_that_exist() -> None:
    text = (ROOT / "docs" / "ARCHITECTURE.md").read_text(encoding="utf-8")
    named = set(
        re.findall(r"`((?:models|optimizer|workflow|streams|portal|gotong)/[a-z_/]*\.(?:py|po))`", text)
    )
    assert len(named) > 30
    assert [name for name in sorted(named) if not (ROOT / name).exists()] == []
