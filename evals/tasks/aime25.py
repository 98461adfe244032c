"""AIME 2025: the thirty problems of the American Invitational Mathematics Examination I and II."""

from __future__ import annotations

from pathlib import Path

from evals.tasks.aime24 import PROMPT, integer
from evals.tasks.loading import Kind, Task, load
from evals.tasks.prompts import Template
from evals.tasks.rows import Hub, Row
from reasoning.answers import FallbackName

HUB = Hub("math-ai/aime25", None, "test", "563bb8404243c5f09de6ec262f2db674fe5bce9b")


def aime25(
    *,
    path: str | Path | None = None,
    prompt: Template = PROMPT,
    system: str | None = None,
    limit: int | None = None,
    revision: str = HUB.revision,
    answers: Kind = "math",
    fallback: FallbackName | None = None,
) -> Task:
    """AIME 2025, 30 problems whose answers are integers from 0 to 999.

    path: a local file instead of the hub's.
    prompt, system, limit, answers, fallback: as in task jsonl.
    """
    return load(
        "aime25",
        path=path,
        hub=HUB,
        revision=revision,
        prompt=prompt,
        system=system,
        limit=limit,
        answers=answers,
        fallback=fallback,
        default="last_number",
        adapt=_row,
        avg_at_n=True,
    )


def _row(number: int, row: Row) -> Row:
    """The source calls the question `problem`; its rows are I 1 to 15, then II 1 to 15."""
    row = dict(row)
    if "question" not in row and "problem" in row:
        row["question"] = row.pop("problem")
        row["id"] = f"aime25-{'I' if number < 15 else 'II'}-{number % 15 + 1:02}"
    return {"id": f"aime25-{number + 1}", **row, "answer": integer(row.get("answer"))}
