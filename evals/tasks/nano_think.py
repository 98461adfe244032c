r"""Nano_think: short programs modulo 10 for the embedded model that thinks.

A problem is a chain of one-line assignments, each a sum, a difference or a product, and asks for
the last variable.  The model thinks one step at a time, slips, checks and corrects itself, and
then answers::

    a=7
    b=a+6
    c=b*9.
    What is c modulo 10?

    <think>
    b=a+6=7+6=3.

    c=b*9=3*9=5.

    No, c=3*9=7.
    </think>

    The answer is \boxed{7}.

Problems depend on ``(split, index, seed)`` alone.  A hash of the question decides the split it may
appear in, so that no test question can occur in training.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from dataclasses import dataclass

from evals.tasks.generated import different, mixed
from evals.tasks.loading import Kind, Task, answers_of
from evals.tasks.nano import Split, split_of
from reasoning.answers import FallbackName

MODULUS = 10
BEGIN, END = "<think>", "</think>"
DIFFICULTIES = ((2, 2.5), (3, 2.5), (4, 2.0), (5, 1.5), (6, 1.0), (7, 0.7), (8, 0.5))
"""Numbers of operations, with their weights."""

JUDGE_TURN = "Is that right? Answer Yes or No."
"""A second turn that asks for a verdict on the answer before it: Yes or No."""
CRITIQUE_TURN = "Which step is wrong?"
"""A second turn that asks for the first wrong step: "c=3*9=5 is wrong." or "None."."""
REVISE_TURN = "Revise."
"""A turn that asks for a new attempt; after a critique, or with a remark before it."""
NAMED_TURN = "{step} is wrong. Revise."
"""A second turn that names an error, say "c=3*9=5", and asks for a new attempt."""
UNNAMED_TURN = "That is wrong. Revise."
"""The same without saying where the error is."""
JUDGE_PROMPT = "{question}\n{solution}\nIs that right? Answer Yes or No."
"""`prompt` of verifier judge: the model has learnt to judge whole and partial solutions in it."""

_STEP = re.compile(r"(?<![\w=])([a-z])=(?:[a-z][-+*]\w+=)?(\d+)([-+*])(\d+)=(\d+)")
_BOXED = re.compile(r"\\boxed\{(\d+)\}")


@dataclass(frozen=True, slots=True)
class Line:
    """One assignment, `name = left op right`; `right` is a number or an earlier variable."""

    name: str
    left: str
    op: str
    right: str

    def __str__(self) -> str:
        return f"{self.name}={self.left}{self.op}{self.right}"


@dataclass(frozen=True, slots=True)
class Program:
    """A problem: `first` is the value of a, `lines` are what follows, in order."""

    id: str
    first: int
    lines: tuple[Line, ...]

    @property
    def question(self) -> str:
        said = "\n".join(map(str, self.lines))
        return f"a={self.first}\n{said}.\nWhat is {self.lines[-1].name} modulo {MODULUS}?"

    @property
    def answer(self) -> str:
        return str(self.values()[self.lines[-1].name])

    @property
    def difficulty(self) -> int:
        """The number of operations."""
        return len(self.lines)

    def values(self) -> dict[str, int]:
        """The right value of every variable."""
        found = {"a": self.first}
        for line in self.lines:
            found[line.name] = apply(line.op, *operands(line, found))
        return found


@dataclass(frozen=True, slots=True)
class Step:
    """A step as written, true or not: `name = left op right = value`."""

    name: str
    left: int
    op: str
    right: int
    value: int

    def __str__(self) -> str:
        return f"{self.name}={self.left}{self.op}{self.right}={self.value}"


def apply(op: str, left: int, right: int) -> int:
    """The value of one operation, 0 to 9."""
    value = left + right if op == "+" else left - right if op == "-" else left * right
    return value % MODULUS


def operands(line: Line, values: dict[str, int]) -> tuple[int, int]:
    """The two numbers that a line combines."""
    right = int(line.right) if line.right.isdigit() else values[line.right]
    return values[line.left], right


def problem(split: Split, index: int, seed: int = 0, *, difficulty: int | None = None) -> Program:
    """Problem `index` of a split: the same arguments always give the same problem."""
    rng = random.Random(f"nano_think:{split}:{seed}:{difficulty}:{index}")
    counts, weights = zip(*DIFFICULTIES, strict=True)
    operations = difficulty or rng.choices(counts, weights)[0]
    while True:
        drawn = Program(f"nano_think-{split}-{seed}-{index}", *_draw(rng, operations))
        if split_of(drawn.question) == split:
            return drawn


def _draw(rng: random.Random, operations: int) -> tuple[int, tuple[Line, ...]]:
    """The first value and the lines of a program."""
    lines = []
    for i in range(operations):
        left, name = chr(ord("a") + i), chr(ord("b") + i)
        op = rng.choices("+-*", (4, 3, 3))[0]
        if op == "*":
            right = rng.choice("379")  # a wrong digit stays wrong: nothing is forgotten
        elif i and rng.random() < 0.2:
            right = chr(ord("a") + rng.randrange(i))
        else:
            right = str(rng.randint(1, 9))
        lines.append(Line(name, left, op, right))
    return rng.randint(0, 9), tuple(lines)


def problems(
    n: int = 200, *, split: Split = "test", seed: int = 0, difficulty: int | None = None
) -> Iterator[Program]:
    """The first `n` problems of a split, without repeated questions.

    Raises TaskError where there are not so many.
    """
    return different(lambda i: problem(split, i, seed, difficulty=difficulty), n, "nano_think")


def steps_of(text: str) -> list[Step]:
    """All steps written in `text`, true or not."""
    return [step for _, step in steps_in(text)]


def steps_in(text: str) -> Iterator[tuple[int, Step]]:
    """The same, each with the number of characters up to its end."""
    for match in _STEP.finditer(text):
        name, left, op, right, value = match.groups()
        yield match.end(), Step(name, int(left), op, int(right), int(value))


def answer_of(text: str) -> str | None:
    """The last boxed number."""
    found = _BOXED.findall(text)
    return found[-1] if found else None


def first_error(item: Program, text: str) -> Step | None:
    """The first step of `text` that is wrong and that no later step puts right, if there is one.

    Of each variable the step written last counts.  A step is right if it combines the right
    numbers by the right operator to the right value.
    """
    last = {step.name: step for step in steps_of(text)}
    right = item.values()
    for line in item.lines:
        step = last.get(line.name)
        if step is not None and step != _right(line, right):
            return step
    return None


def _right(line: Line, values: dict[str, int]) -> Step:
    """The step that is to be written for `line`."""
    left, right = operands(line, values)
    return Step(line.name, left, line.op, right, values[line.name])


def nano_think(
    *,
    n: int = 200,
    split: Split = "test",
    seed: int = 0,
    difficulty: int | None = None,
    system: str | None = None,
    answers: Kind = "math",
    fallback: FallbackName | None = None,
) -> Task:
    """Chains of assignments modulo 10 for the embedded model that thinks; nothing to download.

    difficulty: the number of operations (1 to 8) of every problem, instead of the split's mix.
    answers, fallback: as in task jsonl. The prompt is the bare question, which is what the model
    was trained on: generator `{nano: {model: nano_think}}`.
    """
    return mixed(
        "nano_think",
        problems,
        answers_of("nano_think", answers, fallback, "none"),
        n=n,
        split=split,
        seed=seed,
        difficulty=difficulty,
        system=system,
    )
