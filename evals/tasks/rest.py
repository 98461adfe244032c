"""REST: any task under stress, several of its problems in one prompt (arXiv:2507.10541)."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Annotated, Any, TypeAlias

from pydantic import Field

from evals.tasks.loading import Task
from reasoning.answers.code import Code
from reasoning.answers.several import By, Several
from reasoning.errors import TaskError
from reasoning.problem import Problem
from reasoning.runs import names

Stress: TypeAlias = Annotated[int, Field(ge=1)]

ASKS = (
    "Answer the questions above one by one, in their order, each step by step with a blank line "
    "between steps. "
)
BOXES = "Begin each with its label (Q1, Q2, ...) and end it with its answer within \\boxed{}."
BLOCKS = "Begin each with its label (Q1, Q2, ...) and end it with its program in one fenced block."


def rest(
    *,
    task: str | dict[str, Any],
    stress: Stress | Annotated[list[Stress], Field(min_length=1)] = 3,
    by: By = "order",
    once: bool = False,
    prompt: str | None = None,
    system: str | None = None,
    limit: int | None = None,
) -> Task:
    """Any task under stress: `stress` of its problems in each prompt.

    task: a name, or a mapping as in a recipe. Prompt i asks problems i+1, i+2, ... and i itself
    last, around the end, so that every problem is asked once at every position. With stress 1 it is
    the task itself; with a list of them, all of these levels (`reasoning eval --measure stress`).
    by: what answers which question, the `order` of the boxes or `labels` (Q1, Q2)
    before them. once: cut the problems into groups of `stress` instead, a prompt each, so that
    every problem is asked once (batch prompting, 2023, arXiv:2301.08721): what is said around them
    is read once a group, and a question that is not answered is not asked again. prompt: what
    follows the questions. `share` in the summary is REST's accuracy, Q1 and the like that by
    position; accuracy is of prompts that are right throughout.
    """
    inner: Task = names.build("task", task)
    given = inner.problems[:limit]
    levels = list(dict.fromkeys(stress if isinstance(stress, list) else [stress]))
    n = len(given)
    if n < max(levels):
        raise TaskError(
            f"rest: stress is {max(levels)}, and {inner.name} has {n} problems; ask fewer at once"
        )
    if levels == [1]:
        return replace(inner, problems=given)
    if once and len(levels) > 1:
        raise TaskError("rest: once asks groups of one size; give it one stress, not several")
    found = []
    for i in range(0, n, levels[0] if once else 1):
        for level in levels:
            group = given[i : i + level] if once else [given[k] for k in order(i, n, level)]
            asked = _asked(group, f"rest{level}", by, prompt, system) if level > 1 else group[0]
            place = {} if once else {"stress": level, "place": i, "around": n}
            found.append(replace(asked, meta={**asked.meta, **place}))
    told = " and ".join(map(str, levels))
    return replace(
        inner,
        name=f"rest-{inner.name}",
        problems=found,
        source=f"{inner.source}, {told} by {by}{', once' if once else ''}",
    )


def order(i: int, n: int, stress: int) -> list[int]:
    """Which of n problems prompt i asks, in order: those behind it, around the end, itself last."""
    return [*((i + j) % n for j in range(1, stress)), i]


def _asked(
    problems: list[Problem], name: str, by: By, prompt: str | None, system: str | None
) -> Problem:
    """One prompt, named after the problem that is asked last."""
    last = problems[-1]
    questions = "\n\n".join(f"Q{j}: {_question(p)}" for j, p in enumerate(problems, start=1))
    programs = isinstance(last.answers, Code)
    asks = (ASKS + (BLOCKS if programs else BOXES)) if prompt is None else prompt
    return Problem(
        id=f"{name}-{last.id}",
        question=questions,
        gold=json.dumps([p.gold for p in problems], ensure_ascii=False),
        prompt=f"{questions}\n\n{asks}",
        system=last.system if system is None else system,
        meta={"asked": [p.id for p in problems]},
        answers=Several([p.answers for p in problems], by),
    )


def _question(problem: Problem) -> str:
    """The question, and its options if it has any."""
    options = problem.answers.shows.get("options")
    return f"{problem.question}\n\n{options}" if options else problem.question
