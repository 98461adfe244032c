"""Conversations on attempts, right and wrong, and what `train_nano_verdict` is to learn of them.

Of each: tokens, which of them are to be learnt, and at every value whether an error stands so far.
Half come from the program of `nano_think_traces`, half are the model's own.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tokenizers import Tokenizer
from torch import Tensor

from benchmarks.training.nano_think_traces import (
    HABITS,
    SLOPPY,
    STOP,
    Piece,
    closed,
    judged,
    row,
    shown,
    thought,
    user,
    verdict,
)
from benchmarks.training.train_nano_net import pad
from evals.tasks import nano_think as task
from evals.tasks.nano_think import Program
from reasoning.generate import Sampling
from reasoning.problem import Problem
from reasoning.runs import names
from reasoning.search import Search


@dataclass(frozen=True, slots=True)
class Row:
    """Tokens; which of them are to be learnt; and at each value whether an error stands so far."""

    ids: list[int]
    learnt: list[int]
    errors: list[int]  # 1, 0, or -1 where no value stands


@dataclass(frozen=True, slots=True)
class Own:
    """An attempt that the model below has drawn itself."""

    item: Program
    text: str

    @property
    def right(self) -> bool:
        return task.answer_of(self.text) == self.item.answer


def written(item: Program, rng: random.Random, tokenizer: Tokenizer) -> list[Piece]:
    """A conversation on a written attempt; of weight 0 is what is read, or to stay as it is."""
    kind = rng.random()
    trace = thought(item, rng, rng.choice((HABITS, HABITS, SLOPPY)))
    attempt = Own(item, closed(trace))
    if kind < 0.45:
        return verdict_on(attempt)
    if kind < 0.75:
        return judged(trace, rng)
    if kind < 0.87:
        return critique_of(attempt)

    def cut(text: str, rng: random.Random) -> str:
        offsets = tokenizer.encode(text, add_special_tokens=False).offsets
        return text[: rng.choice(offsets)[1]]

    return [(text, 0.0) for text, _ in row(item, rng, cut)]


def drawn(attempt: Own, rng: random.Random) -> list[Piece]:
    """A conversation on an attempt of the model's own."""
    kind = rng.random()
    if kind < 0.60:
        return verdict_on(attempt)
    if kind < 0.84:
        return shown(attempt.item, attempt.text, attempt.right, rng)
    return critique_of(attempt)


def verdict_on(attempt: Own) -> list[Piece]:
    return [*_opening(attempt, task.JUDGE_TURN), (verdict(attempt.right), 1.0)]


def critique_of(attempt: Own) -> list[Piece]:
    wrong = task.first_error(attempt.item, attempt.text)
    critique = "None." if wrong is None else f"{wrong} is wrong."
    return [*_opening(attempt, task.CRITIQUE_TURN), (critique + STOP, 1.0)]


def _opening(attempt: Own, turn: str) -> list[Piece]:
    texts = (user(attempt.item.question), attempt.text + STOP, "\n" + user(turn))
    return [(text, 0.0) for text in texts]


def errors(item: Program, text: str) -> Iterator[tuple[int, bool]]:
    """Of each step's value, its last character and whether a step so far is wrong by itself.

    Of each variable the step written last counts, and is held against the values written before.
    """
    lines = {line.name: line for line in item.lines}
    values, wrong = {"a": item.first}, dict[str, bool]()
    for end, step in task.steps_in(text):
        line = lines.get(step.name)
        if line is None or not {line.left, line.right} <= values.keys() | set("0123456789"):
            continue
        left, right = task.operands(line, values)
        told = (step.left, step.op, step.right, step.value)
        wrong[step.name] = told != (left, line.op, right, task.apply(line.op, left, right))
        values[step.name] = step.value
        yield end - 1, any(wrong.values())


class Rows:
    """Rows by number, the same each time; three in four are on the model's own attempts, if any."""

    def __init__(self, tokenizer: Tokenizer, own: Sequence[Own] = ()) -> None:
        self._tokenizer, self._own = tokenizer, own

    def __call__(self, index: int) -> Row:
        rng = random.Random(f"verdict:77:{index}")
        if self._own and rng.random() < 0.75:
            attempt = rng.choice(self._own)
            return self._encoded(attempt.item, drawn(attempt, rng))
        item = task.problem("train", index, 77)
        return self._encoded(item, written(item, rng, self._tokenizer))

    def _encoded(self, item: Program, pieces: list[Piece]) -> Row:
        found = Row([], [], [])
        for text, weight in pieces:
            encoded = self._tokenizer.encode(text, add_special_tokens=False)
            marks = [-1] * len(encoded.ids)
            for at, wrong in errors(item, text):
                for i, (start, stop) in enumerate(encoded.offsets):
                    if start <= at < stop:
                        marks[i] = int(wrong)
            found.ids.extend(encoded.ids)
            found.learnt.extend([int(weight > 0)] * len(marks))
            found.errors.extend(marks)
        return found


def own_attempts(base: Path, problems: int, file: Path) -> list[Own]:
    """Two attempts of the model at each of some training problems, at temperature 1.

    file: where they are kept, and taken from if they are there.
    """
    items = [task.problem("train", i, 555) for i in range(problems)]
    if not file.exists():
        texts = asyncio.run(_drawn(base, items))
        unfinished = file.with_suffix(".tmp")
        unfinished.write_text(json.dumps(texts))
        unfinished.replace(file)
    texts = json.loads(file.read_text())
    return [Own(item, text) for item, two in zip(items, texts, strict=True) for text in two]


async def _drawn(base: Path, items: Sequence[Program]) -> list[list[str]]:
    generator = names.build("generator", {"name": "nano", "model": "nano_think", "path": str(base)})
    turn = asyncio.Semaphore(32)

    async def draw(item: Program) -> list[str]:
        async with turn:
            search = Search(Problem(item.id, item.question), generator, sampling=Sampling(512))
            return [node.text for node in await search.draws(search.root, 2, until="end")]

    await generator.astart()
    try:
        return await asyncio.gather(*map(draw, items))
    finally:
        await generator.aclose()


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows side by side, all [rows, length]."""

    ids: Tensor
    learnt: Tensor
    errors: Tensor
    real: Tensor


def batches(rows: Rows, first: int, steps: int, size: int) -> Iterator[list[Batch]]:
    """Of each step the shorter and the longer half of its rows."""
    for step in range(steps):
        numbers = range(first + step * size, first + (step + 1) * size)
        found = sorted(map(rows, numbers), key=lambda r: len(r.ids))
        yield [
            Batch(
                pad([r.ids for r in half]),
                pad([r.learnt for r in half]),
                pad([r.errors for r in half], -1),
                pad([[1] * len(r.ids) for r in half]),
            )
            for half in (found[: size // 2], found[size // 2 :])
        ]
