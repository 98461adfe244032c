"""The only door to the outside that a searcher sees, and the race between calls."""

from __future__ import annotations

import asyncio
import copy
import logging
import math
from asyncio import TaskGroup
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal, Protocol, TypeAlias, TypeVar, cast

import numpy as np
from pydantic import Field

from reasoning.aggregators import Candidate
from reasoning.answers import Answer, extract
from reasoning.budget import Budget, Lease, Usage
from reasoning.clock import Clock, RealClock
from reasoning.errors import (
    EngineError,
    RecipeError,
    TransientError,
    UserError,
    VerificationError,
    cause,
)
from reasoning.generate import Generator, Prompt, Sampling, TextScorer
from reasoning.problem import Problem
from reasoning.seeds import fold
from reasoning.seeds import generator as numpy_generator
from reasoning.tree import FloatArray, Node, RolloutTree, Sample
from reasoning.verify import Verifier

T = TypeVar("T")
Until: TypeAlias = Literal["step", "end"]
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Step:
    """What ends one reasoning step: any of the `stop` strings, or `max_tokens`."""

    stop: tuple[str, ...] = ("\n\n",)
    max_tokens: Annotated[int, Field(ge=1)] = 256


@dataclass(frozen=True, slots=True)
class Retry:
    """Transient failures are tried again `attempts` times in all.

    The pause is what the server asked for, else `pause` seconds doubled each time, shortened by
    up to half at random (seeded), and never above `longest`.
    """

    attempts: int = 4
    pause: float = 0.5
    longest: float = 30.0

    def delay(self, attempt: int, asked: float | None, u: float) -> float:
        """Seconds to wait after failed attempt number `attempt` (from 0); `u` is in [0, 1)."""
        wait = asked if asked is not None else self.pause * 2**attempt * (1 - u / 2)
        return min(self.longest, wait)


class Search:
    """One problem being searched: its tree, its budget, its candidates.

    All randomness is derived from `seed`, the problem's id and the place in the tree. Results
    come back in the order they were asked for, whatever order they arrived in.
    """

    def __init__(
        self,
        problem: Problem,
        generator: Generator,
        *,
        verifier: Verifier | None = None,
        sampling: Sampling | None = None,
        step: Step | None = None,
        budget: Budget | None = None,
        seed: int = 0,
        retry: Retry | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.problem = problem
        self.generator = generator
        self.verifier = verifier
        self.sampling = sampling or Sampling(max_tokens=1024)
        self.step = step or Step()
        self.budget = budget or Budget()
        self.seed = seed
        self.retry = retry or Retry()
        self.clock: Clock = clock or RealClock()
        self.tree = RolloutTree(problem.id, seed)
        self.usage = Usage()
        self.failures: list[str] = []
        self._emitted: list[Node] = []
        self._slots: dict[Node, int] = {}
        self._scoring: dict[Node, asyncio.Future[None]] = {}

    @property
    def root(self) -> Node:
        return self.tree.root

    @property
    def candidates(self) -> list[Candidate]:
        """What has been emitted, ordered by path."""
        name = self.verifier.name if self.verifier else ""
        found = []
        for node in self._emitted:
            assert node.emitted is not None
            weight, rank = node.emitted
            steps = node.step_scores(name)
            found.append(Candidate(node.path, self.answer(node), weight, rank, steps))
        return sorted(found, key=lambda candidate: candidate.path)

    async def extend(
        self,
        node: Node,
        slot: int,
        *,
        until: Until = "step",
        temperature: float | None = None,
        message: str | None = None,
        urgency: float | None = None,
    ) -> Node | None:
        """Draw the sample that belongs in `slot` below `node`; one step, or all the way to the end.

        With `message` the model is asked that instead of the problem's prompt, and its answer
        starts over: a refinement of what `node` holds, say. `urgency` says how much the search
        wants this call: see `reasoning.generate.Prompt`. None if the budget or the path's token
        limit is used up, or if the call failed for good.
        """
        prompt = replace(self._prompt(node, slot, message), urgency=urgency)
        params = self._params(prompt, until, temperature)
        if params.max_tokens < 1:
            return None
        for attempt in range(self.retry.attempts):
            lease = await self.budget.tokens.lease(params.max_tokens)
            if lease is None:
                return None
            granted = replace(params, max_tokens=lease.amount)
            try:
                child = await self._call(prompt, granted, lease)
            except TransientError as error:
                pause = self._pause(attempt, error, *node.path, slot)
                if pause is None:
                    self._fail(prompt, error, lease.used)
                    return None
            else:
                return child if child.sample.finish != "failed" else None
            finally:
                lease.settle()
            await self.clock.sleep(pause)
        return None

    async def expand(
        self, node: Node, n: int, *, until: Until = "step", temperature: float | None = None
    ) -> list[Node]:
        """Draw `n` more children of `node`, side by side; fewer if the budget runs out."""
        async with TaskGroup() as group:
            tasks = [
                group.create_task(self.extend(node, slot, until=until, temperature=temperature))
                for slot in self.slots(node, n)
            ]
        return [child for task in tasks if (child := task.result()) is not None]

    def slots(self, node: Node, n: int) -> range:
        """Set aside the next `n` free slots below `node`, for `extend`."""
        first = max([self._slots.get(node, 0), *(child.slot + 1 for child in node.children)])
        self._slots[node] = first + n
        return range(first, first + n)

    async def score(self, *nodes: Node) -> None:
        """Have the verifier score each node once; one whose scoring fails has no score."""
        if self.verifier is None:
            raise RecipeError(
                "this searcher scores its nodes and there is no verifier; name one, for example "
                "verifier: logprob (`reasoning list verifiers` shows all)"
            )
        todo = [node for node in nodes if self.verifier.name not in node.scores]
        if len(todo) == 1:
            await self._score_once(todo[0], self.verifier)
        elif todo:
            async with TaskGroup() as group:
                for node in todo:
                    group.create_task(self._score_once(node, self.verifier))

    async def likelihood(self, node: Node, *, question: bool = True) -> FloatArray | None:
        """The log-probabilities [tokens] of the node's own tokens after what stands before them.

        Without `question`, how likely they are if the model does not know what was asked. The
        generator reads the text anew: a call, and prompt tokens, but no generated ones, so the
        budget is not touched. None if it fails. Raises RecipeError if the generator cannot.
        """
        if not hasattr(self.generator, "score_text"):
            raise RecipeError(
                "this searcher asks the generator how likely given text is, and "
                f"{type(self.generator).__name__} has no score_text; use generator nano, vllm or "
                "openai"
            )
        assert node.parent is not None, "the root holds no text"
        scorer = cast(TextScorer, self.generator)
        prompt = self._prompt(node.parent, node.slot, node.message)
        for attempt in range(self.retry.attempts):
            self.usage.calls += 1
            try:
                return await scorer.score_text(
                    prompt, node.sample, question=question, meter=self._count_prompt
                )
            except Exception as raised:
                error = self._own_failure(raised)
                pause = self._pause(attempt, error, "likelihood", *node.path)
                if pause is None:
                    self._note_failure(f"reading {node.path}", error)
                    break
            await self.clock.sleep(pause)
        return None

    def _count_prompt(self, tokens: int) -> None:
        self.usage.prompt_tokens += tokens

    def _count_verifier(self, tokens: int) -> None:
        self.usage.verifier_tokens += tokens

    def answer(self, node: Node) -> Answer | None:
        """The answer the path ends in; a path cut off has one only if it is marked as such."""
        fallback = self.problem.fallback if node.finished else None
        found = extract(node.text, fallback)
        return Answer.of(found) if found else None

    def emit(self, node: Node, weight: float = 1.0, *, rank: float = 0.0) -> None:
        """Put `node` forward as a candidate; emitting it again replaces its weight and rank."""
        if node.emitted is None:
            self._emitted.append(node)
        node.emitted = (float(weight), float(rank))

    def split(self, n: int) -> list[Search]:
        """`n` views of this search that share out its budget, for subtrees that run ahead."""
        views = []
        for part in self.budget.split(n):
            view = copy.copy(self)
            view.budget = part
            views.append(view)
        return views

    def rng(self, *key: str | int) -> np.random.Generator:
        """Random numbers for this problem and `key`, the same in every run with this seed."""
        return numpy_generator(self.seed, self.problem.id, "rng", *key)

    def _prompt(self, node: Node, slot: int, message: str | None) -> Prompt:
        """What the model sees: the message asked for, else the one that `node`'s text answers."""
        if message is not None:
            return Prompt(replace(self.problem, prompt=message), node, slot, afresh=True)
        asked = next((part.message for part in node.attempt()), None)
        problem = self.problem if asked is None else replace(self.problem, prompt=asked)
        return Prompt(problem, node, slot)

    def _params(self, prompt: Prompt, until: Until, temperature: float | None) -> Sampling:
        written = [] if prompt.afresh else prompt.parent.attempt()
        room = self.sampling.max_tokens - sum(node.sample.generated_tokens for node in written)
        changes: dict[str, Any] = {"max_tokens": room}
        if until == "step":
            stop = self.sampling.stop + self.step.stop
            changes = {"max_tokens": min(room, self.step.max_tokens), "stop": stop}
        if temperature is not None:
            changes["temperature"] = temperature
        return replace(self.sampling, **changes)

    async def _call(self, prompt: Prompt, params: Sampling, lease: Lease) -> Node:
        """One attempt. Whatever it comes to is paid for and, unless worth a retry, filed."""
        self.usage.calls += 1
        seed = fold(prompt.parent.key, prompt.slot)
        try:
            sample = await self.generator.generate(prompt, params, seed=seed, meter=lease.meter)
        except asyncio.CancelledError:
            self._waste(lease)
            self.usage.cancelled_calls += 1
            self._file(prompt, Sample("", finish="cancelled", generated_tokens=lease.used))
            raise
        except Exception as raised:
            self._waste(lease)
            error = self._own_failure(raised)
            if isinstance(error, TransientError):
                raise error from (None if error is raised else raised)
            return self._fail(prompt, error, lease.used)
        lease.used = max(lease.used, sample.generated_tokens)
        self.usage.generated_tokens += lease.used
        self.usage.prompt_tokens += sample.prompt_tokens
        self.usage.cached_tokens += sample.cached_tokens
        return self._file(prompt, sample)

    def _file(self, prompt: Prompt, sample: Sample) -> Node:
        message = prompt.problem.prompt if prompt.afresh else None
        child = self.tree.add(prompt.parent, prompt.slot, sample, message)
        self.usage.critical_tokens = max(self.usage.critical_tokens, child.generated_tokens)
        return child

    def _waste(self, lease: Lease) -> None:
        self.usage.generated_tokens += lease.used
        self.usage.wasted_tokens += lease.used

    def _fail(self, prompt: Prompt, error: BaseException, tokens: int) -> Node:
        self._note_failure(f"generating {prompt.path}", error)
        info = {"error": f"{type(error).__name__}: {error}"}
        return self._file(prompt, Sample("", finish="failed", generated_tokens=tokens, info=info))

    def _pause(self, attempt: int, error: BaseException, *key: str | int) -> float | None:
        """Seconds until a failed call is tried again; None if it is not."""
        if not isinstance(error, TransientError) or attempt + 1 == self.retry.attempts:
            return None
        self.usage.retried_calls += 1
        u = self.rng("retry", *key, attempt).random()
        return self.retry.delay(attempt, error.retry_after, u)

    def _own_failure(self, raised: Exception) -> BaseException:
        """What failed in a call, out of whatever group; raises it if it stops the whole run."""
        error = cause(raised)
        if isinstance(error, (EngineError, UserError)):
            raise error from (None if error is raised else raised)
        return error

    def _note_failure(self, what: str, error: BaseException) -> None:
        self.usage.failed_calls += 1
        self.failures.append(f"{what}: {type(error).__name__}: {error}")
        log.info("problem %s, %s failed: %s", self.problem.id, what, error)

    async def _score_once(self, node: Node, verifier: Verifier) -> None:
        while pending := self._scoring.get(node):
            await asyncio.wait([pending])
            if verifier.name in node.scores:
                return
        done = self._scoring[node] = asyncio.get_running_loop().create_future()
        try:
            steps = await self._steps(node, verifier)
            if steps is not None:
                node.scores[verifier.name] = steps
        finally:
            del self._scoring[node]
            done.set_result(None)

    async def _steps(self, node: Node, verifier: Verifier) -> tuple[float, ...] | None:
        """The scores of the node's steps, none if scoring failed; None if it was not allowed."""
        for attempt in range(self.retry.attempts):
            lease = await self.budget.verifier_calls.lease(1)
            if lease is None:
                return None
            lease.used = 1
            self.usage.verifier_calls += 1
            try:
                found = await verifier.score(self.problem, node, meter=self._count_verifier)
                steps = tuple(map(float, found))
                if not all(map(math.isfinite, steps)):
                    raise VerificationError(f"a score is not a finite number: {steps}")
                return steps
            except Exception as raised:
                error = self._own_failure(raised)
                pause = self._pause(attempt, error, "score", *node.path)
                if pause is None:
                    self._note_failure(f"scoring {node.path}", error)
                    break
            finally:
                lease.settle()
            await self.clock.sleep(pause)
        return ()


class Searcher(Protocol):
    """A strategy: emits candidates, returns when it has done what it can."""

    async def __call__(self, search: Search, /, **params: Any) -> None: ...


async def race(k: int, runs: Sequence[Callable[[], Awaitable[T | None]]]) -> list[T]:
    """Start all runs, return the first `k` results that are not None, in order of arrival.

    The losers are cancelled and have ended when this returns. Fewer than `k` if fewer succeed.
    """
    if k < 1:
        raise ValueError(f"a race has 1 winner or more, not {k}")
    winners: list[T] = []

    async def enter(run: Callable[[], Awaitable[T | None]]) -> None:
        result = await run()
        if result is None or len(winners) == k:
            return
        winners.append(result)
        if len(winners) == k:
            for task in tasks:
                if task is not asyncio.current_task():
                    task.cancel()

    async with TaskGroup() as group:
        tasks = [group.create_task(enter(run)) for run in runs]
    return winners
