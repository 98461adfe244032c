"""Numbers, to so many decimals or within a tolerance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Annotated, Any

from pydantic import Field

from reasoning.answers import (
    FALLBACKS,
    MAX_LENGTH,
    Answer,
    Fallback,
    FallbackName,
    canonical,
    extract,
    number_said,
)
from reasoning.answers.kind import Answers
from reasoning.answers.quantities import measure
from reasoning.answers.quantities import number as exactly
from reasoning.errors import RecipeError


def number(
    gold: str | None,
    row: Mapping[str, Any],
    *,
    fallback: FallbackName = "last_number",
    decimals: Annotated[int, Field(ge=0, le=300)] | None = None,
    tolerance: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0,
    relative: Annotated[float, Field(ge=0, lt=1)] = 0.0,
) -> Number:
    """Numbers; units and words around them say nothing.

    fallback: where a finished text has neither a box nor a #### line. decimals: round both first.
    tolerance, relative: how far apart two may be, as they are and as a share of the larger one.
    """
    del row
    made = Number(gold, FALLBACKS[fallback], decimals, tolerance, relative)
    if gold is not None and made.value(gold) is None:
        raise RecipeError(f"the answer {gold!r} is no number; use another kind of answers")
    return made


@dataclass(frozen=True)
class Number(Answers):
    """Integers, decimals, fractions, mixed numbers and powers of ten, compared by value.

    Rounding groups alike in any order; a tolerance is not transitive, so there the earliest answer
    of a group stands for it.
    """

    gold: str | None = None
    fallback: Fallback | None = number_said
    decimals: int | None = None
    tolerance: float = 0.0
    relative: float = 0.0

    @property
    def graded(self) -> bool:
        return self.gold is not None

    def value(self, text: str) -> Fraction | None:
        """The number that an answer states, rounded; None where it states none."""
        if len(text) > MAX_LENGTH:
            return None
        stated = canonical(text)
        stated = stated.partition("\\approx")[0] or stated
        value = exactly(measure(stated.rpartition("=")[2].strip())[0])
        return value if value is None or self.decimals is None else round(value, self.decimals)

    def find(self, text: str, finished: bool) -> Answer | None:
        found = extract(text, self.fallback if finished else None, finished)
        value = self.value(found) if found else None
        return None if value is None or not found else Answer(found, str(value))

    def _close(self, a: str, b: str) -> bool:
        x, y = self.value(a), self.value(b)
        if x is None or y is None:
            return False
        allowed = Fraction(self.tolerance) + Fraction(self.relative) * max(abs(x), abs(y))
        return abs(x - y) <= allowed

    async def same(self, a: Answer, b: Answer) -> bool:
        return self._close(a.text, b.text)

    async def grade(self, answer: Answer | None) -> bool | None:
        if self.gold is None:
            return None
        return answer is not None and self._close(self.gold, answer.text)
