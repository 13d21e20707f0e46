"""The desk for long sums: what-if and cheapest changes, in a process of their own, each answered once.

Pages stay quick while a match is solved; the same question about the same run is not solved twice.
"""

from __future__ import annotations

import datetime as dt
import multiprocessing
import os
import signal
import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any, Final

from workflow.ask_question import Question, answer_question
from workflow.cheapest_change import Change, find_changes
from workflow.what_if import WhatIfAnswer

_KEPT: Final = 64
_TIME_LIMIT_SECONDS: Final = 10.0
_PATIENCE_SECONDS: Final = 60.0


class DeskBusyError(Exception):
    """Others' questions are still being answered; ask again in a moment."""


class Desk:
    """Answers one question after the other, and remembers the last answers."""

    def __init__(self, database_url: str) -> None:
        self._database_url = database_url
        self._lock = threading.Lock()
        self._pool: ProcessPoolExecutor | None = None
        self._answers: OrderedDict[tuple[object, ...], Future[Any]] = OrderedDict()

    def what_if(self, regency: str, run: object, question: Question) -> WhatIfAnswer:
        """The match under the question's terms. Raises :class:`DeskBusyError` and what the step raises."""
        arguments = (self._database_url, regency, question, dt.datetime.now(dt.UTC), _TIME_LIMIT_SECONDS)
        answer: WhatIfAnswer = self._ask((regency, run, question), answer_question, arguments)
        return answer

    def changes(self, regency: str, run: object) -> tuple[Change, ...]:
        """The cheapest change for each reason why needs wait."""
        arguments = (self._database_url, regency, dt.datetime.now(dt.UTC))
        answer: tuple[Change, ...] = self._ask((regency, run, "changes"), find_changes, arguments)
        return answer

    def _ask(self, key: tuple[object, ...], step: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
        with self._lock:
            future = self._answers.get(key)
            if future is None:
                future = self._submit(step, arguments)
                self._answers[key] = future
                while len(self._answers) > _KEPT:
                    self._answers.popitem(last=False)
            self._answers.move_to_end(key)
        try:
            return future.result(_PATIENCE_SECONDS)
        except TimeoutError as error:
            raise DeskBusyError from error
        except Exception:
            self._answers.pop(key, None)  # a failure is not an answer: the next one asks anew
            raise

    def _submit(self, step: Callable[..., Any], arguments: tuple[Any, ...]) -> Future[Any]:
        if self._pool is not None:
            try:
                return self._pool.submit(step, *arguments)
            except BrokenProcessPool:  # killed from outside: a new one takes its place
                self._pool.shutdown(wait=False)
        context = multiprocessing.get_context("spawn")
        self._pool = ProcessPoolExecutor(1, mp_context=context, initializer=_leave_with_parent)
        return self._pool.submit(step, *arguments)


def _leave_with_parent() -> None:
    """In the new process: Ctrl-C is the parent's affair, and nobody outlives the parent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()

    def wait() -> None:
        if parent is not None:
            parent.join()
        os._exit(0)

    threading.Thread(target=wait, daemon=True).start()
