"""Anyone's own problems, from a file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from evals.tasks.benchmark import BOXED, LETTER, PROGRAM
from evals.tasks.loading import Asked, Fields, Kind, Task, load
from evals.tasks.prompts import Template
from evals.tasks.rows import Row
from reasoning.answers import FallbackName
from reasoning.errors import TaskError, unknown

PROMPTS: Mapping[str, str] = {
    "choice": LETTER,
    "code": PROGRAM,
    "plain": "{question}",
    "text": "{question}",
}
"""What is asked for where a recipe has no prompt, by the kind of answers; `BOXED` for the rest."""


def jsonl(
    *,
    path: str | Path,
    prompt: Template | None = None,
    system: str | None = None,
    limit: int | None = None,
    id_field: str = "id",
    question_field: str = "question",
    answer_field: str = "answer",
    fields: dict[str, str] | None = None,
    answers: Kind = "math",
    fallback: FallbackName | None = None,
    where: dict[str, object] | None = None,
    shuffle: int | None = None,
    private: bool = False,
) -> Task:
    """Problems from a .jsonl, .json, .csv or .parquet file with question and answer.

    Rows without an id are named by their place, from 1; fields not named here are kept as `meta`.
    prompt: the user message, with any field of the rows in braces ({question}, {topic}); or a list
    of messages {role, content} and turns {user, assistant} that ends with a text of the user's.
    system: the system message, with fields in braces too. limit: the first problems only. fields:
    what the rows call what a kind of answers reads, say {tests: asserts, options: alternatives}.
    answers: math, choice, code, exact, number, plain or text, or {kind: number, decimals: 2}.
    fallback: how a finished text with neither a box nor a #### line is searched. where: which rows,
    {field: value}, [values] or {from: ..., to: ...}. shuffle: the seed by which the options of each
    problem stand in another order. private: store no questions with a run.
    """
    name = answers.get("kind", answers.get("name")) if isinstance(answers, dict) else answers
    asked = Asked(
        path=path,
        prompt=PROMPTS.get(str(name), BOXED) if prompt is None else prompt,
        system=system,
        limit=limit,
        answers=answers,
        fallback=fallback,
        default="stated",
        where=where,
        shuffle=shuffle,
        private=private,
    )

    def adapt(number: int, row: Row) -> Row:
        """The row with what else it is read by under our names, too."""
        del number
        for theirs in (fields or {}).values():
            if theirs not in row:
                raise TaskError(f"fields: {unknown('field of the rows', theirs, row)}")
        return {**row, **{ours: row[theirs] for ours, theirs in (fields or {}).items()}}

    own = Fields(id_field, question_field, answer_field)
    return load("jsonl", asked, adapt=adapt, fields=own)
