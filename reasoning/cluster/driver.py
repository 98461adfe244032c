"""The driver of a run on workers: it owns store, queue and progress, and draws nothing itself.

A place is kept for each worker of the recipe. Who is lost, is replaced in its place, and is never
heard again: what it held another goes on with, from the samples that had arrived. Results are
those of one process, since seeds depend on places in the tree alone and all strategies of a problem
are in one worker.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from asyncio import FIRST_COMPLETED, TaskGroup
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from math import ceil, inf
from typing import Any, Protocol, TypeVar

from reasoning.backends.ledger import packed_entry
from reasoning.cluster.queue import ATTEMPTS, Queue
from reasoning.cluster.settings import Workers
from reasoning.cluster.worker import Drawn, Event, Job, Kept, Noted, Reply, Said, Settled, installed
from reasoning.errors import EngineError, RecipeError, UserError, cause
from reasoning.generate import Generator
from reasoning.live.board import DETAILED
from reasoning.live.feed import Feed
from reasoning.problem import Problem
from reasoning.result import Result
from reasoning.runs.common import Common, terms
from reasoning.runs.manifest import Found, tell_engines, tell_found, tell_sizes
from reasoning.runs.plan import Plan
from reasoning.runs.run import Progress, Watcher, shown
from reasoning.runs.store import Store
from reasoning.tree import RolloutTree
from reasoning.usage import Usage

log = logging.getLogger(__name__)

T = TypeVar("T")

LAST_WORDS = 10.0
"""Seconds that a worker has to say what it has left to say when the run ends."""
STRIDE = 16
"""Problems that a worker gets at a time, until it has calls enough."""
STARTS = 3
"""Workers in a row that a place may lose before they are ready."""


class LostError(Exception):
    """A worker is gone. `blame` says whether what it worked on may be why."""

    def __init__(self, why: str, *, blame: bool = False) -> None:
        super().__init__(why)
        self.blame = blame


class _Over(Exception):  # noqa: N818 (nothing is wrong)
    """There is nothing left to do."""


class Hand(Protocol):
    """A worker as its driver sees it (see `Worker`). All calls raise LostError if it is gone."""

    async def hello(self) -> Mapping[str, str]:
        """The versions it runs on, as soon as it is somewhere."""

    async def start(self) -> Found: ...

    async def exchange(self, jobs: Sequence[Job]) -> Reply: ...

    async def finish(self, others: bool) -> Reply: ...

    async def stop(self) -> Reply: ...

    def kill(self) -> None:
        """End it, if it is not gone already."""


async def finish(todo: Plan, store: Store, watch: Watcher, feed: Feed) -> None:
    """Finish a run on the workers of its recipe. Raises UserError, EngineError."""
    settings = todo.recipe.workers
    assert settings is not None
    if todo.recipe.run_limits:
        raise RecipeError(
            "workers: run_limits hold for all problems together, and a worker knows nothing of "
            "the others; use limits, those of a search, or no workers"
        )
    driver = Driver(todo, store, watch, settings)
    if driver.queue.over:
        return
    from reasoning.cluster.actors import crew

    async with crew(todo, settings) as hire:
        with feed(store.folder, driver.standing):
            await driver.finish(hire)


class Driver:
    """One run's. `hire` makes the worker of a given name."""

    def __init__(self, todo: Plan, store: Store, watch: Watcher, settings: Workers) -> None:
        self.todo, self.store, self.watch, self.settings = todo, store, watch, settings
        self.progress = Progress(len(todo.problems))
        self.problems = {problem.id: problem for problem in todo.problems}
        self.left: dict[str, set[str]] = {}
        self.done: dict[str, dict[tuple[str, str], Mapping[str, Any]]] = {}
        self.stored = False
        self.common = Common([*self.problems], terms(todo.strategies))
        self._read()
        self.queue = Queue([p for p in self.problems if self.left[p]], settings.patience)
        self.over: asyncio.Future[None]
        self.calls: dict[str, asyncio.Future[Any]] = {}
        self.names = (f"worker {i}" for i in itertools.count(1))
        self.new_tokens: Counter[str] = Counter()
        self.failed_calls: Counter[str] = Counter()
        self.looks: dict[str, Sequence[Mapping[str, Any]]] = {}
        self.places = settings.n
        self.versions: dict[str, Mapping[str, str]] = {}
        self.founds: dict[str, Found] = {}
        recorded = [p for p in todo.plugins if isinstance(p, Generator) and not p.replays]
        self.ledgers = [*(store.ledger(i) for i in range(len(recorded))), store.scores()]

    def _read(self) -> None:
        """What is stored already."""
        strategies = {arm.strategy.name for arm in self.todo.arms}
        self.left = {problem: set(strategies) for problem in self.problems}
        for result in self.store.results():
            self._count(result)
        self.progress.done = sum(not left for left in self.left.values())

    def _count(self, result: Mapping[str, Any]) -> bool:
        """Whether it is a result that was missing."""
        strategy, problem = result["strategy"], result["problem"]
        self.stored = True
        self.common.spend(result)
        if strategy not in self.left.get(problem, ()):
            return False
        self.left[problem].remove(strategy)
        self.progress.graded += result.get("correct") is not None
        self.progress.correct += result.get("correct") is True
        known = self.done.setdefault(problem, {})
        known[strategy, problem] = {"correct": result.get("correct")}
        if not self.left[problem]:
            del self.done[problem]
        return True

    def standing(self) -> dict[str, Any]:
        """How the run stands, as `reasoning.live.board.standing` has it; unknown is None."""
        busy = {name: n for name in self.looks if (n := len(self.queue.holds(name)))}
        searches = [look for name in busy for look in self.looks[name]]
        return {
            "problems": self.progress.problems,
            "done": self.progress.done,
            "new_done": self.progress.new_done,
            "tokens": self.new_tokens.total(),
            "calls": None,
            "in_flight": None,
            "workers": len(busy),
            "running": None,
            "searches": searches[:DETAILED],
        }

    async def finish(self, hire: Callable[[str], Hand]) -> None:
        """Run whatever is not stored yet."""
        self.watch(self.progress)
        self.over = asyncio.get_running_loop().create_future()
        try:
            async with TaskGroup() as group:
                for _ in range(self.settings.n):
                    group.create_task(self._place(hire))
        except BaseExceptionGroup as errors:
            raise cause(errors) from errors
        finally:
            self._tell()

    async def _place(self, hire: Callable[[str], Hand]) -> None:
        """Keep a worker at work until nothing is left, or until it makes no sense."""
        failures = 0
        while not self.over.done():
            name = next(self.names)
            try:
                await self._employ(name, hire(name))
            except LostError as lost:
                failures = 0 if name in self.new_tokens else failures + 1
                await self._lose(name, lost)
                if failures == STARTS:
                    why = f"{STARTS} workers in a row did not start; the last: {lost}"
                    self._give_up(name, EngineError(why))
                    break
            except EngineError as error:
                self._give_up(name, error)
                break

    def _give_up(self, name: str, error: EngineError) -> None:
        """Do without a place, unless it is the last."""
        self.queue.leave(name)
        self.places -= 1
        if not self.places:
            raise error
        log.warning("%s is given up, %d are left: %s", name, self.places, error)

    async def _employ(self, name: str, hand: Hand) -> None:
        """One worker, from its start to the end of the run."""
        there = False
        try:
            with suppress(_Over):
                versions = await self._ask(name, hand.hello())
                self._admit(name, versions, await self._ask(name, hand.start()))
                there = True
                await self._work(name, hand)
        except LostError:
            there = False
            raise
        finally:
            try:
                if there:
                    await self._last_words(name, hand)
            finally:
                hand.kill()

    async def _work(self, name: str, hand: Hand) -> None:
        now = asyncio.get_running_loop().time
        self.queue.join(name, now())
        at_once = self.settings.at_once or self.todo.recipe.concurrency
        busy, full = 0, False
        while True:
            fair = max(1, ceil(self.queue.waiting / self.places))
            room = 0 if full else min(at_once - busy, fair, STRIDE)
            taken = self.queue.take(name, room, self.common.ready)
            rest = not taken and not busy and self.queue.holds(name)
            jobs = await self._jobs(taken)
            work = hand.finish(self.stored) if rest else hand.exchange(jobs)
            reply = await self._ask(name, work, self.queue.expires(name))
            self.queue.heard(name, now())
            await self._hear(name, reply)
            busy, full = reply.busy, reply.full

    async def _ask(self, name: str, work: Coroutine[Any, Any, T], until: float = inf) -> T:
        """What a worker answers by then. Raises LostError, and _Over where the run is over first.

        Whoever is cancelled meanwhile leaves the call in `calls`: what it brings is paid for.
        """
        call: asyncio.Future[T] = asyncio.ensure_future(work)
        self.calls[name] = call
        call.add_done_callback(lambda call: call.cancelled() or call.exception())
        left = None if until == inf else until - asyncio.get_running_loop().time()
        waits: set[asyncio.Future[Any]] = {call, self.over}
        await asyncio.wait(waits, timeout=left, return_when=FIRST_COMPLETED)
        if call.done():
            del self.calls[name]
            return call.result()
        if self.over.done():
            raise _Over
        raise LostError(f"nothing was heard of it for {self.settings.patience:g} s")

    async def _last_words(self, name: str, hand: Hand) -> None:
        """Let it say what it has left to say: what was finished meanwhile, and what is lost."""
        last = asyncio.ensure_future(hand.stop())
        with suppress(LostError, TimeoutError, UserError, EngineError):
            async with asyncio.timeout(LAST_WORDS):
                for call in filter(None, (self.calls.pop(name, None), last)):
                    await self._hear(name, await call)

    def _admit(self, name: str, versions: Mapping[str, str], found: Found) -> None:
        """Refuse a worker by which numbers would not be the run's. Raises EngineError."""
        here, there = installed().get("reasoning"), versions.get("reasoning")
        if here != there:
            raise EngineError(f"{name} has reasoning {there} and the driver {here}; install one")
        try:
            tell_engines(found.engines, self.store)
        except UserError as error:
            raise EngineError(f"{name}: {error}") from error
        self.versions[name], self.founds[name] = versions, found

    async def _jobs(self, problems: Sequence[str]) -> list[Job]:
        if not problems:
            return []
        known = await self.store.beside(self._known, problems)
        return [
            Job(self.problems[p], entries, self.done.get(p, {}), self.common.shares(p))
            for p, entries in zip(problems, known, strict=True)
        ]

    def _known(self, problems: Sequence[str]) -> list[list[list[bytes]]]:
        """For each problem and journal, what is on disk."""
        found = [
            [[packed_entry(*item) for item in ledger.of(p).items()] for ledger in self.ledgers]
            for p in problems
        ]
        for ledger in self.ledgers:
            for problem in problems:
                ledger.forget(problem)
        return found

    async def _hear(self, name: str, reply: Reply) -> None:
        """Take in what a worker says. Raises what ended it."""
        fresh = [event for event in reply.events if self._is_news(event)]
        ended = [event.result for event in fresh if isinstance(event, Kept)]
        over = [p for p in {r["problem"] for r in ended} if not self.left[p]]
        if fresh or over:
            await asyncio.shield(self.store.beside(self._write, fresh, over))
        self.new_tokens[name] = reply.new_tokens
        self.failed_calls[name] = reply.failed_calls
        if reply.searches is not None:
            self.looks[name] = reply.searches
        if reply.found is not None:
            self.founds[name] = reply.found
        for problem in over:
            self.queue.done(name, problem)
        self._advance(len(over))
        if reply.error is not None:
            raise reply.error

    def _is_news(self, event: Event) -> bool:
        if isinstance(event, Said):
            logging.getLogger(event.logger).log(event.level, "%s", event.message)
            return False
        return not isinstance(event, Kept) or self._count(event.result)

    def _write(self, events: Sequence[Event], over: Sequence[str]) -> None:
        for event in events:
            match event:
                case Drawn(journal, problem, entry):
                    self.ledgers[journal].write(problem, entry)
                case Settled(journal, problem, entries):
                    self.ledgers[journal].keep(problem, entries)
                case Kept(result, tree, samples):
                    self.store.put(result, [tree], samples)
                case Noted(lost):
                    self.store.note(lost)
        for ledger, problem in itertools.product(self.ledgers, over):
            ledger.drop(problem)

    def _advance(self, ended: int) -> None:
        self.progress.done += ended
        self.progress.new_done += ended
        self.progress.new_tokens = self.new_tokens.total()
        self.progress.failed_calls = self.failed_calls.total()
        self.watch(self.progress)
        if self.queue.over and not self.over.done():
            self.over.set_result(None)

    async def _lose(self, name: str, lost: LostError) -> None:
        """Have others go on with what it held, and end what kills whoever tries."""
        held = len(self.queue.holds(name))
        log.warning("%s is lost with %d problems at work: %s", name, held, lost)
        given_up = self.queue.leave(name, blame=lost.blame)
        if held:
            await self.store.beside(self.store.note, {"workers": 1})
        for problem in given_up:
            await self._fail(self.problems[problem], lost)
        self._advance(len(given_up))

    async def _fail(self, problem: Problem, lost: LostError) -> None:
        """What is stored of a problem that kills its workers: each missing result, failed."""
        why = f"{ATTEMPTS} workers died of this problem (memory, most likely); the last: {lost}"
        for arm in self.todo.arms:
            if arm.strategy.name in self.left[problem.id]:
                tree = RolloutTree(problem.id, arm.strategy.recipe.seed)
                result = Result(None, "failed", Usage(), [], tree, failures=[why])
                record = await shown(self.todo, problem, arm.strategy, result, why)
                self._count(record)
                await self.store.beside(self._write, [Kept(record, "".join(tree.pieces()), ())], [])
        await self.store.beside(self._write, [], [problem.id])

    def _tell(self) -> None:
        """Write down what the workers have found out."""
        if not self.founds:
            return
        founds = [*self.founds.values()]
        servers = {tuple(sorted(s.items())): s for f in founds for s in f.servers}
        notes = dict.fromkeys(note for f in founds for note in f.notes)
        merged = Found(
            founds[0].engines,
            list(servers.values()),
            [*notes, *self._differences()],
            founds[0].parameters,
            dict(sum((Counter(found.served) for found in founds), Counter())),
        )
        tell_found(merged, self.store)
        tell_sizes(merged, self.store)

    def _differences(self) -> list[str]:
        """What was not the same on all workers and may change a number, in plain words."""
        installs = [*self.versions.values()]
        found = []
        for package in dict.fromkeys(name for versions in installs for name in versions):
            told = dict.fromkeys(versions.get(package, "none") for versions in installs)
            if len(told) > 1:
                found.append(f"the workers ran with different {package}: {', '.join(told)}")
        return found
