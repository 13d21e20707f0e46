"""Read a policy file (TOML) for a match."""

from __future__ import annotations

import tomllib
from pathlib import Path

from optimizer.policy import DEFAULT_POLICY, Policy, PolicyError


class PolicyFileError(ValueError):
    """A policy file cannot be followed; the message names the file and the key at fault."""


def read_policy(path: Path | None) -> Policy:
    """The policy of a TOML file, or the default without one.

    Raises :class:`PolicyFileError` for text that is no TOML, an unknown key or tier, or a value
    outside its range; OSError when the file cannot be read.
    """
    if path is None:
        return DEFAULT_POLICY
    try:
        return Policy.from_mapping(tomllib.loads(path.read_text(encoding="utf-8-sig")))
    except UnicodeDecodeError:
        raise PolicyFileError(f"{path.name}: not UTF-8 text; expected TOML") from None
    except tomllib.TOMLDecodeError as error:
        raise PolicyFileError(f"{path.name}: not TOML: {error}") from None
    except PolicyError as error:
        raise PolicyFileError(f"{path.name}: {error}") from None
