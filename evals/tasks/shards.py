"""Another task's problems in shards, in the order of their file (arXiv:2310.17623)."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Annotated, Any

from pydantic import Field

from evals.tasks.loading import Task
from reasoning.answers.text import Text
from reasoning.errors import TaskError
from reasoning.problem import Problem
from reasoning.runs import names


def shards(
    *,
    task: str | dict[str, Any],
    shards: Annotated[int, Field(ge=2)] = 50,
    gold: bool = True,
    limit: int | None = None,
) -> Task:
    """The problems of a task as texts to be read, so many shards of neighbours in the file's order.

    task: a name, or a mapping as in a recipe; without `shuffle` or `where`, or the order is not
    that of the file. shards: in how many, of two problems or more each. gold: with their right
    answers, as models have met them if they have. limit: the first problems only. Nothing is
    asked: searcher `order_likelihood` reads them, and `reasoning eval --measure contamination`
    tells whether their order is known.
    """
    inner: Task = names.build("task", task)
    given = inner.problems[:limit]
    if len(given) < 2 * shards:
        raise TaskError(
            f"shards: {inner.name} has {len(given)} problems, too few for {shards} shards of two; "
            f"ask for {max(2, len(given) // 2)} at most"
        )
    cuts = [round(i * len(given) / shards) for i in range(shards + 1)]
    found = []
    for i, (start, end) in enumerate(pairwise(cuts), start=1):
        texts = [
            p.question if p.gold is None or not gold else f"{p.question}\n{p.gold}"
            for p in given[start:end]
        ]
        found.append(
            Problem(
                id=f"shard-{i}",
                question="\n\n".join(texts),
                meta={"examples": texts, "of": len(texts)},
                answers=Text(),
            )
        )
    return replace(
        inner,
        name=f"shards-{inner.name}",
        problems=found,
        source=f"{inner.source}, {shards} shards{'' if gold else ' without answers'}",
        avg_at_n=False,
    )
