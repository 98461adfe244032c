"""Continuous batching: jobs join and leave the running batch at every step.

One thread steps while there is work and ends when there is none, so an idle engine holds no
thread. It never calls back into a job's owner itself: after each step every event loop that has
something to hear gets one callback for all its jobs.
"""

from __future__ import annotations

import asyncio
import atexit
import threading
import weakref
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from typing import Any, Generic, TypeVar

from reasoning.backends.nano.cache import PrefixCache, common
from reasoning.backends.nano.model import KV, FloatArray, Span, Transformer
from reasoning.errors import EngineError

PREFILL = 256
"""Prompt tokens computed in one step, next to one token of every call that is generating."""

SHARED = 16
"""A job waits for another that is computing at least so many tokens both need."""


class Job(ABC):
    """A sequence in the engine, and the way back to whoever waits for it.

    Subclasses say at which positions they need the hidden state and what to do with what was
    made of it. `tokens` may grow; whatever is new is computed in the next step. Created on the
    event loop that awaits `future`; with `loop` None the future is one to block on.
    """

    def __init__(
        self,
        tokens: Sequence[int],
        *,
        loop: asyncio.AbstractEventLoop | None,
        reuse: int | None = None,
        meter: Callable[[int], None] | None = None,
    ) -> None:
        self.tokens = list(tokens)
        self.prompt_tokens = len(self.tokens)
        self.reuse = self.prompt_tokens - 1 if reuse is None else reuse
        """At most so many tokens may come from the cache: states before it are not computed."""
        self.cached_tokens = 0
        self.produced = 0
        """Tokens generated so far."""
        self.kv: KV | None = None
        self.live = True
        """False once finished or cancelled: nothing is accepted any more."""
        self.error: BaseException | None = None
        self.loop = loop
        self.future: Any = Future() if loop is None else loop.create_future()
        self._meter = meter
        self._metered = 0

    @abstractmethod
    def wanted(self, start: int, stop: int) -> Sequence[int]:
        """The positions in [start, stop) whose hidden state the job needs."""

    @abstractmethod
    def accept(self, outcome: Any) -> bool:
        """Take what was computed for one position; True when the job is finished."""

    @abstractmethod
    def result(self) -> Any:
        """What the future gets; called once, after the last `accept`."""

    def flush(self) -> None:
        """Meter what was produced since the last time."""
        if self._meter and (new := self.produced - self._metered):
            self._metered += new
            self._meter(new)

    def report(self) -> None:
        """Meter and, if the job is over, resolve the future. Runs where the future is awaited."""
        over = not self.live  # read before `produced`, which is final from then on
        if self.future.done():
            return
        try:
            self.flush()
            if self.error is not None:
                self.future.set_exception(self.error)
            elif over:
                self.future.set_result(self.result())
        except Exception as error:
            self.future.set_exception(error)


J = TypeVar("J", bound=Job)
Compute = Callable[[Sequence[tuple[J, int]], FloatArray], Iterable[Any]]
"""Makes outcomes [n] of hidden states [n, E], wanted by (job, its position)."""


class Engine(Generic[J]):
    """Runs jobs on a model, first come first served, at most `max_batch` at a time.

    `cache_tokens` is how many tokens' keys and values are kept for continuations. All methods
    may be called from any thread. An exception in a step fails every job and every later
    `submit` with EngineError: it is a bug or a lack of memory, and no retry would help.
    """

    def __init__(
        self, model: Transformer, compute: Compute[J], *, max_batch: int, cache_tokens: int
    ) -> None:
        if max_batch < 1:
            raise ValueError(f"max_batch is {max_batch}; it must be at least 1")
        self.max_batch = max_batch
        self._model = model
        self._compute = compute
        self._cache = PrefixCache(cache_tokens)
        self._lock = threading.Lock()
        self._waiting: deque[J] = deque()
        self._running: list[J] = []
        self._thread: threading.Thread | None = None
        self._error: EngineError | None = None
        _engines.add(self)

    @property
    def waiting(self) -> int:
        """Jobs without a slot."""
        return len(self._waiting)

    @property
    def running(self) -> int:
        """Jobs with a slot."""
        return len(self._running)

    def submit(self, *jobs: J) -> None:
        """Queue jobs. Raises EngineError if the engine has failed or is closed."""
        with self._lock:
            if self._error is not None:
                raise self._error
            self._waiting.extend(jobs)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="nano", daemon=True)
                self._thread.start()

    def cancel(self, job: J) -> None:
        """Free the job's slot now; it gets nothing more. Does nothing if it is over."""
        with self._lock:
            if job.live:
                job.live = False
                (self._running if job in self._running else self._waiting).remove(job)

    def close(self) -> None:
        """Fail what is left and wait for the step in flight."""
        self._fail(EngineError("the nano engine was closed"))
        if (thread := self._thread) is not None and thread is not threading.current_thread():
            thread.join()

    def _run(self) -> None:
        try:
            while batch := self._admit():
                self._step(batch)
        except BaseException as error:
            failure = EngineError(f"the nano engine failed: {type(error).__name__}: {error}")
            failure.__cause__ = error
            self._fail(failure)

    def _admit(self) -> list[J]:
        """Fill free slots; the jobs that run now. None left: the thread is about to end."""
        with self._lock:
            while self._waiting and len(self._running) < self.max_batch:
                self._running.append(self._waiting.popleft())
            if not self._running:
                self._thread = None
            return list(self._running)

    def _step(self, batch: Sequence[J]) -> None:
        """Compute new tokens of the batch and hand out what became of them."""
        spans, wants, rows = self._plan(batch)
        hidden = self._model.forward([span for _, span in spans])
        outcomes = self._compute(wants, hidden[rows]) if wants else ()
        heard = self._accept(wants, outcomes)
        for job, span in spans:
            if span.kv.length == job.prompt_tokens or not job.live:
                self._cache.insert(job.tokens[: span.kv.length], span.kv)
        self._deliver(heard)

    def _plan(
        self, batch: Sequence[J]
    ) -> tuple[list[tuple[J, Span]], list[tuple[J, int]], list[int]]:
        """Whose tokens to compute in this step, and which positions are wanted, in which rows."""
        spans: list[tuple[J, Span]] = []
        prefilling: list[J] = []
        wants: list[tuple[J, int]] = []
        rows: list[int] = []
        budget, row = PREFILL, 0
        for job in batch:
            kv = job.kv or (self._start(job, prefilling) if budget else None)
            if kv is None:
                continue
            start, count = kv.length, len(job.tokens) - kv.length
            if count > 1:
                count = min(count, budget)
                budget -= count
                prefilling.append(job)
            if count:
                spans.append((job, Span(kv, job.tokens[start : start + count])))
                for position in job.wanted(start, start + count):
                    wants.append((job, position))
                    rows.append(row + position - start)
                row += count
        return spans, wants, rows

    def _start(self, job: J, prefilling: Sequence[J]) -> KV | None:
        """The job's cache, filled with what is known; None while another computes what it needs."""
        known = job.tokens[: job.reuse]
        found = self._cache.match(known)
        if any(common(known, other.tokens) >= found + SHARED for other in prefilling):
            return None
        job.kv = KV(self._model.config)
        self._cache.load(known, job.kv)
        job.cached_tokens = found
        return job.kv

    def _accept(self, wants: Sequence[tuple[J, int]], outcomes: Iterable[Any]) -> dict[J, None]:
        """Give jobs their outcomes, unless cancelled meanwhile; the jobs that got one."""
        heard: dict[J, None] = {}
        with self._lock:
            for (job, _), outcome in zip(wants, outcomes, strict=True):
                if job.live:
                    heard[job] = None
                    if job.accept(outcome):
                        job.live = False
                        self._running.remove(job)
        return heard

    def _fail(self, error: EngineError) -> None:
        with self._lock:
            self._error = self._error or error
            jobs = [*self._running, *self._waiting]
            self._running.clear()
            self._waiting.clear()
            for job in jobs:
                job.error, job.live = error, False
        self._deliver(jobs)

    def _deliver(self, jobs: Iterable[J]) -> None:
        """One callback for each event loop."""
        by_loop: dict[asyncio.AbstractEventLoop | None, list[J]] = {}
        for job in jobs:
            by_loop.setdefault(job.loop, []).append(job)
        for loop, group in by_loop.items():
            if loop is None:
                _report(group)
                continue
            try:
                loop.call_soon_threadsafe(_report, group)
            except RuntimeError:  # the loop is closed: nobody waits any more
                for job in group:
                    self.cancel(job)


def _report(jobs: Sequence[Job]) -> None:
    for job in jobs:
        job.report()


_engines: weakref.WeakSet[Engine[Any]] = weakref.WeakSet()


@atexit.register
def _close_all() -> None:
    """A thread inside BLAS must not outlive the interpreter."""
    for engine in list(_engines):
        engine.close()
