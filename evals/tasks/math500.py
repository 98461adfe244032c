"""MATH-500: the held-out competition problems of Lightman et al., 2023 (arXiv:2305.20050)."""

from __future__ import annotations

from pathlib import Path

from evals.tasks.loading import Hub, Row, Task, load
from reasoning.answers import after_answer_is, last_math

PROMPT = (
    "{question}\n\nSolve the problem step by step, with a blank line between steps. "
    "End with the final answer within \\boxed{}."
)
HUB = Hub("HuggingFaceH4/MATH-500", None, "test", "6e4ed1a2a79af7d8630a6b768ec859cb5af4d3be")


def math500(
    *,
    path: str | Path | None = None,
    prompt: str = PROMPT,
    system: str | None = None,
    limit: int | None = None,
    revision: str = HUB.revision,
) -> Task:
    """MATH-500, 500 competition problems with a level (1 to 5) and a subject.

    path: a local file instead of the hub's. prompt: the user message around {question}. limit: the
    first problems only.
    """
    return load(
        "math500",
        path=path,
        hub=HUB,
        revision=revision,
        prompt=prompt,
        system=system,
        limit=limit,
        fallback=stated,
        adapt=_row,
    )


def stated(text: str) -> str | None:
    """What follows "the answer is", else the last formula."""
    return after_answer_is(text) or last_math(text)


def _row(number: int, row: Row) -> Row:
    """The source calls the question `problem`; its ids look like test/algebra/2584.json."""
    row = dict(row)
    if "question" not in row and "problem" in row:
        row["question"] = row.pop("problem")
    if "id" not in row and "unique_id" in row:
        where = str(row["unique_id"]).removeprefix("test/").removesuffix(".json")
        row["id"] = f"math500-{where.replace('/', '-')}"
    return {"id": f"math500-{number}", **row}
