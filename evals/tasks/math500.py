"""MATH-500: the held-out competition problems of Lightman et al., 2023 (arXiv:2305.20050)."""

from __future__ import annotations

from pathlib import Path

from evals.tasks.loading import Kind, Task, load
from evals.tasks.prompts import Template
from evals.tasks.rows import Hub, Row
from reasoning.answers import FallbackName

PROMPT = (
    "{question}\n\nSolve the problem step by step, with a blank line between steps. "
    "End with the final answer within \\boxed{}."
)
HUB = Hub("HuggingFaceH4/MATH-500", None, "test", "6e4ed1a2a79af7d8630a6b768ec859cb5af4d3be")


def math500(
    *,
    path: str | Path | None = None,
    prompt: Template = PROMPT,
    system: str | None = None,
    limit: int | None = None,
    revision: str = HUB.revision,
    answers: Kind = "math",
    fallback: FallbackName | None = None,
) -> Task:
    """MATH-500, 500 competition problems with a level (1 to 5) and a subject.

    path: a local file instead of the hub's.
    prompt, system, limit, answers, fallback: as in task jsonl.
    """
    return load(
        "math500",
        path=path,
        hub=HUB,
        revision=revision,
        prompt=prompt,
        system=system,
        limit=limit,
        answers=answers,
        fallback=fallback,
        default="formula",
        adapt=_row,
    )


def _row(number: int, row: Row) -> Row:
    """The source calls the question `problem`; its ids look like test/algebra/2584.json."""
    row = dict(row)
    if "question" not in row and "problem" in row:
        row["question"] = row.pop("problem")
    if "id" not in row and "unique_id" in row:
        where = str(row["unique_id"]).removeprefix("test/").removesuffix(".json")
        row["id"] = f"math500-{where.replace('/', '-')}"
    return {"id": f"math500-{number}", **row}
