"""Free text: essays, letters, proofs. No two need be equal, so nothing votes on them."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, TypeAlias

from reasoning.answers import Answer, parts
from reasoning.answers.kind import Answers

Grader: TypeAlias = Callable[[str, "str | None", Mapping[str, Any]], "bool | Awaitable[bool]"]
"""Given a text, the data set's answer if there is one, and the row: whether the text is right."""


def text(gold: str | None, row: Mapping[str, Any], *, grader: str | None = None) -> Text:
    """Free text: all that a finished solution says after its thoughts; no votes.

    grader: `package.module:function`, which is given (text, gold, row) and says whether it is
    right; without one nothing is graded.
    """
    from reasoning.runs import names  # which knows whose code may be imported

    return Text(gold, dict(row), None if grader is None else names.grader(grader))


@dataclass(frozen=True)
class Text(Answers):
    """The whole text; two are the same if they are equal."""

    votes: ClassVar[bool] = False
    needs_gold: ClassVar[bool] = False

    gold: str | None = None
    row: Mapping[str, Any] | None = None
    grader: Grader | None = None

    @property
    def graded(self) -> bool:
        return self.grader is not None

    def find(self, text: str, finished: bool) -> Answer | None:
        said = parts(text)[0].strip() if finished else ""
        return Answer(said, said) if said else None

    async def same(self, a: Answer, b: Answer) -> bool:
        return a.text == b.text

    async def grade(self, answer: Answer | None) -> bool | None:
        if self.grader is None:
            return None
        if answer is None:
            return False
        said = self.grader(answer.text, self.gold, self.row or {})
        return bool(await said if inspect.isawaitable(said) else said)
