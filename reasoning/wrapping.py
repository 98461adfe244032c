"""A generator around another one, and a verifier around another one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from reasoning.clock import Clock
from reasoning.generate import Generator, Meter, Prompt, Sampling
from reasoning.plugin import Plugin
from reasoning.problem import Problem
from reasoning.thinking import Thinking
from reasoning.tree import FloatArray, Node, Sample
from reasoning.verify import Scores, Verifier


class _Around(Plugin):
    """What both have in common."""

    def __init__(self, inner: Plugin) -> None:
        self._inner = inner

    @property
    def version(self) -> str | None:
        return self._inner.version

    @property
    def notes(self) -> Sequence[str]:
        return self._inner.notes

    @property
    def program(self) -> str | None:
        return self._inner.program

    @property
    def facts(self) -> Mapping[str, str]:
        return self._inner.facts

    @property
    def served(self) -> Mapping[str, int]:
        return self._inner.served

    @property
    def parameters(self) -> float | None:
        return self._inner.parameters

    @property
    def problem_ids(self) -> frozenset[str] | None:
        return self._inner.problem_ids

    def covers(self, problem: Problem) -> bool:
        return self._inner.covers(problem)

    async def astart(self) -> None:
        await self._inner.astart()

    async def aclose(self) -> None:
        await self._inner.aclose()

    async def describe(self) -> Mapping[str, str]:
        return await self._inner.describe()


class Wrapping(_Around, Generator):
    """A generator that stands for another one, and is like it in all that it does not change."""

    def __init__(self, generator: Generator) -> None:
        super().__init__(generator)
        self.generator = generator

    def expect(self, sampling: Sampling, *, steps: bool) -> None:
        self.generator.expect(sampling, steps=steps)

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


class WrappingVerifier(_Around, Verifier):
    """A verifier that stands for another one, and is like it in all that it does not change."""

    def __init__(self, verifier: Verifier) -> None:
        super().__init__(verifier)
        self.verifier = verifier
        self.name, self.reduction = verifier.name, verifier.reduction
        self.reads_logprobs, self.together = verifier.reads_logprobs, verifier.together

    @property
    def text_only(self) -> bool:
        return self.verifier.text_only

    def preflight(self, sampling: Sampling, problems: Sequence[Problem]) -> None:
        self.verifier.preflight(sampling, problems)

    async def score(self, problem: Problem, node: Node, *, meter: Meter) -> Scores:
        return await self.verifier.score(problem, node, meter=meter)

    async def score_siblings(
        self, problem: Problem, nodes: Sequence[Node], *, meter: Meter
    ) -> Sequence[Scores | Exception]:
        return await self.verifier.score_siblings(problem, nodes, meter=meter)
