"""AIME 2024: the thirty problems of the American Invitational Mathematics Examination I and II."""

from __future__ import annotations

import re
from pathlib import Path

from evals.tasks.loading import Kind, Task, load
from evals.tasks.prompts import Template
from evals.tasks.rows import Hub, Row
from reasoning.answers import FallbackName, canonical
from reasoning.answers.quantities import measure
from reasoning.errors import TaskError

PROMPT = (
    "{question}\n\nSolve the problem step by step, with a blank line between steps. "
    "The answer is an integer from 0 to 999; end with it within \\boxed{}."
)
HUB = Hub("HuggingFaceH4/aime_2024", None, "train", "2fe88a2f1091d5048c0f36abc874fb997b3dd99a")


def aime24(
    *,
    path: str | Path | None = None,
    prompt: Template = PROMPT,
    system: str | None = None,
    limit: int | None = None,
    revision: str = HUB.revision,
    answers: Kind = "math",
    fallback: FallbackName | None = None,
) -> Task:
    """AIME 2024, 30 problems whose answers are integers from 0 to 999.

    path: a local file instead of the hub's.
    prompt, system, limit, answers, fallback: as in task jsonl.
    """
    return load(
        "aime24",
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


def integer(answer: object) -> object:
    """The answer without leading zeros and units. Raises TaskError for one no AIME problem has."""
    if answer is None:
        return None
    bare, _, _ = measure(canonical(str(answer)))  # some copies have 336^\circ
    if not re.fullmatch(r"[0-9]{1,3}", bare):
        raise TaskError(f"an AIME answer is an integer from 0 to 999, not {answer!r}")
    return int(bare)


def _row(number: int, row: Row) -> Row:
    """The source calls the question `problem`; its url says which exam and number it is."""
    row = dict(row)
    if "question" not in row and "problem" in row:
        row["question"] = row.pop("problem")
        exam = re.search(r"AIME_(I{1,2})_Problems/Problem_(\d+)", str(row.get("url")))
        if exam:
            row["id"] = f"aime24-{exam[1]}-{int(exam[2]):02}"
    return {"id": f"aime24-{number + 1}", **row, "answer": integer(row.get("answer"))}
