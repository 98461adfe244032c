"""Exact answers: names, words, codes; two are the same if they are spelled the same."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from reasoning.answers import FALLBACKS, Answer, Fallback, FallbackName, after_answer_is, extract
from reasoning.answers.kind import Answers
from reasoning.answers.spelling import unwrapped


def exact(
    gold: str | None,
    row: Mapping[str, Any],
    *,
    fallback: FallbackName = "after_answer_is",
    casefold: bool = False,
) -> Exact:
    """Names, words, codes: in a box or behind ####; compared as strings.

    fallback: where a finished text has neither. casefold: ignore case.
    """
    del row
    return Exact(gold, FALLBACKS[fallback], casefold)


@dataclass(frozen=True)
class Exact(Answers):
    """Strings, without blanks, emphasis, `\\text` and a period around them."""

    gold: str | None = None
    fallback: Fallback | None = after_answer_is
    casefold: bool = False

    @property
    def graded(self) -> bool:
        return self.gold is not None

    def find(self, text: str, finished: bool) -> Answer | None:
        found = extract(text, self.fallback if finished else None, finished)
        key = self._key(found or "")
        return Answer(found, key) if found and key else None

    def _key(self, text: str) -> str:
        key = " ".join(unwrapped(text).split())
        return key.casefold() if self.casefold else key

    async def same(self, a: Answer, b: Answer) -> bool:
        return self._key(a.text) == self._key(b.text)

    async def grade(self, answer: Answer | None) -> bool | None:
        if self.gold is None:
            return None
        return answer is not None and self._key(answer.text) == self._key(self.gold)
