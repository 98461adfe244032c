"""Answers to several questions asked at once, one after another."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar, Literal, TypeAlias

from reasoning.answers import Answer, parts
from reasoning.answers.code import Code
from reasoning.answers.kind import Answers
from reasoning.sandbox.programs import programs

By: TypeAlias = Literal["order", "labels"]

_BOX = re.compile(r"\\(?:boxed|fbox)\s*\{")
_LABEL = re.compile(r"(?m)^[\W_]*Q\s*(\d+)\b")


class Several(Answers):
    """What `kinds` find, question by question.

    An answer's text is the JSON list of what was said to each question, None where nothing was.
    by: `order` takes boxes (of programs: fenced blocks) from left to right as the answers to the
    first question, the second, and so on, whatever is said around them (REST, arXiv:2507.10541);
    `labels` the last one behind the line that begins with Q1, Q2 and so on. Right is what is right
    throughout; `share` measures how many are, `Q1` and the like each of them.
    """

    needs_gold: ClassVar[bool] = False

    def __init__(self, kinds: Sequence[Answers], by: By = "order") -> None:
        self.kinds = tuple(kinds)
        self.by = by
        self.votes = all(kind.votes for kind in kinds)  # type: ignore[misc]  # of this problem's
        self.same_grade = all(kind.same_grade for kind in kinds)  # type: ignore[misc]  # likewise

    @property
    def graded(self) -> bool:
        return all(kind.graded for kind in self.kinds)

    def find(self, text: str, finished: bool) -> Answer | None:
        # Boxes and fences that are closed are whole.
        said = next((found for part in parts(text, finished) if any(found := self._said(part))), [])
        answers = self.each(said)
        return self.joined(answers) if any(answers) else None

    def _said(self, text: str) -> list[str | None]:
        marks = programs(text) if isinstance(self.kinds[0], Code) else list(_boxes(text))
        if self.by == "order":
            found: list[str | None] = [what for _, what in marks[: len(self.kinds)]]
            return [*found, *[None] * (len(self.kinds) - len(found))]
        found = [None] * len(self.kinds)
        labels = [(m.start(), int(m[1])) for m in _LABEL.finditer(text)]
        for place, what in marks:
            asked = [number for at, number in labels if at < place]
            if asked and 1 <= asked[-1] <= len(found):
                found[asked[-1] - 1] = what
        return found

    def each(self, said: Sequence[str | None]) -> list[Answer | None]:
        """The answer to each question from what was said to it."""
        return [
            kind.find(_marked(kind, what), True) if what is not None else None
            for kind, what in zip(self.kinds, said, strict=False)
        ]

    def joined(self, answers: Sequence[Answer | None]) -> Answer:
        texts, keys = ([a and getattr(a, name) for a in answers] for name in ("text", "key"))
        return Answer(json.dumps(texts, ensure_ascii=False), json.dumps(keys, ensure_ascii=False))

    def split(self, answer: Answer | None) -> list[Answer | None]:
        """The inverse of `joined`."""
        if answer is None:
            return [None] * len(self.kinds)
        return self.each(json.loads(answer.text))

    async def same(self, a: Answer, b: Answer) -> bool:
        for kind, x, y in zip(self.kinds, self.split(a), self.split(b), strict=True):
            if (x is None) is not (y is None) or (x and y and not await kind.same(x, y)):
                return False
        return True

    async def grade(self, answer: Answer | None) -> bool | None:
        grades = await self._grades(answer)
        return None if None in grades else all(grades)

    async def measures(self, answer: Answer | None) -> Mapping[str, float]:
        right = [float(grade is True) for grade in await self._grades(answer)]
        each = {f"Q{i}": value for i, value in enumerate(right, start=1)}
        return {"share": sum(right) / len(right), **each}

    async def _grades(self, answer: Answer | None) -> list[bool | None]:
        found = zip(self.kinds, self.split(answer), strict=True)
        return [await kind.grade(part) for kind, part in found]


def _marked(kind: Answers, what: str) -> str:
    return f"```python\n{what}\n```" if isinstance(kind, Code) else f"\\boxed{{{what}}}"


def _boxes(text: str) -> Iterator[tuple[int, str]]:
    """Place and content of every box that is closed, from left to right, outermost ones only."""
    end = 0
    for start in _BOX.finditer(text):
        if start.start() < end:
            continue
        depth, place = 1, start.end()
        while depth and place < len(text):
            char = text[place]
            depth += (char == "{") - (char == "}") if text[place - 1] != "\\" else 0
            place += 1
        if depth == 0:
            yield start.start(), text[start.end() : place - 1]
            end = place
