"""One plain draw, without a search around it: what most requests for `sample` come to.

The model is asked as the search would ask it. Where a text comes of that, all is as the search
would have left it. Whatever else comes of it (a failure, a call of a tool, an end by the deadline)
is what a search then finds that is made after all: its first call has that outcome.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from contextlib import aclosing
from copy import copy
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from reasoning.aggregators import Candidate
from reasoning.aggregators.first import first
from reasoning.answers import Answer
from reasoning.budget import Budget
from reasoning.chain import Chain
from reasoning.clock import Clock, Deadline, RealClock
from reasoning.events import Done, Heard, Watch
from reasoning.generate import Generator, Meter, Prompt, Sampling
from reasoning.problem import Problem
from reasoning.result import Result
from reasoning.runs import names
from reasoning.seeds import fold
from reasoning.serve.floor import OnFloor
from reasoning.session import Session
from reasoning.settings import Limits
from reasoning.tree import Node, RolloutTree, Sample
from reasoning.usage import Usage
from reasoning.wrapping import Wrapping

Hear = Callable[[str], None]

_NOBODY = Problem("nobody", "")
_UNBOUNDED = Budget()


def is_direct(chain: Chain, session: Session, limits: Limits) -> bool:
    """Whether a strategy comes to one draw as the session samples, of which nothing is asked but
    its text, and which no limit can cut but the deadline."""
    (stage, *more), bounded = chain.stages, (limits.tokens, limits.calls, limits.money)
    return (
        type(session) is Session
        and not (more or stage.given or stage.share or session.models or session.prices)
        and _bare(chain.default) is first
        and _bare(stage.run) is names.find("searcher", "sample")
        and session.verifier is None
        and not session.verifiers
        and bounded == (None, None, None)
        and session.generator.thinking is None
        and isinstance(session.generator.clock(_NOBODY), RealClock)
    )


def _bare(function: Any) -> Any:
    """Without the parameters that are bound to it."""
    return function.func if isinstance(function, partial) else function


@dataclass(eq=False, slots=True)
class _Draw:
    """What stands in the place of a search, for whoever looks at those that run."""

    problem: Problem
    tree: RolloutTree
    usage: Usage
    budget: Budget = _UNBOUNDED
    failures: list[str] = field(default_factory=list)

    def answer(self, node: Node) -> Answer | None:
        return self.problem.answer(node)


@dataclass(slots=True)
class _Outcome:
    """What came of a call in `took` seconds: a sample, what it raised, None if its time was up."""

    found: Sample | Exception | None = None
    tokens: int = 0
    took: float = 0.0

    def meter(self, tokens: int) -> None:
        self.tokens += tokens


@dataclass(frozen=True, slots=True)
class Direct:
    """Requests of one form that come to a plain draw."""

    chain: OnFloor
    session: Session
    sampling: Sampling
    limits: Limits
    clock: Clock

    async def solve(self, problem: Problem, seed: int) -> Result:
        """As `Session.solve`, which it does as the chain, with the sampling and the limits."""
        found = await self._drawn(problem, seed)
        if isinstance(found, Result):
            return found
        session, changes = self._after(found)
        result = await session.solve(problem, seed=seed, **changes)
        result.usage.seconds += found.took
        return result

    async def tell(self, problem: Problem, seed: int, watch: Watch) -> None:
        """As `Session.stream` with pieces; of what happens before the end that alone is told."""
        at = 0

        def hear(text: str) -> None:
            nonlocal at
            watch(Heard((0,), at, text))
            at += len(text)

        found = await self._drawn(problem, seed, hear)
        if isinstance(found, Result):
            watch(Done(found))
            return
        session, changes = self._after(found)
        stream = session.stream(problem, pieces=True, seed=seed, **changes)
        async with aclosing(stream) as events:
            async for event in events:
                if isinstance(event, Done):
                    event.result.usage.seconds += found.took
                watch(event)

    async def _drawn(
        self, problem: Problem, seed: int, hear: Hear | None = None
    ) -> Result | _Outcome:
        """What came of the draw; of a text that is one, all that a search says of it."""
        tree, usage, outcome = RolloutTree(problem.id, seed), Usage(calls=1), _Outcome()
        key, seconds, begun = fold(tree.root.key, 0), self.limits.seconds, self.clock.now()
        prompt = Prompt(
            problem, tree.root, 0, None, None, "", "", None, hear,
            seconds or math.inf, not self.chain.reads_texts_alone,
        )  # fmt: skip
        floor, generate = self.chain.floor, self.session.generator.generate
        number = floor.begin(self.chain.listed, _Draw(problem, tree, usage))
        try:
            with Deadline(self.clock, seconds):
                outcome.found = await generate(prompt, self.sampling, seed=key, meter=outcome.meter)
        except asyncio.CancelledError as error:
            usage.cancelled_calls = 1
            usage.generated_tokens = usage.wasted_tokens = outcome.tokens
            usage.unknown_prompts = int(outcome.tokens > 0)
            usage.seconds = self.clock.now() - begun
            floor.end(number, error)
            raise
        except Exception as error:
            outcome.found = error
        outcome.took = self.clock.now() - begun
        sample = outcome.found
        if not isinstance(sample, Sample) or sample.finish not in _TEXT or _told(sample):
            del floor.running[number]
            return outcome
        tokens = max(outcome.tokens, sample.generated_tokens)
        usage.generated_tokens = usage.critical_tokens = tokens
        usage.prompt_tokens, usage.cached_tokens = sample.prompt_tokens, sample.cached_tokens
        usage.seconds = outcome.took
        result = _result(problem, tree, sample, key, usage)
        floor.end(number, "finished")
        return result

    def _after(self, outcome: _Outcome) -> tuple[Session, dict[str, Any]]:
        """A session whose first call has this outcome, and what a search is to do on it."""
        session, limits = copy(self.session), self.limits
        session.generator = _First(session.generator, outcome)
        if limits.seconds is not None:
            limits = replace(limits, seconds=max(1e-6, limits.seconds - outcome.took))
        return session, {"stages": self.chain, "sampling": self.sampling, "limits": limits}


_TEXT = ("end", "length", "stop")


def _told(sample: Sample) -> bool:
    """Whether a backend says of it what a search would act on; how much of it was thought is only
    told to clients."""
    return sample.info is not None and sample.info.keys() != {"thought_tokens"}


def _result(problem: Problem, tree: RolloutTree, sample: Sample, key: int, usage: Usage) -> Result:
    """What a search makes of its only sample."""
    node = tree.add(tree.root, 0, sample, key=key)
    node.emitted = (1.0, 0.0)
    candidate = Candidate((0,), problem.answer(node), node=node)
    chosen = first([candidate])
    answer = chosen.answer.text if chosen and chosen.answer else None
    return Result(answer, "finished", usage, [candidate], tree, chosen=chosen)


class _First(Wrapping):
    """A generator whose first call is over already, but for a deadline that it ran into."""

    def __init__(self, generator: Generator, outcome: _Outcome) -> None:
        super().__init__(generator)
        self._outcome: _Outcome | None = outcome

    async def generate(
        self, prompt: Prompt, params: Sampling, *, seed: int, meter: Meter
    ) -> Sample:
        outcome, self._outcome = self._outcome, None
        if outcome is None:
            return await super().generate(prompt, params, seed=seed, meter=meter)
        meter(outcome.tokens)
        if isinstance(outcome.found, Exception):
            raise outcome.found
        if outcome.found is None:  # the search will end by its own deadline
            await asyncio.Event().wait()
        assert isinstance(outcome.found, Sample)
        return outcome.found
