"""The KoLMogorov test (arXiv:2503.13992): write a short program that prints the given data.

Its own data (text, genes, sound) are not on the hub and load with `path`; what is generated here is
like its synthetic part: data that a short program of ours has made, so that a short one exists.
Problems depend on (index, seed, size) alone.
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
    "{question}\n\nThink step by step, with a blank line between steps. End with the whole program "
    "in Python in one fenced block. The shorter it is, the better."
)

BEGIN = (
    "[({a} + {b} * i) % 256 for i in range({n})]",
    "[i * i % {m} for i in range({n})]",
    "[({a}, {b}, {m})[i % 3] for i in range({n})]",
    "[sum(range(i)) % {m} for i in range({n})]",
    "[{b} ** i % {m} for i in range({n})]",
)
CHANGE = (
    "{x}[::-1]",
    "sorted({x})",
    "[(v + {a}) % 256 for v in {x}]",
    "[v ^ {a} for v in {x}]",
    "[v * {b} % 256 for v in {x}]",
)
"""Expressions of Python, one within another; what they make are bytes."""


def kolmogorov(
    *,
    path: str | Path | None = None,
    n: Annotated[int, Field(ge=1, le=MOST)] = 200,
    size: Annotated[int, Field(ge=8, le=4096)] = 64,
    seed: int = 0,
    prompt: Template = PROMPT,
    system: str | None = None,
    limit: int | None = None,
    answers: Kind = "compression",
    where: dict[str, object] | None = None,
) -> Task:
    """Write a short program that prints given bytes: `n` generated problems, or a file of them.

    path: rows with `data`, a list of bytes, in place of generated ones. size: bytes a problem.
    prompt, system, limit, where: as in task jsonl. `rate` in the summary is the length of programs
    by that of the data, 1 for those that do not print it.
    """
    asked = Asked(
        path=path, prompt=prompt, system=system, limit=limit, answers=answers, where=where
    )
    if path is not None:
        return load("kolmogorov", asked, adapt=_adapted)
    rows = [_row(i, seed, size) for i in range(n)]
    digest = hashlib.sha256("\n".join(str(row) for row in rows).encode()).hexdigest()
    source = f"kolmogorov of {size} bytes, seed {seed}, generated, sha256:{digest}"
    return made_here("kolmogorov", asked, rows, source, adapt=_adapted)


def _adapted(number: int, row: Row) -> Row:
    """A row with its question."""
    data = row.get("data")
    if not isinstance(data, list):
        raise TaskError(f"a row has data, a list of bytes, not {', '.join(map(repr, row))}")
    question = (
        f"Write a program that prints these {len(data)} numbers in this order, with blanks between "
        f"them:\n\n{' '.join(map(str, data))}"
    )
    return {"id": f"kolmogorov-{number}", "question": question, **row}


def _row(index: int, seed: int, size: int) -> Row:
    """Data that is not all one number, and the expression that made it."""
    rng = Random(f"kolmogorov {seed} {size} {index}")
    while True:
        made = rng.choice(BEGIN).format(**_numbers(rng), n=size)
        for change in rng.sample(CHANGE, rng.randint(0, 2)):
            made = change.format(**_numbers(rng), x=made)
        data = eval(made, {"__builtins__": {"range": range, "sorted": sorted, "sum": sum}})
        if len(set(data)) > 2:
            return {"data": data, "solution": f"print(*{made})"}


def _numbers(rng: Random) -> dict[str, int]:
    return {"a": rng.randint(1, 99), "b": rng.choice((3, 5, 7, 9)), "m": rng.choice((97, 251))}
