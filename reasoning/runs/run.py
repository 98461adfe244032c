"""Run a recipe: many problems in flight, everything finished on disk, nothing done twice."""

from __future__ import annotations

import asyncio
import time
import traceback
from asyncio import TaskGroup
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from reasoning.backends.journal import Journal
from reasoning.backends.ledger import Held
from reasoning.cached import Cached
from reasoning.clock import VirtualClock
from reasoning.errors import EngineError, RecipeError, UserError, cause
from reasoning.generate import Generator
from reasoning.live.board import Board, key, standing
from reasoning.live.feed import Feed, unseen
from reasoning.problem import Problem
from reasoning.result import Result, failed, run_search
from reasoning.runs.common import Common, terms
from reasoning.runs.extend import Extension
from reasoning.runs.gate import Gate, Gated
from reasoning.runs.manifest import (
    describe,
    found,
    tell_engines,
    tell_found,
    tell_shard,
    tell_sizes,
)
from reasoning.runs.plan import Arm, Plan, plan, refuse_unable
from reasoning.runs.recipe import Recipe, Strategy
from reasoning.runs.record import recorded
from reasoning.runs.shard import Shard
from reasoning.runs.store import Store
from reasoning.runs.summary import LOST, summarise
from reasoning.sample import LOST as LOST_CALLS
from reasoning.search import Search
from reasoning.session import expect, start
from reasoning.settings import Limits, made
from reasoning.tree import RolloutTree
from reasoning.usage import Usage
from reasoning.verify import Verifier

_NONE: Mapping[str, float] = {}
_AGAIN = "What was finished is stored; the same command continues"
BARREN = 16
"""Searches in a row without a call that succeeds, after which a run stops."""


@dataclass(slots=True)
class Progress:
    """How far a run is. `new_*` leaves out what an earlier, interrupted run had done."""

    problems: int
    done: int = 0
    new_done: int = 0
    new_tokens: int = 0
    graded: int = 0
    correct: int = 0
    failed_calls: int = 0
    started: float = field(default_factory=time.monotonic)


Watcher: TypeAlias = Callable[[Progress], None]


async def run(
    recipe: Recipe,
    out: str | Path,
    *,
    limit: int | None = None,
    shard: Shard | None = None,
    extend: bool = False,
    watch: Watcher | None = None,
    feed: Feed = unseen,
    command: Sequence[str] = (),
    traced: Callable[[Plan], Plan] | None = None,
) -> dict[str, Any]:
    """Run `recipe` into the folder `out` and return the summary.

    What the folder already holds of this run is kept and not run again. Raises UserError for a
    mistake in the recipe or the folder, EngineError if the engine dies; what was finished by then
    is stored. A `shard` of the problems is a run of its own, until `merge.merge` makes one of all.
    With `extend` the folder may hold a run with other strategies or fewer problems: no call that
    it has paid for is paid again (see `reasoning.runs.extend`). With
    `reasoning.live.feed.feeding` as `feed` other processes can look on. `traced`, that of
    `reasoning.integrations.tracing`, makes spans of what is done in this process.
    """
    if traced and recipe.workers is not None:
        raise RecipeError("spans are made where a run is, and workers are elsewhere: no --trace")
    todo = plan(recipe, limit, shard)
    store = Store(out)
    more = Extension(todo, store, command) if extend else None
    with store.opened(describe(todo, command), more):
        tell_shard(todo, store)
        complete = False
        try:
            async with AsyncExitStack() as stack:
                for part in todo.plugins:
                    stack.push_async_callback(part.aclose)
                finish = _here if recipe.workers is None else _away
                await finish(traced(todo) if traced else todo, store, watch or _unwatched, feed)
                complete = True
        except EngineError as error:
            raise EngineError(f"{str(error).rstrip('.')}. {_AGAIN}") from error
        finally:
            if complete:  # nobody pays for an engine while it is worked out
                summary = summarise(todo, store)
                store.write_json("summary.json", summary)
                store.drop_passing()
    return summary


async def _here(todo: Plan, store: Store, watch: Watcher, feed: Feed) -> None:
    """Finish the run in this process."""
    running = Running(todo, store, watch)
    try:
        with feed(store.folder, lambda: standing(running)):
            await running.finish()
    finally:
        tell_found(found(todo), store)
    tell_sizes(found(todo), store)


async def _away(todo: Plan, store: Store, watch: Watcher, feed: Feed) -> None:
    """Finish it on the recipe's workers."""
    from reasoning.cluster.driver import finish  # which runs on what this file has

    await finish(todo, store, watch, feed)


class Running:
    """The problems in flight of one run."""

    def __init__(self, plan: Plan, store: Store, watch: Watcher) -> None:
        self.plan = plan
        self.store = store
        self.watch = watch
        self.progress = Progress(len(plan.problems))
        self.board = Board()
        self.live_tokens = 0  # of generators without a journal
        self.barren: list[tuple[dict[str, Any], RolloutTree]] = []
        self.kept = False
        self.over: list[Problem] = []  # what is known of them is to be forgotten
        self.trees: dict[str, list[RolloutTree]] = {}
        self.journals: dict[int, Journal] = {}
        self.caches: dict[tuple[int, int], Cached] = {}
        self.scores = store.scores()
        self.verifiers = [part for part in plan.plugins if isinstance(part, Verifier)]
        self.budget = made(Limits, plan.recipe.run_limits, Limits()).budget()
        self.gate = Gate(plan.recipe.concurrency)
        self.common = Common([p.id for p in plan.problems], terms(plan.strategies))
        places = {problem.id: place for place, problem in enumerate(plan.problems)}
        for part in plan.plugins:
            if isinstance(part, Generator) and not part.replays:
                kept = store.ledger(len(self.journals))
                live = Gated(part, self.gate, places)
                self.journals[id(part)] = Journal(live, kept=kept, shared=plan.shared)

    async def finish(self) -> None:
        """Run whatever is not stored yet."""
        done = {(r["strategy"], r["problem"]): r for r in self._stored()}
        self.watch(self.progress)
        wanted = {(a.strategy.name, p.id) for a in self.plan.arms for p in self.plan.problems}
        if wanted - done.keys():
            await self.begin()
            tell_engines(found(self.plan).engines, self.store)

        try:
            async with TaskGroup() as group:
                for problem in self.plan.problems:
                    if all((arm.strategy.name, problem.id) in done for arm in self.plan.arms):
                        await self.solve(problem, done)
                        continue
                    await self.common.turn(problem.id)
                    await self.gate.room()
                    self.gate.begin()
                    group.create_task(self._open(problem, done))
            await self.keep_rest(bool(done))
        except BaseExceptionGroup as errors:
            raise cause(errors) from errors
        finally:
            for journal in self.journals.values():
                journal.close()

    async def begin(self) -> None:
        """Get every engine ready. Raises EngineError, RecipeError for one that cannot do it."""
        bounds = made(Limits, self.plan.recipe.run_limits, Limits())
        for arm in self.plan.arms:
            for limits in (arm.limits, bounds):
                expect(arm.models.values(), arm.strategy.run, arm.sampling, limits)
        for part in self.plan.plugins:
            await start(part)
        refuse_unable(self.plan)

    def _stored(self) -> Iterator[dict[str, Any]]:
        """Keys of what is done, with no more than the progress line needs. It has been paid for."""
        for result in self.store.results():
            self.budget.spend(Usage.from_json(result.get("usage") or {}))
            self.common.spend(result)
            yield {k: result.get(k) for k in ("strategy", "problem", "correct")}

    async def _open(self, problem: Problem, done: Mapping[tuple[str, str], Any]) -> None:
        try:
            await self.solve(problem, done, self.common.shares(problem.id))
        finally:
            self.gate.end()

    async def solve(
        self,
        problem: Problem,
        done: Mapping[tuple[str, str], Any],
        shares: Mapping[str, float] = _NONE,
    ) -> None:
        """All strategies that are not `done` with it; `shares` are what a purse leaves them."""
        kept = {
            arm.strategy.name: done.get((arm.strategy.name, problem.id)) for arm in self.plan.arms
        }
        left = [arm for arm in self.plan.arms if kept[arm.strategy.name] is None]
        fresh = bool(left)
        for journal in self.journals.values() if fresh else ():
            await journal.known(problem)
        if fresh:
            await asyncio.to_thread(self.scores.of, problem.id)

        async def search(arm: Arm) -> None:
            kept[arm.strategy.name] = record = await self._search(problem, arm, shares)
            self.common.spend(record)

        if self._apart(problem):
            async with TaskGroup() as group:
                for arm in left:
                    group.create_task(search(arm))
        else:
            for arm in left:
                await search(arm)
        for stored in filter(None, kept.values()):
            self.progress.graded += stored["correct"] is not None
            self.progress.correct += stored["correct"] is True
        self.over.append(problem)
        if not self.barren:  # else there are results of it that are not stored
            await self._forget()
        self.progress.done += 1
        self.progress.new_done += fresh
        self.watch(self.progress)

    def _apart(self, problem: Problem) -> bool:
        """Whether strategies have nothing in common, no samples and no virtual time."""
        models = (model for arm in self.plan.arms for model in arm.models.values())
        return not self.plan.shared and not any(
            isinstance(model.clock(problem), VirtualClock) for model in models
        )

    async def _forget(self) -> None:
        over, self.over = self.over, []
        await asyncio.to_thread(self._settle, over)

    def _settle(self, over: Sequence[Problem]) -> None:
        """Drop what is known of problems that are done, but for what extending the run needs."""
        for problem in over:
            held = Held(self.trees.pop(problem.id, ()))
            for journal in self.journals.values():
                journal.forget(problem, held)
            for cached in self.caches.values():
                cached.forget(problem)
            self.scores.settle(problem.id, held)

    async def _search(
        self, problem: Problem, arm: Arm, shares: Mapping[str, float]
    ) -> dict[str, Any]:
        """One search. One that fails, by a bug in a strategy perhaps, is a result like others."""
        strategy, error = arm.strategy, None
        search = self._new_search(problem, arm)
        search.allowance = shares.get(strategy.name)
        try:
            with self.board.showing(strategy.name, search, key(strategy.name, problem.id)):
                result = await run_search(search, strategy.run, arm.limits.seconds)
        except Exception as raised:
            if isinstance(raised, (UserError, EngineError)):
                self._lose(search, strategy)
                raise
            error = "".join(traceback.format_exception(raised))
            result = failed(search, raised)
        except BaseException:
            self._lose(search, strategy)
            raise
        self.trees.setdefault(problem.id, []).append(result.tree)
        record = await shown(self.plan, problem, strategy, result, error)
        await self._keep(record, result)
        if search.generator is arm.generator:
            self.live_tokens += result.usage.generated_tokens
        paid = sum(journal.paid_tokens for journal in self.journals.values())
        self.progress.new_tokens = self.live_tokens + paid
        self.progress.failed_calls += result.usage.failed_calls
        return record

    def _new_search(self, problem: Problem, arm: Arm) -> Search:
        models = {name: self._recorded(model, arm) for name, model in arm.models.items()}
        generator = models.pop("")
        judges = {name: self._cached(part, generator, arm) for name, part in arm.verifiers.items()}
        return Search(
            problem,
            generator,
            models=models,
            verifier=arm.verifier and self._cached(arm.verifier, generator, arm),
            verifiers=judges,
            sampling=arm.sampling,
            step=arm.step,
            budget=arm.limits.budget(within=self.budget),
            prices=arm.strategy.recipe.priced,
            seed=arm.strategy.recipe.seed,
            clock=generator.clock(problem),
        )

    def _lose(self, search: Search, strategy: Strategy) -> None:
        """Note what an interrupted search has spent that going on with it will not make good.

        Finished samples are in the journal; what was cut off is not, and scores are not.
        """
        spent = {name: getattr(search.usage, name) for name in LOST}
        if any(spent.values()):
            self.store.lose(strategy.name, search.problem.id, spent)

    def _recorded(self, model: Generator, arm: Arm) -> Generator:
        """The model behind its journal: shared by all strategies, or one's own part of it."""
        journal = self.journals.get(id(model))
        if journal is None:
            return model
        return journal.of(arm.strategy.name, live=arm.limits.seconds is not None)

    async def _keep(self, record: dict[str, Any], result: Result) -> None:
        """Store a result; not those after which nothing has succeeded, until something does.

        An engine that fails every call, behind a proxy perhaps, would be finished with all
        problems in no time. Raises EngineError instead.
        """
        failed = result.usage.failed_calls and all(
            node.sample.finish in (*LOST_CALLS, "written") for node in result.tree
        )
        self.barren.append((record, result.tree))
        if failed and len(self.barren) >= BARREN:
            raise EngineError(f"in {BARREN} searches in a row every call failed, {self._last()}")
        if not failed:
            await self.keep_all()

    def _last(self) -> str:
        why = self.barren[-1][0]["failures"][-1]
        return f"the last with: {why}. They are not stored"

    async def keep_rest(self, others: bool) -> None:
        """At the end: store what is held back where something has succeeded, `others` perhaps.

        Raises EngineError where nothing has.
        """
        if self.barren and not (others or self.kept):
            raise EngineError(f"every call failed, {self._last()}")
        await self.keep_all()
        await self._forget()

    async def keep_all(self) -> None:
        """Store what has been held back."""
        self.kept = self.kept or bool(self.barren)
        held, self.barren = self.barren, []
        await self.store.keep(held)

    def _cached(self, verifier: Verifier, generator: Generator, arm: Arm) -> Verifier:
        """A verifier behind a memory; virtual time stands still while it works."""
        key = (id(verifier), id(self.journals.get(id(arm.generator))))
        if key not in self.caches:
            paced = isinstance(generator, Journal) and generator.shared
            pause = generator.pause if paced and isinstance(generator, Journal) else None
            label = f"verifier {self.verifiers.index(verifier)}"
            self.caches[key] = Cached(verifier, pause, self.scores, label)
        cached = self.caches[key]
        return cached if self.plan.shared else cached.of(arm.strategy.name)


async def shown(
    todo: Plan, problem: Problem, strategy: Strategy, result: Result, error: str | None
) -> dict[str, Any]:
    """The line of a result, without what a private task withholds."""
    line = await recorded(problem, strategy.name, result, error)
    return (line.withheld() if getattr(todo.task, "private", False) else line).to_json()


def _unwatched(progress: Progress) -> None:
    """Nobody looks."""
