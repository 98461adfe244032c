"""What a model answered: finding the answer in a text and writing it in one canonical form.

Everything here is plain string work: no computer algebra, no processes, nothing that can hang.
`reasoning.answers.grading` decides whether two answers mean the same; docs/grading.md states the
policy.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

from reasoning.answers.amounts import last_number, last_numbers
from reasoning.answers.formulas import last_math, last_money
from reasoning.answers.marked import last_marked, may_mark
from reasoning.answers.phrases import after_answer_is
from reasoning.answers.spelling import MAX_LENGTH, canonical, plain_number, readable
from reasoning.answers.thoughts import after_thoughts, before_the_next_question, parts

__all__ = [
    "FALLBACKS",
    "MAX_LENGTH",
    "Answer",
    "Fallback",
    "FallbackName",
    "after_answer_is",
    "after_thoughts",
    "canonical",
    "extract",
    "formula",
    "last_math",
    "last_number",
    "number_said",
    "parts",
    "plain_number",
    "readable",
    "stated",
]

Fallback: TypeAlias = Callable[[str], "str | None"]
FallbackName: TypeAlias = Literal[
    "after_answer_is", "formula", "last_math", "last_number", "none", "stated"
]


@dataclass(frozen=True, slots=True)
class Answer:
    """An extracted answer: `text` as the model wrote it, `key` what votes are counted by."""

    text: str
    key: str

    @classmethod
    def of(cls, text: str) -> Answer:
        """The answer whose key is its own canonical form."""
        return cls(text, canonical(text))


def extract(text: str, fallback: Fallback | None = None, finished: bool = True) -> str | None:
    """The answer a text states, or None.

    What it marks (the last `<answer>`, else the last `\\boxed{}`, several joined by nothing but
    commas, "and" or "or" making one list, else the rest of the line after the last `####`), else
    `fallback(text)`. What follows the thoughts is searched first, then all of it, unless that
    already says what "the answer is". What comes after a question of the model's own is left out.
    Linear in the length of the text; raises only what `fallback` raises.
    """
    if fallback is None and not may_mark(text):
        return None
    for part in parts(text, finished):
        part = before_the_next_question(part, _states)
        found = last_marked(part, finished)
        if found and "\n" in found and fallback is not None:
            found = fallback(found) or found  # a whole solution between tags
        if found is None and fallback is not None:
            found = fallback(part)
        if found and (found := found.strip()):
            return found
        if after_answer_is(part):
            return None  # said, in a way that this fallback does not read
    return None


def _states(text: str) -> bool:
    return last_marked(text) is not None or after_answer_is(text) is not None


def number_said(text: str) -> str | None:
    """The number in what follows "the answer is", if there is just one, else the last number."""
    said = after_answer_is(text)
    if said is not None:
        numbers = last_numbers(said.rpartition("=")[2], 2)
        if len(numbers) == 1:
            return numbers[0]
    return last_number(text)


def formula(text: str) -> str | None:
    """What follows "the answer is", else the last formula or amount of money."""
    return after_answer_is(text) or last_money(text) or last_math(text)


def stated(text: str) -> str | None:
    """What follows "the answer is", else the last formula, else the last number.

    Money behind the last formula makes the last number the likelier answer, and so does a last line
    that concludes ("Therefore she makes 18 dollars.") without a formula.
    """
    if found := after_answer_is(text):
        return found
    if last_money(text) or (_CONCLUDES.match(last := _last_line(text)) and not last_math(last)):
        return last_number(text)
    return last_math(text) or last_number(text)


_CONCLUDES = re.compile(
    r"(?i)[\W_]*(?:so|therefore|thus|hence|in total|altogether|finally|consequently|in conclusion"
    r"|(?:this|that|which) (?:means|gives|makes|leaves))\b(?=.*\d)"
)


def _last_line(text: str) -> str:
    return text.rstrip().rpartition("\n")[2]


FALLBACKS: dict[FallbackName, Fallback | None] = {
    "after_answer_is": after_answer_is,
    "formula": formula,
    "last_math": last_math,
    "last_number": number_said,
    "none": None,
    "stated": stated,
}
"""How a finished text without a box or a `####` line is searched, by the names recipes use."""
