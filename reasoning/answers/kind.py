"""What an answer is: one object per problem that finds answers, compares and grades them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from reasoning.answers import Answer


class Answers(ABC):
    """The one place that knows what an answer of a problem looks like.

    `votes` tells that equal answers can be counted; where they cannot (free text), strategies that
    vote refuse before anything is spent.
    """

    votes: ClassVar[bool] = True

    @abstractmethod
    def find(self, text: str, finished: bool) -> Answer | None:
        """The answer that `text` states. A text that was cut off (`finished` is false) has one
        only where it is marked as such. Pure and quick: it is called for every candidate."""

    @abstractmethod
    async def same(self, a: Answer, b: Answer) -> bool:
        """Whether two answers mean the same. Symmetric."""

    @abstractmethod
    async def grade(self, answer: Answer | None) -> bool | None:
        """Whether the answer is right; None where nothing says what is."""

    async def group(self, answers: Sequence[Answer]) -> list[int]:
        """For each answer the index of the earliest one with the same meaning.

        Depends on the order of the answers only. Equal keys are one answer; each other one is
        compared with those that stand for a group, earliest first.
        """
        stands_for: list[int] = []
        by_key: dict[str, int] = {}
        for i, answer in enumerate(answers):
            if answer.key in by_key:
                continue
            for first in stands_for:
                if await self.same(answers[first], answer):
                    by_key[answer.key] = first
                    break
            else:
                by_key[answer.key] = i
                stands_for.append(i)
        return [by_key[answer.key] for answer in answers]
