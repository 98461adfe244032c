"""Solve one problem: the Python API, and the one place where a search starts and ends."""

from __future__ import annotations

import asyncio
import functools
import threading
from collections.abc import Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, TypeAlias, TypeVar

from pydantic import Field

from reasoning.aggregators import Aggregator, Candidate
from reasoning.answers.plain import Plain
from reasoning.budget import Budget, Usage
from reasoning.chain import Chain, StopReason
from reasoning.clock import Clock, RealClock
from reasoning.errors import CallError, EngineError, TransientError
from reasoning.generate import Generator, Sampling
from reasoning.plugin import Plugin
from reasoning.problem import Problem
from reasoning.runs import names
from reasoning.runs.stages import chained
from reasoning.search import Retry, Search, Searcher, Step
from reasoning.tree import RolloutTree
from reasoning.verify import Verifier

T = TypeVar("T")
Named: TypeAlias = str | Mapping[str, Any]
"""A name, or a mapping with `name` and options, as in a recipe."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one search may spend; None means no limit. Tokens are generated tokens, calls those of
    models, money is in the unit of the prices."""

    tokens: Annotated[int, Field(ge=0)] | None = None
    verifier_calls: Annotated[int, Field(ge=0)] | None = None
    seconds: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    calls: Annotated[int, Field(ge=0)] | None = None
    money: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None

    def budget(self, within: Budget | None = None) -> Budget:
        """The purses of one search, or of a whole run."""
        return Budget(self.tokens, self.verifier_calls, self.calls, self.money, within=within)


@dataclass(frozen=True, slots=True)
class Result:
    """What came of a search. `answer` is None if no candidate had one, or none was chosen.

    `chosen` is the winner, with its node; `confidence` in it, in [0, 1], None if nobody can say.
    """

    answer: str | None
    stop_reason: StopReason
    usage: Usage
    candidates: list[Candidate]
    tree: RolloutTree = field(repr=False)
    failures: list[str] = field(default_factory=list)
    chosen: Candidate | None = field(default=None, repr=False)
    confidence: float | None = None

    @property
    def text(self) -> str | None:
        """The whole text of the winner, None if there is none."""
        return self.chosen.node.text if self.chosen and self.chosen.node else None


async def run_search(search: Search, strategy: Chain, seconds: float | None = None) -> Result:
    """Run the stages of a strategy under its deadline, and choose from what they put forward.

    Raises UserError or EngineError as they are, out of whatever task group they happened in.
    """
    start = search.clock.now()
    found = await strategy.run(search, seconds)
    search.usage.seconds = search.clock.now() - start
    chosen = found.choice.candidate
    return Result(
        answer=chosen.answer.text if chosen and chosen.answer else None,
        stop_reason=found.stop_reason,
        usage=search.usage,
        candidates=found.candidates,
        tree=search.tree,
        failures=search.failures,
        chosen=chosen,
        confidence=found.choice.confidence,
    )


def failed(search: Search, error: BaseException) -> Result:
    """What came of a search that an error has ended: no answer, and all that was paid for."""
    what = f"{type(error).__name__}: {error}"
    return Result(
        answer=None,
        stop_reason="failed",
        usage=search.usage,
        candidates=[],  # what it put forward is in the tree
        tree=search.tree,
        failures=[*search.failures, what],
    )


async def solve_async(
    question: str | Problem,
    *,
    searcher: str | Searcher | None = None,
    stages: Chain | Sequence[Any] = (),
    generator: Named | Generator,
    verifier: Named | Verifier | None = None,
    aggregator: Named | Aggregator | None = None,
    sampling: Sampling | Mapping[str, Any] | None = None,
    step: Step | Mapping[str, Any] | None = None,
    limits: Limits | Mapping[str, Any] | None = None,
    seed: int = 0,
    **params: Any,
) -> Result:
    """Solve one question; `params` go to the searcher. Names and objects may be mixed freely.

    >>> await solve_async("What is 12 * 7 + 5?", searcher="self_consistency", n=8, generator="nano")

    `stages` in place of a searcher chain several: names, or pairs of a name and its parameters.

    >>> await solve_async("...", stages=[("self_consistency", {"n": 16}), "majority"],
    ...                   generator="nano")

    Raises RecipeError for a name or parameter that does not exist, EngineError if the engine dies.
    """
    problem = question if isinstance(question, Problem) else asked(question)
    strategy = chained(searcher, stages, aggregator, params)
    source: Generator = names.build("generator", generator)
    scorer: Verifier | None = None if verifier is None else names.build("verifier", verifier)
    bounds = made(Limits, limits, Limits())
    search = Search(
        problem,
        source,
        verifier=scorer,
        sampling=sampling_for(source, sampling),
        step=made(Step, step, Step()),
        budget=bounds.budget(),
        seed=seed,
        clock=source.clock(problem),
    )
    async with AsyncExitStack() as stack:
        parts: list[Plugin] = [source] if scorer is None else [source, scorer]
        strategy.refuse(search)
        for part in parts:
            if part is not generator and part is not verifier:
                stack.push_async_callback(part.aclose)
        if scorer is not None:
            scorer.preflight(search.sampling, [problem])
        for part in parts:
            await start(part)
        return await run_search(search, strategy, bounds.seconds)


def asked(question: str) -> Problem:
    """A question as people put it: whatever a chat model says to it is found."""
    return Problem("question", question, answers=Plain())


@functools.wraps(solve_async, assigned=("__doc__",))
def solve(*args: Any, **kwargs: Any) -> Result:
    return run_sync(solve_async(*args, **kwargs))


def run_sync(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end, also where an event loop already runs (a notebook)."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    outcome: list[T | BaseException] = []

    def elsewhere() -> None:
        try:
            outcome.append(asyncio.run(work))
        except BaseException as error:
            outcome.append(error)

    thread = threading.Thread(target=elsewhere, name="reasoning-solve")
    thread.start()
    thread.join()
    if isinstance(outcome[0], BaseException):
        raise outcome[0]
    return outcome[0]


def sampling_for(generator: Generator, changes: Sampling | Mapping[str, Any] | None) -> Sampling:
    """The generator's own defaults (else temperature 1, 1,024 tokens a solution), changed."""
    return made(Sampling, changes, generator.sampling or Sampling(max_tokens=1024))


async def start(plugin: Plugin, clock: Clock | None = None) -> None:
    """Let a generator or verifier get ready, if it has to, before the time of any search runs.

    What may pass is tried again. Raises EngineError if it does not get ready.
    """
    retry = Retry()
    for attempt in range(retry.attempts):
        try:
            await plugin.astart()
            return
        except CallError as error:
            if not isinstance(error, TransientError) or attempt + 1 == retry.attempts:
                raise EngineError(f"no start: {error}") from error
            wait = retry.delay(attempt, error.retry_after, 0.0)
        await (clock or RealClock()).sleep(wait)


def made(kind: type[T], value: T | Mapping[str, Any] | None, default: T) -> T:
    """`value`, or `default` with the fields that a mapping changes; RecipeError for a misfit."""
    if isinstance(value, Mapping):
        return replace(default, **names.checked(kind, value))  # type: ignore[type-var]
    return default if value is None else value
