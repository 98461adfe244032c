"""Arithmetic expressions that make a target out of given numbers: Countdown, the Game of 24."""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, ClassVar

from reasoning.answers import MAX_LENGTH, Answer, after_answer_is, extract
from reasoning.answers.kind import Answers
from reasoning.answers.spelling import unwrapped
from reasoning.errors import RecipeError

_SIGNS = {r"\\times|\\cdot|×|⋅": "*", r"\\div|÷": "/", "−": "-", r"\\left|\\right|\\,|\\!|\$": ""}
_FRACTION = re.compile(r"\\[dt]?frac\{([^{}]*)\}\{([^{}]*)\}")


def expression(gold: str | None, row: Mapping[str, Any], *, use_all: bool = True) -> Expression:
    """An expression of the row's `numbers` (or `nums`) with + - * / that makes its `target`.

    Each number once; with `use_all: false` some may be left out. Exact: no rounding. Two are the
    same if they are written alike.
    """
    del gold
    numbers, target = row.get("numbers", row.get("nums")), row.get("target")
    try:
        given = re.findall(r"\d+", numbers) if isinstance(numbers, str) else numbers
        return Expression(tuple(map(int, given or ())), Fraction(str(target)), use_all)
    except (TypeError, ValueError):
        raise RecipeError(
            f"numbers is {numbers!r:.80} and target {target!r:.40}; an expression needs whole "
            "numbers to use, and a number to make"
        ) from None


@dataclass(frozen=True)
class Expression(Answers):
    """Graded by arithmetic: the question itself says what is right."""

    needs_gold: ClassVar[bool] = False

    numbers: tuple[int, ...]
    target: Fraction
    use_all: bool = True

    @property
    def graded(self) -> bool:
        return True

    def find(self, text: str, finished: bool) -> Answer | None:
        found = extract(text, after_answer_is if finished else None, finished)
        plain = None if found is None else written(found)
        return Answer(found or "", plain) if plain and value(plain)[0] is not None else None

    async def same(self, a: Answer, b: Answer) -> bool:
        return written(a.text) == written(b.text)

    async def grade(self, answer: Answer | None) -> bool | None:
        if answer is None:
            return False
        found, used = value(written(answer.text))
        allowed = Counter(self.numbers)
        fits = used == allowed if self.use_all else used <= allowed
        return fits and found == self.target


def written(text: str) -> str:
    """An expression without blanks, LaTeX, and what it is said to be equal to."""
    text = unwrapped(text)
    for pattern, sign in _SIGNS.items():
        text = re.sub(pattern, sign, text)
    text = _FRACTION.sub(r"((\1)/(\2))", text)
    sides = text.replace("[", "(").replace("]", ")").split("=")
    # "40 - 4 = 36" and "36 = 40 - 4": the side that computes something.
    return re.sub(r"\s+", "", max(sides, key=lambda side: len(re.findall(r"\d+", side))))


def value(text: str) -> tuple[Fraction | None, Counter[int]]:
    """What an expression is, None if it is none or nothing, and the numbers in it."""
    used: Counter[int] = Counter()
    if len(text) > MAX_LENGTH:
        return None, used
    try:
        return _value(ast.parse(text, mode="eval").body, used), used
    except (SyntaxError, ValueError, ZeroDivisionError, RecursionError, MemoryError):
        return None, used


def _value(node: ast.expr, used: Counter[int]) -> Fraction:
    """Raises ValueError for anything but whole numbers, signs, brackets and + - * /."""
    if isinstance(node, ast.Constant) and type(node.value) is int:
        used[node.value] += 1
        return Fraction(node.value)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return -_value(node.operand, used)
    if isinstance(node, ast.BinOp):
        a, b = _value(node.left, used), _value(node.right, used)
        match node.op:
            case ast.Add():
                return a + b
            case ast.Sub():
                return a - b
            case ast.Mult():
                return a * b
            case ast.Div():
                return a / b
    raise ValueError("no arithmetic")
