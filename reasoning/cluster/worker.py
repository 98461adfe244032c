"""A worker: the searches of a run, in a process that keeps nothing.

All it would store is sent to whoever asks. It knows of no cluster: `actors` makes one of it.
"""

from __future__ import annotations

import asyncio
import logging
import platform
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, ExitStack, contextmanager, suppress
from contextvars import copy_context
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias

from reasoning.backends.ledger import (
    Entry,
    Held,
    Ledger,
    packed_entry,
    unpacked_entry,
)
from reasoning.errors import EngineError, ReasoningError
from reasoning.http.keys import sent_to
from reasoning.problem import Problem
from reasoning.runs import names
from reasoning.runs.manifest import Found, found, versions
from reasoning.runs.plan import plan
from reasoning.runs.recipe import Recipe
from reasoning.runs.run import Progress, Running
from reasoning.runs.store import Store
from reasoning.stored import digest
from reasoning.tree import RolloutTree

SCORES = -1
"""The number of the ledger of scores, behind those of the journals."""

BATCH = 0.05
"""Seconds in which events are gathered before they are sent."""
LOOK = 1.0
"""Seconds between two looks at what runs here."""


class Drawn(NamedTuple):
    """A call came back: the entry of a journal, in its bytes."""

    journal: int
    problem: str
    entry: bytes


class Settled(NamedTuple):
    """A problem is done: what is left of a journal's entries, or of the scores."""

    journal: int
    problem: str
    entries: Sequence[bytes]


class Kept(NamedTuple):
    """A search is over: its line, the text of its tree, and the samples which that only names."""

    result: Mapping[str, Any]
    tree: str
    samples: Sequence[str]


class Noted(NamedTuple):
    """Something was spent for nothing."""

    lost: Mapping[str, Any]


class Said(NamedTuple):
    """Somebody wrote to the log."""

    logger: str
    level: int
    message: str


Event: TypeAlias = Drawn | Settled | Kept | Noted | Said
Given: TypeAlias = dict[tuple[int, str], Sequence[bytes]]
"""What is known by journal and problem."""
Send: TypeAlias = Callable[[Event], None]


@dataclass(frozen=True, slots=True)
class Job:
    """A problem, what is known of it for each journal and of its scores, which strategies are done
    with it, and what purses of the run leave the others."""

    problem: Problem
    known: Sequence[Sequence[bytes]]
    done: Mapping[tuple[str, str], Mapping[str, Any]]
    shares: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Reply:
    """What has happened since the last one. With an `error` there will be no other.

    `busy` problems are at work; what the worker holds beyond them waits until a call succeeds.
    When it is `full` these make all the calls that it may have in flight. `searches` is what
    people may look at, once a second: the first of them with its tree, None where it is not time.
    `found` is what the engines have told by then, as often, and in the last reply.
    """

    events: Sequence[Event]
    busy: int
    full: bool
    new_tokens: int
    failed_calls: int
    error: ReasoningError | None = None
    searches: Sequence[Mapping[str, Any]] | None = None
    found: Found | None = None


@dataclass(frozen=True, slots=True)
class Order:
    """What makes a worker one of a run: the recipe, and what its reader has agreed to."""

    recipe: Recipe
    task: str
    private: bool
    codes: frozenset[str] | None
    urls: frozenset[str] | None


@dataclass(frozen=True, slots=True)
class _Task:
    """The task where problems come one by one."""

    name: str
    private: bool
    problems: Sequence[Problem] = ()
    source: str = ""
    avg_at_n: int | None = None


class Worker:
    """Problems come with `exchange`, which also gives what has happened; times are seconds."""

    def __init__(self, order: Order) -> None:
        self._order = order
        self._loop = asyncio.get_running_loop()
        self._events: list[Event] = []
        self._news = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._error: ReasoningError | None = None
        self._running: Running | None = None
        self._known: Given = {}
        self._looked = -LOOK
        self._context = copy_context()
        self._stack = AsyncExitStack()

    def listen(self) -> None:
        """Send what this process logs, too."""
        handler = _Handler(self._send)
        logging.getLogger().addHandler(handler)
        self._stack.callback(logging.getLogger().removeHandler, handler)

    def _send(self, event: Event) -> None:
        """From any thread."""
        self._events.append(event)
        self._loop.call_soon_threadsafe(self._news.set)

    async def start(self) -> Found:
        """Build the recipe's parts and get them ready. Raises UserError, EngineError."""
        with self._agreed():
            task = _Task(self._order.task, self._order.private)
            todo = plan(self._order.recipe, task=task)
            self._context = copy_context()
        for part in todo.plugins:
            self._stack.push_async_callback(part.aclose)
        self._running = Running(
            todo, _Outbox(self._send, self._known, len(todo.strategies) > 1), _unwatched
        )
        for journal in self._running.journals.values():
            self._stack.callback(journal.close)
        await self._running.begin()
        return found(todo)

    @contextmanager
    def _agreed(self) -> Iterator[None]:
        """Import and send no more meanwhile than the driver may."""
        with ExitStack() as stack:
            if self._order.codes is not None:
                stack.enter_context(names.trusting(self._order.codes))
            if self._order.urls is not None:
                stack.enter_context(sent_to(self._order.urls))
            yield

    async def exchange(self, jobs: Sequence[Job], wait: float = 1.0) -> Reply:
        """Begin `jobs`, and say what has happened; `wait` that long for something to happen.

        Not after new ones: there may be room for more.
        """
        for job in jobs:
            self._begin(job)
        with suppress(TimeoutError):
            await asyncio.wait_for(self._news.wait(), BATCH if jobs else wait)
            await asyncio.sleep(BATCH)
        return self._reply()

    async def finish(self, others: bool) -> Reply:
        """There is no more to do; have what is held back stored if anything has succeeded."""
        try:
            await self._here.keep_rest(others)
        except ReasoningError as error:
            self._error = error
        return self._reply()

    async def stop(self) -> Reply:
        """Cancel what is at work, close the engines, and give what is left to say."""
        self._news.set()  # whoever waits for some is answered
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        await self._stack.aclose()
        self._looked = -LOOK
        return self._reply()

    @property
    def _here(self) -> Running:
        assert self._running is not None, "start comes first"
        return self._running

    def _begin(self, job: Job) -> None:
        *journals, scores = job.known
        for number, entries in (*enumerate(journals), (SCORES, scores)):
            self._known[number, job.problem.id] = entries
        task = asyncio.create_task(self._solve(job), context=self._context.copy())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(lambda _: self._news.set())

    async def _solve(self, job: Job) -> None:
        gate = self._here.gate
        gate.begin()
        try:
            await self._here.solve(job.problem, job.done, job.shares)
        except ReasoningError as error:
            self._error = self._error or error
        except Exception:  # a bug of ours: the process that would report it is elsewhere
            self._error = EngineError(f"a worker failed: {traceback.format_exc()}")
        finally:
            gate.end()

    def _reply(self) -> Reply:
        self._news.clear()
        searches, known = self._looks()
        events, self._events = self._events, []
        progress = self._running.progress if self._running else Progress(0)
        full = self._running is not None and self._running.gate.full
        return Reply(
            events,
            len(self._tasks),
            full,
            progress.new_tokens,
            progress.failed_calls,
            self._error,
            searches,
            known,
        )

    def _looks(self) -> tuple[Sequence[Mapping[str, Any]] | None, Found | None]:
        now = self._loop.time()
        if self._running is None or now - self._looked < LOOK:
            return None, None
        self._looked = now
        searches = self._running.board.looks(texts=not self._order.private, most=1)
        return searches, found(self._running.plan)


def installed() -> dict[str, str]:
    """The versions here of what can change a number."""
    return {"python": platform.python_version(), **versions()}


class _Handler(logging.Handler):
    """Sends what is logged, from warnings on."""

    def __init__(self, send: Send) -> None:
        super().__init__(logging.WARNING)
        self._send = send

    def emit(self, record: logging.LogRecord) -> None:
        self._send(Said(record.name, record.levelno, record.getMessage()))


class _Sent(Ledger):
    """A journal's entries: those that came with a problem, and new ones that are sent."""

    def __init__(self, number: int, send: Send, known: Given) -> None:
        super().__init__()
        self._number = number
        self._send = send
        self._given = known

    def _read(self, problem: str) -> Iterable[tuple[str, Entry]]:
        return map(unpacked_entry, self._given.pop((self._number, problem), ()))

    def _write(self, problem: str, key: str, entry: Entry) -> None:
        self._send(Drawn(self._number, problem, packed_entry(key, entry)))

    def settle(self, problem: str, held: Held) -> None:
        self._send(Settled(self._number, problem, held.briefly(self.of(problem))))
        self.drop(problem)


class _Outbox(Store):
    """A store whose folder is elsewhere."""

    def __init__(self, send: Send, known: Given, several: bool) -> None:
        super().__init__("elsewhere")
        self._send = send
        self._given = known
        self._several = several

    def ledger(self, number: int = 0) -> Ledger:
        return _Sent(number, self._send, self._given)

    def scores(self) -> Ledger:
        return _Sent(SCORES, self._send, self._given)

    async def keep(self, found: Sequence[tuple[Mapping[str, Any], RolloutTree]]) -> None:
        for result, tree in found:
            self._send(await asyncio.to_thread(self._kept, result, tree))

    def _kept(self, result: Mapping[str, Any], tree: RolloutTree) -> Kept:
        samples: dict[str, str] = {}

        def keep(parts: Iterable[str]) -> str:
            body = "".join(parts)
            name = digest(body.encode())
            samples[name] = body
            return name

        text = "".join(tree.pieces(keep if self._several else None))
        return Kept(result, text, [*samples.values()])

    def note(self, lost: Mapping[str, Any]) -> None:
        self._send(Noted(lost))


def _unwatched(progress: Progress) -> None:
    """The driver counts."""
