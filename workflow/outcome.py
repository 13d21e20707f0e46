"""What a batch of events came to, and the one error that means "try again later"."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property

from sqlalchemy.exc import DataError, DBAPIError, IntegrityError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

REFUSED = "refused"


class Unavailable(Exception):
    """The database cannot do the work now; nothing was changed and the same batch may be tried again."""


@dataclass(frozen=True)
class BatchOutcome:
    """``outcomes`` has one word per envelope, in the order given; ``refused`` counts every refusal by reason.

    For workers: ``registered``, ``updated``, ``stale``, ``already_funded``, ``repeated``, ``refused``.
    Messages refused before they became envelopes are only in ``refused``.
    """

    outcomes: Sequence[str]
    refused: Mapping[str, int] = field(default_factory=dict)

    @cached_property
    def counts(self) -> Mapping[str, int]:
        """How many envelopes came to each outcome."""
        return Counter(self.outcomes)


@contextmanager
def watch_availability() -> Iterator[None]:
    """Turn every database failure that is not the data's own fault into :class:`Unavailable`.

    ``DataError`` and ``IntegrityError`` pass: they come from a row. The rest - connection lost,
    shutdown, deadlock, serialization, disk full, a schema not yet migrated - will pass by itself or
    be repaired by a person, and no event deserves a dead letter for it.
    """
    try:
        yield
    except (DataError, IntegrityError):
        raise
    except DBAPIError as error:
        raise Unavailable(_describe(error)) from error
    except PoolTimeoutError as error:
        raise Unavailable("no free database connection") from error


def _describe(error: DBAPIError) -> str:
    """Without the statement's parameters, which may be personal data."""
    state = getattr(error.orig, "sqlstate", None)
    return f"{type(error.orig).__name__} (SQLSTATE {state})" if state else type(error.orig).__name__
