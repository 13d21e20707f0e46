"""Where a benchmark of the alerts ran."""

from __future__ import annotations

import os
import platform


def describe_machine(load_before: float) -> str:
    """Where it ran, and what else the machine was doing."""
    return (
        f"{os.cpu_count()} cores, Python {platform.python_version()}, load average {load_before:.1f}"
        f" before it began and {os.getloadavg()[0]:.1f} at the end"
    )
