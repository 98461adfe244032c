"""Programs: right if they pass the problem's tests, the same if they do the same."""

from __future__ import annotations

from asyncio import TaskGroup
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Annotated, Any, ClassVar

from pydantic import Field

from reasoning.answers import Answer, parts
from reasoning.answers.cases import cases_of, solved
from reasoning.answers.kind import Answers
from reasoning.sandbox import Bounds, File, Memory, Sandbox, Seconds
from reasoning.sandbox.programs import last_program, tests_of


def code(
    gold: str | None,
    row: Mapping[str, Any],
    *,
    seconds: Seconds = 10.0,
    memory_mb: Memory = 1024.0,
    file_mb: File = 16.0,
    workers: Annotated[int, Field(ge=1)] = 2,
) -> Code:
    """Programs in Python: the last fenced block; judged by the row's `tests` and `cases`.

    `tests` (or `test`) is Python that runs behind the program; `cases` are {input, output}, where
    an input is as in `inputs` and the output what is printed or returned. Two are the same if they
    give the same on every one of the row's `inputs`: lists of arguments for its `entry_point`, or
    texts to read. seconds: of processor time for one program; memory_mb,
    file_mb: what it may use. workers: programs that run at once.
    """
    bounds = Bounds(seconds, memory_mb, file_mb)
    inputs = row.get("inputs")
    entry_point = row.get("entry_point")
    return Code(
        tests_of(row),
        inputs if isinstance(inputs, list) else (),
        None if entry_point is None else str(entry_point),
        bounds,
        workers,
        gold=gold,
        cases=cases_of(row),
    )


class Code(Answers):
    """Programs, each run at most once on the tests and once on the inputs.

    Without inputs only equal programs are the same. One that fails on every input is the same as
    none but itself.
    """

    needs_gold: ClassVar[bool] = False
    same_grade: ClassVar[bool] = False

    def __init__(
        self,
        tests: Sequence[str] = (),
        inputs: Sequence[Any] = (),
        entry_point: str | None = None,
        bounds: Bounds = Bounds(),  # noqa: B008 (immutable)
        workers: int = 2,
        *,
        gold: str | None = None,
        cases: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        self.gold = gold
        self.tests = tuple(tests)
        self.cases = tuple(cases)
        self.inputs = tuple(inputs)
        self._entry_point = entry_point
        self._runs = (bounds, workers)
        self._passes: dict[str, bool] = {}
        self._does: dict[str, tuple[str | None, ...]] = {}

    @property
    def graded(self) -> bool:
        return bool(self.tests or self.cases)

    def find(self, text: str, finished: bool) -> Answer | None:
        for part in parts(text, finished):  # a fence that is closed marks a program
            program = last_program(part)
            if program and program.strip():
                key = "\n".join(line.rstrip() for line in program.strip().split("\n"))
                return Answer(program, key)
        return None

    async def same(self, a: Answer, b: Answer) -> bool:
        if a.key == b.key:
            return True
        if not self.inputs:
            return False
        one, other = await self._behaviour(a.text), await self._behaviour(b.text)
        return one == other and any(output is not None for output in one)

    async def group(self, answers: Sequence[Answer]) -> list[int]:
        if self.inputs:
            async with TaskGroup() as tasks:
                for program in {a.text for a in answers}:
                    tasks.create_task(self._behaviour(program))
        return await super().group(answers)

    async def grade(self, answer: Answer | None) -> bool | None:
        """Raises NotStartedError where no process can be started."""
        if not self.graded:
            return None
        if answer is None:
            return False
        if answer.text not in self._passes:
            self._passes[answer.text] = await self._judged(answer.text)
        return self._passes[answer.text]

    async def _judged(self, program: str) -> bool:
        """Whether it passes the tests, and solves the cases without seeing their outputs."""
        if self.tests:
            given: dict[str, Any] = {"program": program, "tests": self.tests}
            reply = await _sandbox("holds", tuple(given), *self._runs).run(given)
            if reply.get("value") is not True:
                return False
        if not self.cases:
            return True
        inputs = [case["input"] for case in self.cases]
        given = {"program": program, "inputs": inputs, "entry_point": self._entry_point}
        reply = await _sandbox("results", tuple(given), *self._runs).run(given)
        return solved(self.cases, reply.get("value"))

    async def _behaviour(self, program: str) -> tuple[str | None, ...]:
        """What the program gives on each input; on none where it does not live to the end."""
        if program not in self._does:
            given = {"program": program, "inputs": self.inputs, "entry_point": self._entry_point}
            reply = await _sandbox("outputs", tuple(given), *self._runs).run(given)
            said = reply.get("value")
            fits = isinstance(said, list) and len(said) == len(self.inputs)
            texts: list[Any] = list(said) if fits and said else [None] * len(self.inputs)
            self._does[program] = tuple(x if isinstance(x, str) else None for x in texts)
        return self._does[program]


@cache
def _sandbox(function: str, takes: tuple[str, ...], bounds: Bounds, workers: int) -> Sandbox:
    """One for all problems, so that no more than `workers` programs run at once."""
    return Sandbox(f"reasoning.sandbox.programs:{function}", takes, bounds, workers)
