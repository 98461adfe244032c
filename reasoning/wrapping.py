"""A generator around another one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from reasoning.clock import Clock
from reasoning.generate import Generator, Meter, Prompt, Sampling
from reasoning.problem import Problem
from reasoning.thinking import Thinking
from reasoning.tree import FloatArray, Sample


class Wrapping(Generator):
    """A generator that stands for another one, and is like it in all that it does not change."""

    def __init__(self, generator: Generator) -> None:
        self.generator = generator

    @property
    def version(self) -> str | None:
        return self.generator.version

    @property
    def notes(self) -> Sequence[str]:
        return self.generator.notes

    @property
    def program(self) -> str | None:
        return self.generator.program

    @property
    def facts(self) -> Mapping[str, str]:
        return self.generator.facts

    @property
    def served(self) -> Mapping[str, int]:
        return self.generator.served

    def expect(self, sampling: Sampling, *, steps: bool) -> None:
        self.generator.expect(sampling, steps=steps)

    @property
    def parameters(self) -> float | None:
        return self.generator.parameters

    @property
    def problem_ids(self) -> frozenset[str] | None:
        return self.generator.problem_ids

    def covers(self, problem: Problem) -> bool:
        return self.generator.covers(problem)

    @property
    def honours(self) -> frozenset[str]:
        return self.generator.honours

    @property
    def sampling(self) -> Sampling | None:
        return self.generator.sampling

    @property
    def replays(self) -> bool:
        return self.generator.replays

    @property
    def resumes(self) -> bool:
        return self.generator.resumes

    @property
    def reads(self) -> bool:
        return self.generator.reads

    @property
    def thinking(self) -> Thinking | None:
        return self.generator.thinking

    async def astart(self) -> None:
        await self.generator.astart()

    async def aclose(self) -> None:
        await self.generator.aclose()

    async def describe(self) -> Mapping[str, str]:
        return await self.generator.describe()

    async def generate(
        self, prompt: Prompt, params: Sampling, *, seed: int, meter: Meter
    ) -> Sample:
        return await self.generator.generate(prompt, params, seed=seed, meter=meter)

    async def score_text(
        self, prompt: Prompt, sample: Sample, *, question: bool, meter: Meter
    ) -> FloatArray:
        return await self.generator.score_text(prompt, sample, question=question, meter=meter)

    def clock(self, problem: Problem) -> Clock:
        return self.generator.clock(problem)

    def join(self, problem: Problem, clock: Clock) -> None:
        self.generator.join(problem, clock)

    async def remembered(
        self, problem: Problem, key: object, make: Callable[[], Awaitable[Any]]
    ) -> Any:
        return await self.generator.remembered(problem, key, make)

    def refuse(self, params: Sampling) -> None:
        self.generator.refuse(params)

    async def can(self, field: str) -> bool:
        return await self.generator.can(field)

    def refuse_steps(self) -> None:
        self.generator.refuse_steps()
