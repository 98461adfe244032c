"""The oracle: compares an answer with the gold answer. An upper bound for other verifiers."""

from __future__ import annotations

from collections.abc import Sequence

from reasoning.errors import RecipeError, VerificationError
from reasoning.generate import Meter, Sampling
from reasoning.problem import Problem
from reasoning.tree import Node
from reasoning.verify import Reduction, Scores, Verifier


def oracle(*, reduction: Reduction = "last") -> Oracle:
    """1 for an answer equivalent to the gold one, else 0. Its results are upper bounds."""
    return Oracle().reduced_by(reduction)


class Oracle(Verifier):
    """Scores a path 1 if its answer is right and 0 if it is wrong or has none (yet).

    Everything made with it carries its note.
    """

    name = "oracle"
    notes = ("verifier oracle looks at the gold answers: an upper bound, not a result",)

    def preflight(self, _: Sampling, problems: Sequence[Problem]) -> None:
        """Some problems may have no gold answer (or no tests), but not all of them."""
        if problems and not any(problem.answers.graded for problem in problems):
            raise RecipeError(
                "verifier oracle goes by gold answers and no problem has one; use another verifier"
            )

    async def score(self, problem: Problem, node: Node, *, meter: Meter) -> Scores:
        """Raises VerificationError if the problem has no gold answer."""
        if not problem.answers.graded:
            raise VerificationError(
                f"problem {problem.id!r} has no gold answer, which is all the oracle goes by; "
                "use another verifier"
            )
        answer = problem.answer(node)
        return (float(await problem.answers.grade(answer) is True),)
