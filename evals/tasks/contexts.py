"""The contexts of another task, to be thought about before anybody asks (arXiv:2504.13171)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from evals.tasks.loading import Task
from reasoning.answers.text import Text
from reasoning.errors import TaskError
from reasoning.problem import Problem
from reasoning.runs import names

ABOUT = "contexts"
"""What `meta["about"]` of these problems says, by which `reasoning gather` knows them."""


def contexts(
    *, task: str | dict[str, Any], field: str = "context", limit: int | None = None
) -> Task:
    """The contexts of another task, each once, however many questions are asked about it.

    task: a name, or a mapping as in a recipe. field: what its rows call the context. limit: the
    first contexts only. Nothing of a question gets in: a context that holds one is refused. There
    is no right answer; searcher `study` writes notes, and `sleep_time` reads them with questions.
    """
    inner: Task = names.build("task", task)
    asked: dict[str, list[Problem]] = {}
    for problem in inner.problems:
        context = problem.meta.get(field)
        if not isinstance(context, str) or not context.strip():
            raise TaskError(
                f"contexts: problem {problem.id!r} of {inner.name} has no text in {field!r}, but "
                f"{', '.join(problem.meta) or 'no more fields'}: say which it is with field"
            )
        asked.setdefault(context, []).append(problem)
    for context, problems in asked.items():
        if known := [p for p in problems if p.question.strip() in context]:
            raise TaskError(
                f"contexts: the question of problem {known[0].id!r} stands in its own {field}: "
                "what is thought about beforehand must not hold what is asked"
            )
    found = [
        Problem(
            id=f"context-{i}",
            question=context,
            meta={"about": ABOUT, "questions": len(problems)},
            answers=Text(),
        )
        for i, (context, problems) in enumerate(asked.items(), start=1)
    ]
    return replace(
        inner,
        name=f"contexts-{inner.name}",
        problems=found[:limit],
        source=f"{inner.source}, its {field}",
        avg_at_n=False,
    )
