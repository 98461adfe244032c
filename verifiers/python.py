"""A check of the user's own: Python that looks at a candidate, or runs it against tests.

Every check runs in `reasoning.sandbox`, which contains accidents, not attacks: run code of models
you do not trust in a container. A check of your own that runs a candidate inside itself trusts it;
`reasoning.sandbox.programs.holds` does not.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import Field

from reasoning.answers import Answer
from reasoning.errors import RecipeError, VerificationError
from reasoning.generate import Meter, Sampling
from reasoning.problem import Problem
from reasoning.runs import names
from reasoning.sandbox import Bounds, File, Memory, NotStartedError, Sandbox, Seconds, contains
from reasoning.sandbox.programs import tests_of
from reasoning.tree import Node
from reasoning.verify import Reduction, Scores, Verifier

TESTS = "reasoning.sandbox.programs:passes"
"""The check that runs the tests in a problem's meta."""

FIELDS = ("question", "text", "step", "answer", "meta")
"""What a check may ask for, by the names of its parameters."""

_LONGEST = 300  # characters of a value that is shown


@names.validated
def python(
    *,
    check: str = TESTS,
    seconds: Seconds = 10.0,
    memory_mb: Memory = 1024.0,
    file_mb: File = 16.0,
    network: bool = False,
    processes: Annotated[int, Field(ge=1, le=10_000)] = 32,
    workers: Annotated[int, Field(ge=1)] = 2,
    failed: Annotated[float, Field(ge=0, le=1)] | None = 0.0,
    reduction: Reduction = "last",
) -> Python:
    """What a function of yours says of a candidate: one score in [0, 1].

    check: `module:function`. It is given, by the names of its parameters, any of question, text
    (of the whole path), step (of this node), answer (extracted, or None) and meta (the problem's),
    and returns a bool or a number in [0, 1]. The default runs the last fenced block of Python in
    the text with the problem's tests (`meta["tests"]`) behind it.
    seconds: of processor time, and three times as much elapsed. memory_mb, file_mb: what it and
    all that it starts may add to their memory, and write to their folder. processes: how many of
    them at once. network: whether they may use it.
    workers: checks at once. failed: the score of a candidate whose check ran out of time or memory
    or killed its process; null: none, and a failure in the summary.
    """
    bounds = Bounds(seconds, memory_mb, file_mb, network, processes)
    verifier = Python(check, bounds, workers, failed)
    verifier.try_out()
    return verifier.reduced_by(reduction)


class Python(Verifier):
    """Runs the check on each node, in a process and a folder of its own."""

    name = "python"

    def __init__(self, check: str, bounds: Bounds, workers: int, failed: float | None) -> None:
        self.alone = True  # until tried
        self._check = check
        self._failed = failed
        self._sandbox = Sandbox(check, FIELDS, bounds, workers)

    @property
    def notes(self) -> Sequence[str]:
        """What a reader of the numbers has to know."""
        return (f"verifier python: {contains(self._sandbox.bounds, self.alone)}",)

    def try_out(self) -> None:
        """See that the check can be imported and called. Raises RecipeError."""
        try:
            self.alone = self._sandbox.try_out()
        except (ValueError, OSError) as error:
            raise RecipeError(
                f"python: the check {self._check!r} cannot be used: {error}; it is a function that "
                f"takes some of {', '.join(FIELDS)} and returns a number in [0, 1]"
            ) from error

    def preflight(self, _: Sampling, problems: Sequence[Problem]) -> None:
        """Some problems may have no tests, but not all of them."""
        if self._check == TESTS and problems and not any(map(tested, problems)):
            raise RecipeError(
                "verifier python runs candidates with the tests of their problem (tests or test in "
                "its meta) and no problem has any; name a check of your own, verifier.check: "
                "package.module:function"
            )

    async def score(self, problem: Problem, node: Node, *, meter: Meter) -> Scores:
        """Raises VerificationError if the check raises, or returns what is no score."""
        try:
            reply = await self._sandbox.run(_fields(problem, node))
        except NotStartedError as error:
            raise VerificationError(f"problem {problem.id!r}: {error}") from error
        if "error" in reply:
            raise VerificationError(f"problem {problem.id!r}: the check failed: {reply['error']}")
        if "value" in reply:
            return (self._judged(problem, reply["value"]),)
        if self._failed is None:  # it did not live to say
            raise VerificationError(
                f"problem {problem.id!r}: the check ran out of time or memory, or killed its "
                f"process; it may take {self._sandbox.bounds.seconds:g} s of processor time"
            )
        return (self._failed,)

    def _judged(self, problem: Problem, value: object) -> float:
        if isinstance(value, int | float) and 0 <= value <= 1:
            return float(value)
        shown = repr(value)
        shown = shown if len(shown) <= _LONGEST else shown[:_LONGEST] + "..."
        raise VerificationError(
            f"problem {problem.id!r}: the check failed: it returned {shown}, not a number in [0, 1]"
        )


def tested(problem: Problem) -> bool:
    """Whether the check `passes` finds tests for the problem."""
    return bool(tests_of(problem.meta))


def _fields(problem: Problem, node: Node) -> dict[str, Any]:
    """What a check may ask for, as JSON has it."""
    return {
        "question": problem.question,
        "text": node.text,
        "step": node.sample.text,
        "answer": _text(problem.answer(node)),
        "meta": json.loads(json.dumps(dict(problem.meta), default=str)),
    }


def _text(answer: Answer | None) -> str | None:
    return None if answer is None else answer.text
