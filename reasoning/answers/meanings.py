"""Which of the answers found so far mean the same."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from reasoning.answers import Answer
from reasoning.answers.kind import Answers


class Meanings:
    """The answers of one problem, each under the key of the earliest that means the same."""

    def __init__(self, answers: Answers) -> None:
        self._answers = answers
        self._first: dict[str, Answer] = {}  # by key, the one that stands for it
        self._distinct: list[Answer] = []
        self._turn = asyncio.Lock()

    async def of(self, found: Sequence[Answer | None]) -> list[Answer | None]:
        """The answers under their keys; those that are new are compared with those before."""
        if all(answer is None or answer.key in self._first for answer in found):
            return self.known(found)
        async with self._turn:
            for answer in found:
                if answer is not None and answer.key not in self._first:
                    self._first[answer.key] = await self._standing_for(answer)
        return self.known(found)

    def known(self, found: Sequence[Answer | None]) -> list[Answer | None]:
        """The answers under the keys that are known by now, else under their own."""
        return [a and self._under(a, self._first.get(a.key, a).key) for a in found]

    def _under(self, answer: Answer, key: str) -> Answer:
        return answer if answer.key == key else replace(answer, key=key)

    async def _standing_for(self, answer: Answer) -> Answer:
        for earlier in self._distinct:
            if await self._answers.same(earlier, answer):
                return earlier
        self._distinct.append(answer)
        return answer
