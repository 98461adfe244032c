"""When calls were made and what came of them, for who has to say what more of them will take."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from reasoning.clock import VirtualClock
from reasoning.generate import Generator, Meter, Prompt, Sampling
from reasoning.problem import Problem
from reasoning.runs.run import Running
from reasoning.tree import FloatArray, Sample
from reasoning.wrapping import Wrapping


@dataclass(frozen=True, slots=True)
class Call:
    """One call that was really made. Times are seconds on the clock of its problem; `virtual`, a
    clock of its own, else that of the event loop. What a failed call read is not known, so 0.
    """

    problem: str
    start: float
    end: float
    generated_tokens: int
    prompt_tokens: int = 0
    cached_tokens: int = 0
    virtual: bool = False

    @property
    def seconds(self) -> float:
        return self.end - self.start


class Timed(Wrapping):
    """Notes every call in `calls`, cut ones with what they had generated."""

    def __init__(self, generator: Generator, calls: list[Call]) -> None:
        super().__init__(generator)
        self.calls = calls

    async def generate(
        self, prompt: Prompt, params: Sampling, *, seed: int, meter: Meter
    ) -> Sample:
        clock = self.generator.clock(prompt.problem)
        start, tokens, sample = clock.now(), 0, None

        def metered(count: int) -> None:
            nonlocal tokens
            tokens += count
            meter(count)

        try:
            sample = await self.generator.generate(prompt, params, seed=seed, meter=metered)
            return sample
        finally:
            self.calls.append(
                Call(
                    prompt.problem.id,
                    start,
                    clock.now(),
                    sample.generated_tokens if sample else tokens,
                    sample.prompt_tokens if sample else 0,
                    sample.cached_tokens if sample else 0,
                    isinstance(clock, VirtualClock),
                )
            )

    async def score_text(
        self, prompt: Prompt, sample: Sample, *, question: bool, meter: Meter
    ) -> FloatArray:
        """A call that generates nothing; what it reads is counted by its meter."""
        clock = self.generator.clock(prompt.problem)
        start, read = clock.now(), 0

        def metered(count: int) -> None:
            nonlocal read
            read += count
            meter(count)

        try:
            return await self.generator.score_text(prompt, sample, question=question, meter=metered)
        finally:
            virtual = isinstance(clock, VirtualClock)
            self.calls.append(Call(prompt.problem.id, start, clock.now(), 0, read, virtual=virtual))


class Stopwatch(Running):
    """A run that notes in `spans` from when to when each problem was in flight, in real time."""

    spans: dict[str, tuple[float, float]]

    async def solve(
        self,
        problem: Problem,
        done: Mapping[tuple[str, str], Any],
        shares: Mapping[str, float] | None = None,
    ) -> None:
        now = asyncio.get_running_loop().time
        start = now()
        await super().solve(problem, done, shares or {})
        self.spans[problem.id] = start, now()
