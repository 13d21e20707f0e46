"""Resolve pyproject.toml into requirements.lock and requirements-dev.lock: all files by hash, no index named.

`make lock` keeps the versions that are locked and still fit; `make lock ARGS=--upgrade` takes the newest.
The lock holds for every Python from 3.11 and every platform. The development lock contains the runtime lock.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def main() -> int:
    """Write both locks; returns the exit code."""
    build_needs = tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"]["requires"]
    with tempfile.TemporaryDirectory() as folder:
        # Building our own package without a separate environment takes the build needs from the lock.
        build = Path(folder) / "build.in"
        build.write_text("\n".join(build_needs) + "\n")
        _resolve("requirements.lock", str(build))
        _resolve("requirements-dev.lock", str(build), "--all-extras", "--constraints=requirements.lock")
    return 0


def _resolve(lock: str, *arguments: str) -> None:
    command = [
        sys.executable,
        "-m",
        "uv",
        "pip",
        "compile",
        "--quiet",
        "--universal",
        "--python-version=3.11",
    ]
    form = [
        "--generate-hashes",
        "--no-emit-index-url",
        "--no-emit-find-links",
        "--no-header",
        "--no-annotate",
    ]
    subprocess.run(
        [*command, *form, *sys.argv[1:], f"--output-file={lock}", "pyproject.toml", *arguments],
        cwd=ROOT,
        check=True,
    )


if __name__ == "__main__":
    sys.exit(main())
