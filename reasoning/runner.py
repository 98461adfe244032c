"""Run a recipe: many problems in flight, everything finished on disk, nothing done twice."""

from __future__ import annotations

import importlib
import importlib.metadata
import platform
import sys
import time
from asyncio import TaskGroup
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeAlias

from reasoning import names
from reasoning.api import Limits, Result, clock_of, close, made, run_search, sampling_for
from reasoning.backends.journal import Journal
from reasoning.budget import Budget
from reasoning.errors import RecipeError, cause
from reasoning.generate import Generator
from reasoning.grading import equivalent
from reasoning.problem import Problem
from reasoning.recipe import Recipe, Strategy, strategies
from reasoning.search import Search, Step
from reasoning.store import Store
from reasoning.verify import Cached, Verifier

PACKAGES = (
    "numpy",
    "pydantic",
    "networkx",
    "datasets",
    "math-verify",
    "sympy",
    "tokenizers",
    "vllm",
)

SHARED_NOTE = (
    "strategies share samples: each is drawn once, and every strategy is charged what it would "
    "have used alone; seconds are virtual, 50 tokens a second in each stream"
)


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


@dataclass(slots=True)
class Plan:
    """A recipe with every name resolved: what `run` runs and `check` shows."""

    recipe: Recipe
    strategies: list[Strategy]
    task: Any
    problems: list[Problem]
    generator: Generator
    verifier: Verifier | None
    limits: Limits
    shared: bool
    notes: list[str]


def plan(recipe: Recipe, limit: int | None = None) -> Plan:
    """Resolve and build everything a recipe names. Raises UserError at the first mistake."""
    chosen = strategies(recipe)
    task = names.build("task", recipe.task)
    generator = names.build("generator", recipe.generator)
    verifier = names.build("verifier", recipe.verifier) if recipe.verifier else None
    sampling_for(generator, recipe.sampling)
    notes = [note for part in (task, generator, verifier) for note in getattr(part, "notes", [])]
    problems = list(task.problems)
    if (covered := getattr(generator, "problem_ids", None)) is not None:
        kept = [p for p in problems if p.id in covered]
        if not kept:
            raise RecipeError(
                f"none of the {len(problems)} problems of task {task.name!r} is recorded; the "
                "generator's file belongs to another task"
            )
        if len(kept) < len(problems):
            notes.append(
                f"{len(kept)} of {len(problems)} problems are recorded; the rest is left out"
            )
        problems = kept
    limits = made(Limits, recipe.limits, Limits())
    shared = recipe.share_samples
    if shared is None:
        # Shared samples arrive in virtual time, which a limit in real seconds cannot mean.
        shared = len(chosen) > 1 and limits.seconds is None
    # A recording needs no sharing: it is shared by its nature.
    shared = shared and not getattr(generator, "replays", False)
    if shared:
        notes.append(SHARED_NOTE)
    return Plan(recipe, chosen, task, problems[:limit], generator, verifier, limits, shared, notes)


async def run(
    recipe: Recipe,
    out: str | Path,
    *,
    limit: int | None = None,
    watch: Watcher | None = None,
    command: Sequence[str] = (),
) -> dict[str, Any]:
    """Run `recipe` into the folder `out` and return the summary.

    What the folder already holds of this run is kept and not run again. Raises UserError for a
    mistake in the recipe or the folder, EngineError if the engine dies; what was finished by then
    is stored.
    """
    todo = plan(recipe, limit)
    store = Store(out)
    manifest = describe(todo, command)
    with store.opened(manifest):
        try:
            await _Run(todo, store, watch or _unwatched).finish()
        finally:
            for part in (todo.generator, todo.verifier):
                await close(part)
        summary = summarise(todo, store)
        store.write_json("summary.json", summary)
        store.journal.unlink(missing_ok=True)
    return summary


class _Run:
    """The problems in flight of one run."""

    def __init__(self, plan: Plan, store: Store, watch: Watcher) -> None:
        recipe = plan.recipe
        self.plan = plan
        self.store = store
        self.watch = watch
        self.limits = plan.limits
        self.sampling = sampling_for(plan.generator, recipe.sampling)
        self.step = made(Step, recipe.step, Step())
        self.journal = None
        if not getattr(plan.generator, "replays", False):
            self.journal = Journal(plan.generator, path=store.journal, shared=plan.shared)
        self.verifier = Cached(plan.verifier) if plan.verifier else None
        self.progress = Progress(len(plan.problems))

    async def finish(self) -> None:
        """Run whatever is not stored yet."""
        done = {(r["strategy"], r["problem"]): r for r in self._stored()}
        waiting = iter(self.plan.problems)
        self.watch(self.progress)

        async def work() -> None:
            for problem in waiting:
                await self._solve(problem, done)

        try:
            async with TaskGroup() as group:
                for _ in range(min(self.plan.recipe.concurrency, len(self.plan.problems))):
                    group.create_task(work())
        except BaseExceptionGroup as errors:
            raise cause(errors) from errors
        finally:
            if self.journal is not None:
                self.journal.close()

    def _stored(self) -> Iterator[dict[str, Any]]:
        """Keys of what is done, with no more than the progress line needs."""
        for result in self.store.results():
            yield {k: result.get(k) for k in ("strategy", "problem", "correct")}

    async def _solve(self, problem: Problem, done: Mapping[tuple[str, str], Any]) -> None:
        fresh = False
        for strategy in self.plan.strategies:
            stored = done.get((strategy.name, problem.id))
            if stored is None:
                fresh = True
                stored = await self._search(problem, strategy)
            self.progress.graded += stored["correct"] is not None
            self.progress.correct += stored["correct"] is True
        if self.journal is not None:
            self.journal.forget(problem)
        if self.verifier is not None:
            self.verifier.forget(problem)
        self.progress.done += 1
        self.progress.new_done += fresh
        self.watch(self.progress)

    async def _search(self, problem: Problem, strategy: Strategy) -> dict[str, Any]:
        generator = self.journal or self.plan.generator
        search = Search(
            problem,
            generator,
            verifier=self.verifier,
            sampling=self.sampling,
            step=self.step,
            budget=Budget(self.limits.tokens, self.limits.verifier_calls),
            seed=self.plan.recipe.seed,
            clock=clock_of(generator, problem),
        )
        result = await run_search(search, strategy.run, strategy.vote, self.limits.seconds)
        record = await _record(problem, strategy, result)
        self.store.append(record, result.tree)
        if self.journal is not None:
            self.progress.new_tokens = self.journal.paid_tokens
        else:
            self.progress.new_tokens += result.usage.generated_tokens
        self.progress.failed_calls += result.usage.failed_calls
        return record


async def _record(problem: Problem, strategy: Strategy, result: Result) -> dict[str, Any]:
    """One line of results.jsonl."""
    right: dict[str, bool] = {}
    if problem.gold is not None:
        for c in result.candidates:
            if c.answer and c.answer.key not in right:
                right[c.answer.key] = await equivalent(problem.gold, c.answer.text)
    by_text = {c.answer.text: right.get(c.answer.key) for c in result.candidates if c.answer}
    known = problem.gold is not None
    return {
        "problem": problem.id,
        "strategy": strategy.name,
        "question": problem.question,
        "answer": result.answer,
        "gold": problem.gold,
        "correct": by_text.get(result.answer or "", False) if known else None,
        "stop_reason": result.stop_reason,
        "candidates": [
            {
                "path": list(c.path),
                "answer": c.answer.text if c.answer else None,
                "key": c.answer.key if c.answer else None,
                "correct": (right[c.answer.key] if c.answer else False) if known else None,
                "weight": c.weight,
                "rank": c.rank,
                "steps": list(c.steps),
            }
            for c in result.candidates
        ],
        "usage": result.usage.to_json(),
        "failures": result.failures,
        # Labels to group by (level, subject), not whole solutions.
        "meta": {
            k: v
            for k, v in problem.meta.items()
            if isinstance(v, (int, float)) or (isinstance(v, str) and len(v) <= 80)
        },
    }


def _unwatched(progress: Progress) -> None:
    """Nobody looks."""


def summarise(todo: Plan, store: Store) -> dict[str, Any]:
    """The numbers of the run from what is stored of it."""
    evals = importlib.import_module("evals.summary")
    summary: dict[str, Any] = evals.summarise(
        store.results(),
        strategies=[
            {
                "name": s.name,
                "searcher": s.searcher,
                "params": dict(s.params),
                "aggregator": s.aggregator,
            }
            for s in todo.strategies
        ],
        problem_ids=[p.id for p in todo.problems],
        avg_at_n=getattr(todo.task, "avg_at_n", False),
    )
    return {"name": todo.recipe.name, "task": todo.task.name, "notes": todo.notes, **summary}


def describe(todo: Plan, command: Sequence[str] = ()) -> dict[str, Any]:
    """The manifest: what is needed to repeat a run, and to judge whether it repeats."""
    recipe = todo.recipe.model_dump(exclude={"concurrency", "description"})
    parts = {"generator": todo.generator, "verifier": todo.verifier}
    return {
        "run": {
            **recipe,
            "task_source": getattr(todo.task, "source", None),
            **{f"{k}_version": getattr(v, "version", None) for k, v in parts.items()},
        },
        "notes": todo.notes,
        "command": list(command),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": sys.version.split()[0],
        "platform": platform.platform(),
        "packages": versions(),
    }


def versions() -> dict[str, str]:
    """The installed versions of what can change a number."""
    found = {}
    for name in ("reasoning", *PACKAGES):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
