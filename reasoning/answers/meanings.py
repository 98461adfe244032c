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

    async def of(
        self, found: Sequence[Answer | None], *, seconds: float | None = None
    ) -> list[Answer | None]:
        """The answers under their keys; those that are new are compared with those before.

        With `seconds`, on the event loop's clock, what has not been compared by then stands under
        its own spelling, for this time; 0 compares nothing.
        """
        if all(answer is None or answer.key in self._first for answer in found):
            return self.known(found)
        if seconds is not None and seconds <= 0:
            return self.known(found)
        limit = asyncio.timeout(seconds)
        try:
            async with limit, self._turn:
                await self._compare(found)
        except TimeoutError:
            if not limit.expired():
                raise
        return self.known(found)

    def known(self, found: Sequence[Answer | None]) -> list[Answer | None]:
        """The answers under the keys that are known by now, else under their own."""
        return [a and self._under(a, self._first.get(a.key, a).key) for a in found]

    def _under(self, answer: Answer, key: str) -> Answer:
        return answer if answer.key == key else replace(answer, key=key)

    async def _compare(self, found: Sequence[Answer | None]) -> None:
        """Finds for each new answer the earliest that means the same.

        What is known stays consistent wherever this is cut off.
        """
        new = {a.key: a for a in reversed(found) if a and a.key not in self._first}
        waiting = [new[key] for key in dict.fromkeys(a.key for a in found if a and a.key in new)]
        for earlier in tuple(self._distinct):
            waiting = await self._settle(earlier, waiting)
        while waiting:
            earlier = waiting.pop(0)
            self._distinct.append(earlier)
            self._first[earlier.key] = earlier
            waiting = await self._settle(earlier, waiting)

    async def _settle(self, earlier: Answer, waiting: Sequence[Answer]) -> list[Answer]:
        """Puts those that mean the same as `earlier` under it; returns the others."""
        alike = await self._answers.alike(earlier, waiting) if waiting else []
        others = []
        for answer, same in zip(waiting, alike, strict=True):
            if same:
                self._first[answer.key] = earlier
            else:
                others.append(answer)
        return others
