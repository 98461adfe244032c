"""GSM8K: grade-school word problems (Cobbe et al., 2021, arXiv:2110.14168). Test: 1,319."""

from __future__ import annotations

from pathlib import Path

from evals.tasks.loading import Kind, Task, load
from evals.tasks.prompts import Template
from evals.tasks.rows import Hub, Row
from reasoning.answers import FallbackName

PROMPT = (
    "{question}\n\nSolve the problem step by step, with a blank line between steps. "
    "End with the answer, a single number, within \\boxed{}."
)
HUB = Hub("openai/gsm8k", "main", "test", "740312add88f781978c0658806c59bc2815b9866")


def gsm8k(
    *,
    path: str | Path | None = None,
    prompt: Template = PROMPT,
    system: str | None = None,
    limit: int | None = None,
    revision: str = HUB.revision,
    answers: Kind = "math",
    fallback: FallbackName | None = None,
) -> Task:
    """GSM8K, 1,319 grade-school word problems; answers are whole numbers.

    path: a local file instead of the hub's; its answers may be whole solutions with a `####` line.
    prompt, system, limit, answers, fallback: as in task jsonl.
    """
    return load(
        "gsm8k",
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
    )


def _row(number: int, row: Row) -> Row:
    """The answer is what follows `####`, without thousands commas."""
    row = {"id": f"gsm8k-test-{number}", **row}
    solution = row.get("answer")
    if isinstance(solution, str) and "####" in solution:
        row |= {"solution": solution, "answer": solution.rpartition("####")[2]}
    if isinstance(row.get("answer"), str):
        row["answer"] = row["answer"].strip().replace(",", "")
    return row
