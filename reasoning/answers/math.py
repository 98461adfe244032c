"""Mathematics: numbers, formulas, sets, units; what they mean is compared, not how they look."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from reasoning.answers import FALLBACKS, Answer, Fallback, FallbackName, extract, readable
from reasoning.answers.kind import Answers
from reasoning.answers.letters import lettered


def math(gold: str | None, row: Mapping[str, Any], *, fallback: FallbackName = "none") -> Math:
    """Numbers, formulas, sets, units: in a box or behind ####; compared by their meaning.

    fallback: where a finished text has neither.
    """
    del row
    return Math(gold, FALLBACKS[fallback])


@dataclass(frozen=True)
class Math(Answers):
    """`gold` is the right answer, if it is known.

    `fallback` finds an answer in a finished text that has neither a box nor a `####` line.
    docs/grading.md states the policy.
    """

    gold: str | None = None
    fallback: Fallback | None = None

    @property
    def graded(self) -> bool:
        return self.gold is not None

    def find(self, text: str, finished: bool) -> Answer | None:
        found = extract(text, self.fallback if finished else None, finished)
        return Answer.of(lettered(found)) if found and readable(found) else None

    async def same(self, a: Answer, b: Answer) -> bool:
        from reasoning.answers.grading import equivalent  # starts worker processes when needed

        return await equivalent(a.text, b.text)

    async def alike(self, one: Answer, others: Sequence[Answer]) -> list[bool]:
        from reasoning.answers.grading import matches

        return await matches(one.text, [other.text for other in others])

    async def grade(self, answer: Answer | None) -> bool | None:
        from reasoning.answers.grading import equivalent

        if self.gold is None:
            return None
        return answer is not None and await equivalent(lettered(self.gold), answer.text)
