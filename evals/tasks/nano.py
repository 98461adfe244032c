r"""Nano: seeded multi-step word arithmetic for the embedded model.

Every problem is a short story (or a plain expression) whose answer takes one to
eight operations on whole numbers.  A solution is written in short steps that are
separated by a blank line and ends in ``\boxed{answer}``::

    Start with 12 * 7 = 84.

    84 + 5 = 89.

    The answer is \boxed{89}.

Problems depend on ``(split, index, seed)`` alone.  A hash of the question decides
the split it may appear in, so that no test question can occur in training.
"""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeVar

from evals.tasks.generated import different, mixed
from evals.tasks.loading import Kind, Task, answers_of
from reasoning.answers import FallbackName

Split = Literal["train", "test"]
T = TypeVar("T")

NAMES = ("Ann", "Ben", "Eva", "Leo", "Mia", "Sam", "Tom", "Zoe")
ITEMS = ("apples", "books", "cards", "coins", "eggs", "pens", "shells", "stamps")
BOTH = "Both"
STEP_BREAK = "\n\n"
LIMIT = 2999  # the largest value that may appear in a gold solution
TEST_SHARE = 0.1  # share of all questions that belong to the test split

_EQUATION = re.compile(r"(?:([A-Z][a-z]+): )?(\d+) ([-+*]) (\d+) = (\d+)(?!\d)")
_BOXED = re.compile(r"\\boxed\{(\d+)\}")
_WORDS = (("", ""), ("", ""), ("Start with ", ""), ("First, ", "Then "), ("", "Next, "))
_LEAD = re.compile(r"^(what is|compute|calculate) ")


@dataclass(frozen=True)
class Mix:
    """How problems are drawn: the knobs that set how hard they are.

    plain: share of plain expressions such as "What is 12 * 7 + 5?".
    plain_operations, operations: weights by number of operations.
    kinds: weights of stories with one quantity, with days, with two quantities.
    large: probability that a number is drawn from the large range.
    distractor: probability of an irrelevant sentence after each event.
    """

    plain: float
    plain_operations: tuple[tuple[int, float], ...]
    operations: tuple[tuple[int, float], ...]
    kinds: tuple[tuple[str, float], ...]
    large: float
    distractor: float


TRAIN_MIX = Mix(
    plain=0.25,
    plain_operations=((1, 3.0), (2, 4.0), (3, 3.0)),
    operations=((2, 2.0), (3, 2.0), (4, 2.0), (5, 1.5), (6, 1.5), (7, 1.0), (8, 1.0)),
    kinds=(("one", 3.0), ("days", 2.0), ("two", 3.0)),
    large=0.3,
    distractor=0.15,
)
TEST_MIX = replace(TRAIN_MIX, plain=0.15)
MIXES: dict[Split, Mix] = {"train": TRAIN_MIX, "test": TEST_MIX}


@dataclass(frozen=True)
class NanoProblem:
    """One problem: `steps` is the gold solution, `difficulty` its operation count."""

    id: str
    question: str
    answer: str
    difficulty: int
    steps: tuple[str, ...]


@dataclass(frozen=True)
class Equation:
    """One operation, `left op right = value`, that belongs to `owner` ("" if alone)."""

    owner: str
    left: int
    op: str
    right: int
    value: int

    def __str__(self) -> str:
        prefix = f"{self.owner}: " if self.owner else ""
        return f"{prefix}{self.left} {self.op} {self.right} = {self.value}"


class _RetryError(Exception):
    """The draw left the allowed range and must be repeated."""


def _apply(left: int, op: str, right: int) -> int:
    """The value of one operation."""
    if op == "+":
        return left + right
    return left - right if op == "-" else left * right


def _equation(owner: str, left: int, op: str, right: int) -> Equation:
    """A true equation whose value is in range, else `_RetryError`."""
    value = _apply(left, op, right)
    if not 0 <= value <= LIMIT:
        raise _RetryError
    return Equation(owner, left, op, right, value)


def _pick(rng: random.Random, weights: Sequence[tuple[T, float]]) -> T:
    """One key drawn in proportion to its weight."""
    return rng.choices([key for key, _ in weights], [weight for _, weight in weights])[0]


class _Story:
    """A story in the making: sentences and the equations that they call for."""

    def __init__(self, rng: random.Random, mix: Mix, owners: int) -> None:
        self.rng = rng
        self.mix = mix
        self.names = rng.sample(NAMES, owners)
        self.item, self.other = rng.sample(ITEMS, 2)
        self.sentences: list[str] = []
        self.equations: list[Equation] = []
        self.totals: dict[str, int] = {}

    def number(self, small: tuple[int, int], large: tuple[int, int]) -> int:
        """A number from the small range or, with probability `mix.large`, the large."""
        low, high = large if self.rng.random() < self.mix.large else small
        return self.rng.randint(low, high)

    def change(self, name: str, op: str, amount: int) -> None:
        """Update what `name` holds and note the equation."""
        equation = _equation(name, self.totals[name], op, amount)
        self.equations.append(equation)
        self.totals[name] = equation.value

    def boxes(self, name: str) -> tuple[str, int]:
        """A phrase such as "3 boxes of 27", with its product noted for `name`."""
        count, size = self.number((3, 9), (11, 19)), self.number((6, 29), (11, 49))
        equation = _equation(name, count, "*", size)
        self.equations.append(equation)
        unit = self.rng.choice(("boxes", "bags"))
        return f"{count} {unit} of {size}", equation.value

    def start(self, name: str) -> str:
        """The opening sentence for `name`."""
        if self.rng.random() < 0.3:
            phrase, self.totals[name] = self.boxes(name)
            return f"{name} has {phrase} {self.item}."
        self.totals[name] = self.number((12, 99), (100, 499))
        return f"{name} has {self.totals[name]} {self.item}."

    def event(self, name: str) -> str:
        """One sentence that changes what `name` holds."""
        kind = _pick(self.rng, (("+", 3), ("-", 3), ("b+", 2), ("b-", 1), ("*", 1), (">", 2)))
        if kind == ">" and len(self.names) == 2:
            return self.gift(name)
        if kind == "*":
            factor = self.rng.randint(2, 9 if self.totals[name] < 100 else 4)
            self.change(name, "*", factor)
            return f"Then {name} has {factor} times as many."
        op = kind[-1] if kind != ">" else "-"
        if kind[0] == "b":
            phrase, amount = self.boxes(name)
        else:
            amount = self.number((6, 99), (100, 399))
            phrase = f"{amount}"
        self.change(name, op, amount)
        verb = self.rng.choice(
            ("buys", "finds", "gets") if op == "+" else ("sells", "loses", "uses")
        )
        return f"{name} {verb} {phrase} {'more' if op == '+' else self.item}."

    def gift(self, name: str) -> str:
        """`name` gives a part to the other person: one change on each side."""
        other = self.names[1 - self.names.index(name)]
        amount = self.number((6, 99), (100, 399))
        self.change(name, "-", amount)
        self.change(other, "+", amount)
        return f"{name} gives {amount} to {other}."

    def noise(self) -> list[str]:
        """A sentence with a number that does not matter, or nothing."""
        if self.rng.random() >= self.mix.distractor:
            return []
        name, number = self.rng.choice(self.names), self.number((6, 99), (100, 399))
        choices = (
            f"{name} has {number} {self.other} too.",
            f"{name} sees {number} {self.item} in a shop.",
            f"This takes {number} minutes.",
        )
        return [self.rng.choice(choices)]


Draft = tuple[str, list[Equation]]  # a question and its gold equations


def _alone(equations: Sequence[Equation]) -> list[Equation]:
    """The same equations without their owner."""
    return [replace(equation, owner="") for equation in equations]


def _one(rng: random.Random, mix: Mix, difficulty: int) -> Draft:
    """One quantity; the question asks for its last value."""
    story = _Story(rng, mix, 1)
    name = story.names[0]
    sentences = [story.start(name), *story.noise()]
    while len(story.equations) < difficulty:
        sentences += [story.event(name), *story.noise()]
    return " ".join([*sentences, f"How many {story.item} does {name} have now?"]), _alone(
        story.equations
    )


def _days(rng: random.Random, mix: Mix, difficulty: int) -> Draft:
    """One quantity over several days; the question may stop before the last day."""
    story = _Story(rng, mix, 1)
    name = story.names[0]
    sentences = [story.start(name)]
    used: list[Equation] = []
    day = asked = 0
    extra = rng.choice((0, 0, 1, 1, 2))
    while not asked or day < asked + extra:
        day += 1
        sentences += [f"Day {day}: {story.event(name)}", *story.noise()]
        if not asked and len(story.equations) >= difficulty:
            asked, used = day, list(story.equations)
    return " ".join(
        [*sentences, f"How many {story.item} does {name} have after day {asked}?"]
    ), _alone(used)


def _two(rng: random.Random, mix: Mix, difficulty: int) -> Draft:
    """Two quantities; the question asks for one, for the sum or for the difference."""
    story = _Story(rng, mix, 2)
    first, second = story.names
    sentences = [story.start(first), *story.noise(), story.start(second)]
    goal = rng.choice(("one", "sum", "sum", "difference"))
    while True:
        used = [e for e in story.equations if goal != "one" or e.owner == second]
        if len(used) >= difficulty - (goal != "one"):
            break
        sentences += [story.event(rng.choice(story.names)), *story.noise()]
    if goal == "one":
        question = f"How many {story.item} does {second} have now?"
    elif goal == "sum":
        used.append(_equation(BOTH, story.totals[first], "+", story.totals[second]))
        question = f"How many {story.item} do {first} and {second} have together?"
    else:
        used.append(_equation(BOTH, story.totals[first], "-", story.totals[second]))
        question = f"How many more {story.item} does {first} have than {second}?"
    return " ".join([*sentences, question]), used


def _reduce(operands: list[int], ops: list[str]) -> list[Equation]:
    """The equations of an expression: products first, then sums, left to right."""
    equations = []
    for level in ("*", "+-"):
        i = 0
        while i < len(ops):
            if ops[i] not in level:
                i += 1
                continue
            equations.append(_equation("", operands[i], ops[i], operands[i + 1]))
            operands[i : i + 2] = [equations[-1].value]
            del ops[i]
    return equations


def _plain(rng: random.Random, mix: Mix, difficulty: int) -> Draft:
    """A plain expression with `difficulty` operators and the usual precedence."""
    ops = [rng.choice("+-*") for _ in range(difficulty)]
    operands = []
    for i in range(difficulty + 1):
        factor = "*" in ops[max(0, i - 1) : i + 1]
        large = rng.random() < mix.large
        operands.append(
            rng.randint(2, 29 if large else 12) if factor else rng.randint(1, 399 if large else 99)
        )
    parts = [str(operands[0])] + [f"{op} {b}" for op, b in zip(ops, operands[1:], strict=True)]
    lead, end = rng.choice(
        (("What is", "?"), ("What is", "?"), ("Compute", "."), ("Calculate", "."))
    )
    return f"{lead} {' '.join(parts)}{end}", _reduce(operands, ops)


_KINDS = {"plain": _plain, "one": _one, "days": _days, "two": _two}


def split_of(question: str) -> Split:
    """The only split that `question` may appear in, from a hash of its text."""
    canonical = _LEAD.sub("", " ".join(question.lower().split())).rstrip("?.")
    digest = hashlib.sha256(canonical.encode()).digest()
    return "test" if int.from_bytes(digest[:4], "big") < TEST_SHARE * 2**32 else "train"


def problem(
    split: Split,
    index: int,
    seed: int = 0,
    *,
    difficulty: int | None = None,
    mix: Mix | None = None,
) -> NanoProblem:
    """Problem `index` of a split: the same arguments always give the same problem."""
    mix = mix or MIXES[split]
    rng = random.Random(f"nano:{split}:{seed}:{difficulty}:{index}")
    plain = rng.random() < mix.plain and (difficulty is None or difficulty <= 3)
    plain = plain or difficulty == 1
    operations = difficulty or _pick(rng, mix.plain_operations if plain else mix.operations)
    kind = "plain" if plain else _pick(rng, mix.kinds)
    while True:
        try:
            question, equations = _KINDS[kind](rng, mix, operations)
        except _RetryError:
            continue
        if len(equations) == operations and split_of(question) == split:
            break
    answer = str(equations[-1].value)
    steps = (*(f"{equation}." for equation in equations), rf"The answer is \boxed{{{answer}}}.")
    return NanoProblem(f"nano-{split}-{seed}-{index}", question, answer, operations, steps)


def problems(
    n: int = 200, *, split: Split = "test", seed: int = 0, difficulty: int | None = None
) -> Iterator[NanoProblem]:
    """The first `n` problems of a split, without repeated questions.

    Raises TaskError where there are not so many.
    """
    return different(lambda i: problem(split, i, seed, difficulty=difficulty), n, "nano")


def equations_of(text: str) -> list[Equation]:
    """All equations written in `text`, true or not."""
    return [Equation(o, int(a), op, int(b), int(c)) for o, a, op, b, c in _EQUATION.findall(text)]


def gold_equations(problem: NanoProblem) -> list[Equation]:
    """The equations of the gold solution, in order."""
    return [equation for step in problem.steps for equation in equations_of(step)]


def slip(equation: Equation, rng: random.Random) -> Equation:
    """A false version of `equation`: a wrong digit, a wrong carry or the wrong operator."""
    kind = rng.random()
    if kind < 0.25 and equation.op != "*":
        value = _apply(equation.left, "-+"[equation.op == "-"], equation.right)
    else:
        unit = 10 ** rng.randrange(len(str(equation.value)))
        value = equation.value + rng.choice((-2, -1, 1, 2) if kind < 0.6 else (-1, 1)) * unit
        value = value if value >= 0 else equation.value + unit
    return replace(equation, value=value if value >= 0 else equation.value + 1)


def carry(gold: Sequence[Equation], wrong: dict[int, int]) -> list[Equation]:
    """The equations `gold` with other inputs: `wrong` maps right values to wrong ones.

    Ends before the first value below zero.
    """
    moved = dict(wrong)
    result = []
    for old in gold:
        left, right = moved.get(old.left, old.left), moved.get(old.right, old.right)
        value = _apply(left, old.op, right)
        if value < 0:
            break
        moved[old.value] = value
        result.append(Equation(old.owner, left, old.op, right, value))
    return result


def solution(problem: NanoProblem, rng: random.Random, *, slips: float = 0.2) -> str:
    """A training trace: the gold steps in varied words.

    With probability `slips` one step goes wrong and is put right by the next step or
    by the one after that.
    """
    gold = gold_equations(problem)
    bad = rng.randrange(len(gold)) if rng.random() < slips else -1
    first, later = rng.choice(_WORDS)
    steps: list[str] = []
    for i, equation in enumerate(gold):
        word = later if i else first
        if i == bad:
            wrong = slip(equation, rng)
            steps.append(f"{word}{wrong}.")
            following = [g for g in gold[i + 1 : i + 2] if _continues(equation, g)]
            if following and rng.random() < 0.4:
                carried = carry(following, {equation.value: wrong.value})
                steps += [f"{later}{after}." for after in carried]
            word = "Wait, that is wrong. "
        steps.append(f"{word}{equation}.")
    return STEP_BREAK.join([*steps, problem.steps[-1]])


def _continues(first: Equation, then: Equation) -> bool:
    """Whether `then` goes on with the value of `first`."""
    return first.owner == then.owner and first.value == then.left


def step_labels(problem: NanoProblem, solution_text: str) -> list[int]:
    """One exact label per step of any solution text: 1 if the state reached is right.

    An equation is right if the gold solution has it (same owner, operands, operator
    and value; sums and products in either order).  Any other equation breaks the
    track of its owner, and every later step is labelled 0 until the right equation of
    that owner is written.  The answer step is right if the boxed number is.
    """
    gold = gold_equations(problem)
    left = list(gold)
    broken: set[str] = set()
    labels = []
    for step in solution_text.strip().split(STEP_BREAK):
        found, boxed = equations_of(step), _BOXED.findall(step)
        for equation in found:
            match = next((g for g in gold if _same(g, equation)), None)
            if match is None:
                broken.add(equation.owner)
            elif match in left:
                if match == gold[-1]:
                    broken.clear()
                elif _mends(match, gold, left):
                    broken.discard(match.owner)
                left.remove(match)
        if not found and not boxed and re.search(r"\d", step):
            broken.add("")
        labels.append(int(boxed[-1] == problem.answer if boxed else not broken))
    return labels


def _mends(match: Equation, gold: list[Equation], left: list[Equation]) -> bool:
    """Whether `match` shows that its owner is on track: it comes next or uses a right value."""
    own = [equation for equation in gold if equation.owner == match.owner]
    due = next(equation for equation in left if equation.owner == match.owner)
    return match == due or match.left in {g.value for g in own[: own.index(match)]}


def _same(gold: Equation, other: Equation) -> bool:
    """Whether `other` states the gold equation."""
    if (gold.owner, gold.op, gold.value) != (other.owner, other.op, other.value):
        return False
    pair = (other.left, other.right)
    return pair == (gold.left, gold.right) or (gold.op != "-" and pair == (gold.right, gold.left))


def nano(
    *,
    n: int = 200,
    split: Split = "test",
    seed: int = 0,
    difficulty: int | None = None,
    system: str | None = None,
    answers: Kind = "math",
    fallback: FallbackName | None = None,
) -> Task:
    """Word arithmetic for the embedded model: `n` generated problems, nothing to download.

    difficulty: the number of operations (1 to 8) of every problem, instead of the split's mix.
    answers, fallback: as in task jsonl. The prompt is the bare question, which is what the model
    was trained on.
    """
    return mixed(
        "nano",
        problems,
        answers_of("nano", answers, fallback, "last_number"),
        n=n,
        split=split,
        seed=seed,
        difficulty=difficulty,
        system=system,
    )
