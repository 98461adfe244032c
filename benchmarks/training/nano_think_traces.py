"""What `nano_think` learns from: thoughts with slips, checks and corrections, and turns after them.

A thought is written by a program that knows the right values. Every step may slip; a slip may be
noticed at once ("No, ..."); after the last step the whole may be checked ("Wait, ..."), step by
step ("... ok."), until a wrong one is found ("..., not 5.") and all after it is done anew. How
often is said by `Habits`, so that thoughts are of very different length and some end wrong.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, replace

from evals.tasks import nano_think as task
from evals.tasks.nano_think import Program, Step, apply, operands
from verifiers.judge import marks_for, plain

STOP = "<|im_end|>"
Piece = tuple[str, float]
"""Text, tokenised by itself, and the weight of its tokens in the loss; 0 is a prompt."""


@dataclass(frozen=True, slots=True)
class Habits:
    """How thoughts are written; all are probabilities.

    slip: a step is wrong. catch: a slip is noticed at once. checks: of another check of the whole,
    by how many there were. miss: a check passes over an error. long: a thought names the variables
    in every step, too.
    """

    slip: float = 0.12
    catch: float = 0.3
    checks: tuple[float, ...] = (0.4, 0.25, 0.2)
    miss: float = 0.12
    long: float = 0.85


HABITS = Habits()
SLOPPY = Habits(slip=0.25, catch=0.2, checks=(0.2,))
"""Of attempts that are there to be judged and revised, and not to be learnt from."""


@dataclass(frozen=True, slots=True)
class Trace:
    """A thought: its lines, what stands between them, and what is known after each.

    `known[i]` is (number of program lines done, values claimed) before line i; the last one is
    what the thought ends with.
    """

    item: Program
    lines: tuple[str, ...]
    breaks: tuple[str, ...]
    known: tuple[tuple[int, dict[str, int]], ...]

    @property
    def text(self) -> str:
        """From the mark that begins it, up to the mark that ends it, which is left out."""
        parts = [
            task.BEGIN,
            *(f"{b}{line}" for b, line in zip(self.breaks, self.lines, strict=True)),
        ]
        return "".join(parts)

    @property
    def answer(self) -> str:
        return self.answer_at(len(self.lines))

    def answer_at(self, line: int) -> str:
        """What follows from the first `line` lines when all that is left is done rightly."""
        done, values = self.known[line]
        values = dict(values)
        for rest in self.item.lines[done:]:
            values[rest.name] = apply(rest.op, *operands(rest, values))
        return str(values[self.item.lines[-1].name])


class _Writer:
    """A thought in the making: `claimed` steps by name and the `values` they gave."""

    def __init__(self, item: Program, rng: random.Random, habits: Habits) -> None:
        self.item, self.rng, self.habits = item, rng, habits
        self.values = {"a": item.first}
        self.claimed: dict[str, Step] = {}
        self.long = rng.random() < habits.long
        self.lines: list[str] = []
        self.breaks: list[str] = []
        self.known: list[tuple[int, dict[str, int]]] = [(0, dict(self.values))]

    def trace(self) -> Trace:
        return Trace(self.item, tuple(self.lines), tuple(self.breaks), tuple(self.known))

    def say(self, line: str, done: int, *, reopen: bool = False) -> None:
        """One line, after which `done` lines of the program are known."""
        first = not self.lines
        self.breaks.append("\n" if first or (reopen and self.rng.random() < 0.5) else "\n\n")
        self.lines.append(f"{line}.")
        self.known.append((done, dict(self.values)))

    def right(self, i: int) -> Step:
        """Line `i` done rightly with the values claimed so far."""
        line = self.item.lines[i]
        left, right = operands(line, self.values)
        return Step(line.name, left, line.op, right, apply(line.op, left, right))

    def spell(self, i: int, step: Step) -> str:
        line = self.item.lines[i]
        return (
            str(step).replace("=", f"={line.left}{line.op}{line.right}=", 1)
            if self.long
            else str(step)
        )

    def claim(self, step: Step) -> None:
        self.claimed[step.name], self.values[step.name] = step, step.value

    def solve(self, start: int) -> None:
        """The steps from line `start` on, with slips."""
        for i in range(start, len(self.item.lines)):
            step = self.right(i)
            if self.rng.random() < self.habits.slip:
                wrong = slip(step, self.rng)
                self.claim(wrong)
                self.say(self.spell(i, wrong), i + 1)
                if self.rng.random() >= self.habits.catch:
                    continue
                self.claim(step)
                self.say(f"No, {step}", i + 1)
            else:
                self.claim(step)
                self.say(self.spell(i, step), i + 1)

    def check(self, miss: float) -> None:
        """The whole once more, up to the first error that is noticed; then what follows anew."""
        word = "Wait, "
        for i, line in enumerate(self.item.lines):
            old, right = self.claimed[line.name], self.right(i)
            if old != right and self.rng.random() >= miss:
                self.mend(i, word)
                return
            self.say(f"{word}{old} ok", len(self.item.lines), reopen=bool(word))
            word = ""

    def mend(self, i: int, word: str = "") -> None:
        """Line `i` put right, and all after it done anew."""
        old, right = self.claimed[self.item.lines[i].name], self.right(i)
        self.claim(right)
        self.say(f"{word}{right}, not {old.value}", i + 1, reopen=bool(word))
        self.solve(i + 1)

    def checks(self) -> None:
        """Checks of the whole, as many as habit has it."""
        for chance in self.habits.checks:
            if self.rng.random() >= chance:
                break
            self.check(self.habits.miss)


def slip(step: Step, rng: random.Random) -> Step:
    """A false version: a wrong value, another operator's value, or a number copied wrongly."""
    kind = rng.random()
    if kind < 0.2 and step.op != "*":
        right = (step.right + rng.choice((-1, 1))) % task.MODULUS
        return replace(step, right=right, value=apply(step.op, step.left, right))
    if kind < 0.35 and step.op != "*":
        value = apply("-+"[step.op == "-"], step.left, step.right)
        if value != step.value:
            return replace(step, value=value)
    return replace(step, value=(step.value + rng.choice((-2, -1, 1, 2))) % task.MODULUS)


def thought(item: Program, rng: random.Random, habits: Habits = HABITS) -> Trace:
    """A first thought about a problem."""
    writer = _Writer(item, rng, habits)
    writer.solve(0)
    writer.checks()
    return writer.trace()


def revision(item: Program, attempt: str, named: Step | None, rng: random.Random) -> Trace:
    """The thought of a second attempt, after `attempt`; `named` is the step said to be wrong."""
    writer = _Writer(item, rng, HABITS)
    for step in task.steps_of(attempt):
        writer.claim(step)
    if named is None:
        writer.check(0.0)
        return writer.trace()
    i = [line.name for line in item.lines].index(named.name)
    later = {line.name for line in item.lines[i:]}
    everything = dict(writer.values)
    writer.values = {name: value for name, value in everything.items() if name not in later}
    if writer.right(i) == writer.claimed[named.name]:
        writer.values = everything
        writer.say(f"{named} ok", len(item.lines))
        return writer.trace()
    writer.known = [(i, dict(writer.values))]
    writer.mend(i)
    writer.checks()
    return writer.trace()


def closed(trace: Trace) -> str:
    """A whole attempt: the thought, the mark that ends it and the answer."""
    return f"{trace.text}\n{task.END}\n\n{said(trace.answer)}"


def said(answer: str) -> str:
    return rf"The answer is \boxed{{{answer}}}."


# --- rows --------------------------------------------------------------------------


def user(text: str) -> str:
    """A user's turn and the opening of the assistant's, in ChatML."""
    return f"<|im_start|>user\n{text}<|im_end|>\n<|im_start|>assistant\n"


VERDICT = 6.0
"""Weight of a verdict's tokens: there is one to a hundred others."""
ANSWER = 1.0
"""Weight of an answer after a thought that was cut."""


def row(item: Program, rng: random.Random, cut: Callable[[str, random.Random], str]) -> list[Piece]:
    """One training row: a conversation about `item`.

    cut: takes a text and gives a beginning of it that ends between two tokens.
    """
    kind = rng.random()
    trace = thought(item, rng)
    if kind < 0.25:
        return _truncated(trace, rng, cut)
    if kind < 0.32:
        return judged(trace, rng)
    pieces = [(user(item.question), 0.0)]
    if kind < 0.7:
        sloppy = closed(thought(item, rng, SLOPPY))
        return [*pieces, (sloppy + STOP, 0.0), *_turn(item, sloppy, rng)]
    attempt = closed(trace)
    pieces.append((attempt + STOP, 1.0))
    return pieces if kind < 0.73 else [*pieces, *_turn(item, attempt, rng)]


_EMPTY = (
    ("", f"\n{task.END}\n\n"),
    ("", f"{task.BEGIN}\n\n{task.END}\n\n"),
    (task.BEGIN, f"\n{task.END}\n\n"),
    (f"{task.BEGIN}\n", f"\n{task.END}\n\n"),
    (f"{task.BEGIN}\n", f"{task.END}\n\n"),
)
"""An empty thought, in all forms in which it is written for a model."""


def _truncated(
    trace: Trace, rng: random.Random, cut: Callable[[str, random.Random], str]
) -> list[Piece]:
    """A thought that is cut anywhere, or left out, and the answer that follows from it."""
    question = user(trace.item.question)
    if rng.random() < 0.2:
        begun, mark = rng.choice(_EMPTY)
        answer = said(trace.answer_at(0)) + STOP
        return [(question, 0.0), (begun, 0.0), (mark, 0.0), (answer, ANSWER)]
    begun = cut(trace.text, rng)
    length, lines = len(task.BEGIN), 0
    for stop, line in zip(trace.breaks, trace.lines, strict=True):
        length += len(stop) + len(line)
        if len(begun) < length - 1:  # the full stop may be missing
            break
        lines += 1
    mark = f"\n{task.END}\n\n"
    answer = said(trace.answer_at(lines)) + STOP
    return [(question, 0.0), (begun, 1.0), (mark, 0.0), (answer, ANSWER)]


def judged(trace: Trace, rng: random.Random) -> list[Piece]:
    """A solution, whole or as far as some step, in the prompt of verifier judge."""
    item, text = trace.item, closed(trace)
    right = trace.answer == item.answer
    if rng.random() < 0.5:
        lines = rng.randint(1, len(trace.lines))
        part = replace(
            trace,
            lines=trace.lines[:lines],
            breaks=trace.breaks[:lines],
            known=trace.known[: lines + 1],
        )
        text, right = part.text + "\n\n", part.answer == item.answer
    return shown(item, text, right, rng)


def shown(item: Program, text: str, right: bool, rng: random.Random) -> list[Piece]:
    """A solution in the prompt of verifier judge, and the verdict on it."""
    mark = marks_for(item.question, text, rng.randrange(2**32))
    between = f"[solution {mark}]\n{plain(text)}\n[end of solution {mark}]"
    asked = task.JUDGE_PROMPT.format(question=item.question, solution=between)
    return [(user(asked), 0.0), (verdict(right), VERDICT)]


def verdict(right: bool) -> str:
    """What is to be said of an attempt."""
    return f"{'Yes' if right else 'No'}{STOP}"


def _turn(item: Program, attempt: str, rng: random.Random) -> list[Piece]:
    """A second turn, and sometimes a third, after an attempt."""
    wrong, right = task.first_error(item, attempt), task.answer_of(attempt) == item.answer
    kind = rng.random()
    if kind < (0.65 if right else 0.47):
        return [("\n" + user(task.JUDGE_TURN), 0.0), (verdict(right), VERDICT)]
    if kind < (0.87 if right else 0.62):
        critique = "None." if wrong is None else f"{wrong} is wrong."
        asked = [("\n" + user(task.CRITIQUE_TURN), 0.0), (critique + STOP, ANSWER)]
        if wrong is None or rng.random() < 0.6:
            return asked
        again = closed(revision(item, attempt, wrong, rng))
        return [*asked, ("\n" + user(task.REVISE_TURN), 0.0), (again + STOP, 1.0)]
    last = {step.name: step for step in task.steps_of(attempt)}
    named = None if kind > 0.92 else wrong or rng.choice(list(last.values()))
    ask = task.UNNAMED_TURN if named is None else task.NAMED_TURN.format(step=named)
    again = closed(revision(item, attempt, named, rng))
    return [("\n" + user(ask), 0.0), (again + STOP, 1.0)]


def texts(n: int) -> list[str]:
    """Plain texts for the tokenizer."""
    found: list[str] = []
    for i in range(n):
        item = task.problem("train", i)
        rng = random.Random(item.id)
        found += [text for text, _ in row(item, rng, lambda text, _: text)]
    return found
