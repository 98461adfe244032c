"""Countdown: make a target out of given numbers, each used once, with + - * /.

Problems depend on (index, seed, numbers) alone and can all be solved: each is made from an
expression whose values on the way are positive whole numbers. The game of the APR paper
(arXiv:2504.15466) and of TinyZero, whose data (columns `nums` and `target`) load with `path`.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from random import Random
from typing import Annotated

from pydantic import Field

from evals.tasks.generated import MOST
from evals.tasks.loading import Asked, Kind, Task, load, made_here
from evals.tasks.prompts import Template
from evals.tasks.rows import Row
from reasoning.errors import TaskError

PROMPT = (
    "{question}\n\nThink step by step, with a blank line between steps. End with the expression "
    "within \\boxed{}."
)
LARGEST = 99
"""Of the given numbers; targets are from 10 to 100, as in TinyZero's data."""


def countdown(
    *,
    path: str | Path | None = None,
    n: Annotated[int, Field(ge=1, le=MOST)] = 200,
    numbers: Annotated[int, Field(ge=2, le=8)] = 4,
    seed: int = 0,
    prompt: Template = PROMPT,
    system: str | None = None,
    limit: int | None = None,
    answers: Kind = "expression",
    where: dict[str, object] | None = None,
) -> Task:
    """Make a target out of given numbers with + - * /: `n` generated problems, or a file of them.

    path: rows with `nums` and `target`, in place of generated ones. numbers: how many are given.
    prompt, system, limit, where: as in task jsonl. answers: {kind: expression, use_all: false} lets
    numbers be left out.
    """
    asked = Asked(
        path=path, prompt=prompt, system=system, limit=limit, answers=answers, where=where
    )
    some = isinstance(answers, dict) and answers.get("use_all") is False

    def adapt(number: int, row: Row) -> Row:
        return _adapted(number, row, "at most" if some else "exactly")

    if path is not None:
        return load("countdown", asked, adapt=adapt)
    rows = [_row(i, seed, numbers) for i in range(n)]
    digest = hashlib.sha256("\n".join(str(row) for row in rows).encode()).hexdigest()
    source = f"countdown of {numbers} numbers, seed {seed}, generated, sha256:{digest}"
    return made_here("countdown", asked, rows, source, adapt=adapt)


def _adapted(number: int, row: Row, often: str) -> Row:
    """A row with its question, whatever it calls its numbers."""
    row = {"id": f"countdown-{number}", **row}
    given = row.pop("nums", row.get("numbers"))
    if not isinstance(given, list) or "target" not in row:
        raise TaskError(f"a row has nums, a list, and a target, not {', '.join(map(repr, row))}")
    said = ", ".join(map(str, given))
    question = (
        f"Make {row['target']} out of the numbers {said}. Use each {often} once, with +, -, *, / "
        "and brackets."
    )
    return {"question": question, **row, "numbers": given}


def _row(index: int, seed: int, numbers: int) -> Row:
    """A problem that can be solved, and how."""
    rng = Random(f"countdown {seed} {numbers} {index}")
    while True:
        given = [rng.randint(1, LARGEST) for _ in range(numbers)]
        values = [(value, str(value)) for value in given]
        while len(values) > 1:
            (a, x), (b, y) = (values.pop(rng.randrange(len(values))) for _ in range(2))
            options = [(a + b, f"({x} + {y})"), (a * b, f"({x} * {y})")]
            options += [(a - b, f"({x} - {y})")] if a > b else []
            options += [(a // b, f"({x} / {y})")] if a % b == 0 else []
            values.append(rng.choice(options))
        ((target, solution),) = values
        if 10 <= target <= 100:
            return {"nums": given, "target": target, "solution": solution}
