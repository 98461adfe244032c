"""What an answer is: one object per problem that finds answers, compares and grades them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from reasoning.errors import RecipeError

if TYPE_CHECKING:
    from reasoning.answers import Answer
    from reasoning.problem import Problem


class Answers(ABC):
    """The one place that knows what an answer of a problem looks like.

    `votes` tells that equal answers can be counted; where they cannot (free text), strategies that
    vote refuse before anything is spent: see `refuse_votes`. `needs_gold`: without the data set's
    answer a problem of this kind is incomplete. `same_grade`: answers that mean the same are
    equally right; programs that do the same on a few inputs are not.
    """

    votes: ClassVar[bool] = True
    needs_gold: ClassVar[bool] = True
    same_grade: ClassVar[bool] = True

    @property
    @abstractmethod
    def graded(self) -> bool:
        """Whether anything says which answers are right."""

    @property
    def shows(self) -> Mapping[str, str]:
        """What a prompt may show of this kind, by the name of its field; say, the options."""
        return {}

    @abstractmethod
    def find(self, text: str, finished: bool) -> Answer | None:
        """The answer that `text` states. A text that was cut off (`finished` is false) has one
        only where it is marked as such. What cannot be read is no answer, so that it never wins.
        Pure and quick: it is called for every candidate."""

    def called(self, calls: Sequence[Mapping[str, Any]]) -> Answer | None:
        """The answer that a model gives by calling tools, None where that is none. Pure."""
        del calls
        return None

    @abstractmethod
    async def same(self, a: Answer, b: Answer) -> bool:
        """Whether two answers mean the same. Symmetric."""

    async def alike(self, one: Answer, others: Sequence[Answer]) -> list[bool]:
        """Which of `others` mean the same as `one`; a kind may compare them side by side."""
        return [await self.same(one, other) for other in others]

    @abstractmethod
    async def grade(self, answer: Answer | None) -> bool | None:
        """Whether the answer is right (none is not); None where nothing says what is."""

    async def measures(self, answer: Answer | None) -> Mapping[str, float]:
        """Numbers beside right and wrong, by name: say, the share of steps that are right.

        The same names for every answer of a problem, also for none.
        """
        del answer
        return {}

    async def group(self, answers: Sequence[Answer]) -> list[int]:
        """For each answer the index of the earliest one with the same meaning.

        Depends on the order of the answers only. Equal keys are one answer; each other one is
        compared with those that stand for a group, earliest first.
        """
        waiting = {answer.key: i for i, answer in reversed(list(enumerate(answers)))}
        by_key: dict[str, int] = {}
        while waiting:
            key, first = min(waiting.items(), key=lambda item: item[1])
            by_key[key] = waiting.pop(key)
            keys = sorted(waiting, key=waiting.__getitem__)
            same = await self.alike(answers[first], [answers[waiting[k]] for k in keys])
            for other, found in zip(keys, same, strict=True):
                if found:
                    by_key[other] = first
                    del waiting[other]
        return [by_key[answer.key] for answer in answers]


def refuse_votes(what: str, problems: Iterable[Problem]) -> None:
    """Raises RecipeError if `what` counts equal answers and the problems' answers are not counted.

    Asked before anything is spent, for every searcher and aggregator that says VOTES = True.
    """
    for problem in problems:
        if not problem.answers.votes:
            kind = type(problem.answers).__name__.lower()
            raise RecipeError(
                f"{what} counts equal answers, and answers of kind {kind} (problem {problem.id!r}) "
                "are free text, of which no two need be equal; choose by a score, for example "
                "searcher: best_of_n with verifier: judge, or give the task another kind of answers"
            )
