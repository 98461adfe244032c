"""What a run lets others see while it goes on: `live.json` in its folder, twice a second.

It is written beside the run, never in its way: at most a fiftieth of the time is spent on it and
250 kB a second are written; what goes wrong with it is said once, and the run goes on.
"""

from __future__ import annotations

import asyncio
import json
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import CancelledError, Future
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any, TypeAlias

from reasoning.errors import EngineError, UserError, cause
from reasoning.live.nodes import brief
from reasoning.runs import files

log = logging.getLogger(__name__)

NAME = "live.json"
VERSION = 1

EVERY = 0.5
"""Seconds between two looks, at the least."""
_SHARE = 50
"""Of the time, one part goes into looking."""
_PACE = 250_000
"""Bytes a second that are written."""

Standing: TypeAlias = Callable[[], Mapping[str, Any]]
Feed: TypeAlias = Callable[[Path, Standing], AbstractContextManager[None]]


def unseen(_folder: Path, _standing: Standing) -> AbstractContextManager[None]:
    """Nothing is written, and nobody sees more than the results."""
    return nullcontext()


@contextmanager
def feeding(folder: Path, standing: Standing) -> Iterator[None]:
    """Keep `live.json` in `folder` up to date; at the end it says how it ended.

    `standing` is asked in the event loop that runs now.
    """
    writer = _Writer(folder / NAME, standing)
    writer.start()
    ended, why = "finished", ""
    try:
        yield
    except BaseException as error:
        reason = cause(error) if isinstance(error, Exception) else error
        known = isinstance(reason, UserError | EngineError)
        ended = "failed" if isinstance(reason, Exception) else "interrupted"
        why = brief(str(reason) if known else type(reason).__name__, 1000) if known else ""
        raise
    finally:
        writer.end({"ended": ended, "why": why})


class _Writer(threading.Thread):
    def __init__(self, path: Path, standing: Standing) -> None:
        super().__init__(name="live", daemon=True)
        self._path, self._standing = path, standing
        self._loop = asyncio.get_running_loop()
        self._begun = time.monotonic()
        self._over = threading.Event()
        self._turn = threading.Lock()
        self._asked: Future[tuple[Mapping[str, Any], float]] = Future()

    def run(self) -> None:
        wait = 0.0
        try:
            while not self._over.wait(wait):
                told, took = self._look()
                begun = time.thread_time()
                size = self._write(told)
                took += time.thread_time() - begun
                wait = max(EVERY, _SHARE * took, size / _PACE)
        except CancelledError:
            return
        except Exception as error:  # whatever it is, the run goes on
            log.warning("%s is not kept, so that nobody can watch: %s", self._path, error)

    def _look(self) -> tuple[Mapping[str, Any], float]:
        """How it stands, and the seconds that the event loop has spent on saying so."""
        asked = self._asked = Future()

        def take() -> None:
            if asked.set_running_or_notify_cancel():
                begun = time.perf_counter()
                try:
                    told = self._standing()
                    asked.set_result((told, time.perf_counter() - begun))
                except Exception as error:
                    asked.set_exception(error)

        if self._over.is_set():
            raise CancelledError
        self._loop.call_soon_threadsafe(take)
        return asked.result()

    def _write(self, told: Mapping[str, Any], *, last: bool = False) -> int:
        head = {"version": VERSION, "at": time.time(), "seconds": time.monotonic() - self._begun}
        text = json.dumps({**head, **told})
        with self._turn:
            if last or not self._over.is_set():
                files.replace(self._path, [text])
        return len(text)

    def end(self, how: Mapping[str, str]) -> None:
        """Write how it stands at the end; nothing is written afterwards."""
        self._over.set()
        self._asked.cancel()
        try:
            self._write({**self._standing(), "searches": [], **how}, last=True)
        except Exception as error:
            log.warning("%s could not be written: %s", self._path, error)
