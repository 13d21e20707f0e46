"""The command line: help for everything, exit codes, one clear line for what is wrong."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from gotong.cli import main

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
    "intake resume",
    "backup",
    "restore",
    "events send",
    "import",
    "enrol export",
    "enrol import",
    "expire",
    "resume",
    "cancel-match",
    "account",
    "allocate",
    "explain",
    "what-if",
)


@dataclass(frozen=True)
class Done:
    returncode: int
    stdout: str
    stderr: str


Run = Callable[..., Done]


@pytest.fixture
def run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], no_settings: None
) -> Run:
    """Run a command line to its end, in an empty folder and without settings but those given."""
    del no_settings

    def run(*arguments: str, **settings: str) -> Done:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("COLUMNS", "200")
        monkeypatch.setattr(sys, "argv", ["gotong", *arguments])
        for name, value in settings.items():
            monkeypatch.setenv(name, value)
        with pytest.raises(SystemExit) as left:
            main()
        shown = capsys.readouterr()
        code = left.value.code
        return Done(code if isinstance(code, int) else 0, shown.out, shown.err)

    return run


def test_help_lists_every_command(run: Run) -> None:
    shown = run("--help")
    assert shown.returncode == 0
    for command in COMMANDS:
        assert f" {command.split()[0]} " in shown.stdout


def test_help_imports_neither_the_solver_nor_the_database(tmp_path: Path) -> None:
    traced = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "gotong", "--help"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert re.search(r"\|\s+typer\b", traced.stderr)
    assert not re.search(r"\|\s+(ortools|sqlalchemy|faust|fastapi|numpy)\b", traced.stderr)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command: str, run: Run, tmp_path: Path) -> None:
    shown = run(*command.split(), "--help")
    assert shown.returncode == 0, shown.stderr
    assert len(shown.stdout.split()) > 20
    assert list(tmp_path.iterdir()) == []


def test_readme_names_every_command_and_only_commands_that_exist() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    named = set(
        re.findall(
            r"^\| `gotong ([a-z-]+(?: (?:list|show|replay|send|export|import|resume))?)", readme, re.MULTILINE
        )
    )
    assert named == set(COMMANDS)


@pytest.mark.parametrize("command", ["demo --exit", "up", "audit", "status", "worker", "portal", "migrate"])
def test_a_wrong_setting_is_one_line_and_exit_2(command: str, run: Run, tmp_path: Path) -> None:
    done = run(*command.split(), GOTONG_PORT="many")
    assert done.returncode == 2
    assert done.stderr.startswith("gotong: GOTONG_PORT: ")
    assert len(done.stderr.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_option_is_exit_2(run: Run, tmp_path: Path) -> None:
    done = run("demo", "--workers", "-1")
    assert done.returncode == 2
    assert "--workers" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("command", ["audit", "status", "dlq list", "dlq show 1", "dlq replay --all"])
def test_reading_where_nothing_is_says_so_and_makes_nothing(command: str, run: Run, tmp_path: Path) -> None:
    done = run(*command.split())
    assert done.returncode == 1
    assert done.stderr.startswith("gotong: there is no data in ")
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("command", "named"), [("worker", "GOTONG_KAFKA_BROKERS"), ("portal", "GOTONG_DATABASE_URL")]
)
def test_a_part_alone_names_the_setting_it_needs(command: str, named: str, run: Run, tmp_path: Path) -> None:
    done = run(command)
    assert done.returncode == 2
    assert done.stderr.startswith(f"gotong: {named}: required")


def test_several_workers_need_a_broker_of_ones_own(run: Run, tmp_path: Path) -> None:
    done = run("up", GOTONG_WORKERS="2")
    assert done.returncode == 2
    assert done.stderr.startswith("gotong: GOTONG_WORKERS: 2 workers need a broker of your own")
    assert list(tmp_path.iterdir()) == []


def test_a_database_that_is_away_is_one_line_and_exit_1(run: Run, tmp_path: Path) -> None:
    done = run("audit", GOTONG_DATABASE_URL="postgresql://u:geheim@127.0.0.1:9/gotong")
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
