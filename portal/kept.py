"""Figures that take long to count, kept for a while: a page never waits for a million rows twice."""

from __future__ import annotations

import datetime as dt
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from fastapi import FastAPI
from sqlalchemy.exc import SQLAlchemyError

T = TypeVar("T")

#: Counting may take this share of one core at most: figures that take a second stay for twenty.
_SHARE_OF_TIME: Final = 0.05
_FRESH_SECONDS: Final = 0.5
#: What takes less than this is counted while the page waits, so that it shows what has just happened.
_WAIT_SECONDS: Final = 0.08


@dataclass(frozen=True, slots=True)
class Kept(Generic[T]):
    """A value and when it was read."""

    value: T
    read_at: dt.datetime


@dataclass(slots=True)
class _Place(Generic[T]):
    kept: Kept[T]
    seconds: float
    looked_at: float
    reading: bool = False


class KeptFigures(Generic[T]):
    """Values by key, read by ``read(key)``. A slow one is read anew beside the page that shows the old."""

    def __init__(self, read: Callable[[str], T]) -> None:
        self._read = read
        self._lock = threading.Lock()
        self._first = threading.Lock()
        self._places: dict[str, _Place[T]] = {}

    def of(self, key: str) -> Kept[T]:
        """The value of a key with its time; only the very first reader of a slow one waits for it."""
        place = self._places.get(key)
        if place is None:
            with self._first:
                return (self._places.get(key) or self._fill(key)).kept
        if time.monotonic() - place.looked_at < max(_FRESH_SECONDS, place.seconds / _SHARE_OF_TIME):
            return place.kept
        with self._lock:
            if place.reading:
                return place.kept
            place.reading = True
        if place.seconds < _WAIT_SECONDS:
            return self._refill(key, place).kept
        threading.Thread(target=self._refill, args=(key, place), daemon=True).start()
        return place.kept

    def _refill(self, key: str, old: _Place[T]) -> _Place[T]:
        try:
            return self._fill(key)
        except SQLAlchemyError:
            return old  # the page says of what time its figures are; the next reader tries again
        finally:
            old.reading = False

    def _fill(self, key: str) -> _Place[T]:
        begun, read_at = time.monotonic(), dt.datetime.now(dt.UTC)
        value = self._read(key)
        place = _Place(Kept(value, read_at), time.monotonic() - begun, time.monotonic())
        self._places[key] = place
        return place


def kept_figures(app: FastAPI, name: str, read: Callable[[str], T]) -> KeptFigures[T]:
    """The application's figures called ``name``; made by whoever asks for them first."""
    if not hasattr(app.state, name):
        setattr(app.state, name, KeptFigures(read))
    figures: KeptFigures[T] = getattr(app.state, name)
    return figures
