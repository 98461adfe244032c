"""Anyone's own problems, from a file."""

from __future__ import annotations

from pathlib import Path

from evals.tasks.loading import Fields, Task, load
from reasoning.answers import after_answer_is, last_math, last_number

PROMPT = (
    "{question}\n\nSolve the problem step by step, with a blank line between steps. "
    "End with the final answer within \\boxed{}."
)


def jsonl(
    *,
    path: str | Path,
    prompt: str = PROMPT,
    system: str | None = None,
    limit: int | None = None,
    id_field: str = "id",
    question_field: str = "question",
    answer_field: str = "answer",
) -> Task:
    """Problems from a .jsonl, .json or .csv file (or .gz of these) with question and answer.

    Rows without an id are named by their place, from 1; fields not named here are kept as `meta`.
    prompt: the user message around {question}. limit: the first problems only.
    """
    return load(
        "jsonl",
        path=path,
        prompt=prompt,
        system=system,
        limit=limit,
        fallback=stated,
        fields=Fields(id_field, question_field, answer_field),
    )


def stated(text: str) -> str | None:
    """What follows "the answer is", else the last formula, else the last number."""
    return after_answer_is(text) or last_math(text) or last_number(text)
