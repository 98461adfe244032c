"""Anyone's own problems, from a file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from evals.tasks.loading import Fields, Kind, Task, load
from evals.tasks.prompts import Template
from reasoning.answers import FallbackName

PROMPT = (
    "{question}\n\nSolve the problem step by step, with a blank line between steps. "
    "End with the final answer within \\boxed{}."
)

PROMPTS: Mapping[str, str] = {
    "choice": "{question}\n\n{options}\n\nThink step by step, with a blank line between steps. "
    "End with the letter of the right option within \\boxed{}.",
    "code": "{question}\n\nWrite a program in Python. End with all of it in one fenced block.",
    "plain": "{question}",
    "text": "{question}",
}
"""What is asked for where a recipe has no prompt, by the kind of answers; `PROMPT` for the rest."""


def jsonl(
    *,
    path: str | Path,
    prompt: Template | None = None,
    system: str | None = None,
    limit: int | None = None,
    id_field: str = "id",
    question_field: str = "question",
    answer_field: str = "answer",
    answers: Kind = "math",
    fallback: FallbackName | None = None,
) -> Task:
    """Problems from a .jsonl, .json or .csv file (or .gz of these) with question and answer.

    Rows without an id are named by their place, from 1; fields not named here are kept as `meta`.
    prompt: the user message, with any field of the rows in braces ({question}, {topic}); or a list
    of messages {role, content} and turns {user, assistant} that ends with a text of the user's.
    system: the system message, with fields in braces too. limit: the first problems only. answers:
    math, choice, code, exact, number, plain or text, or {kind: number, decimals: 2}. fallback: how
    a finished text with neither a box nor a #### line is searched.
    """
    name = answers.get("kind", answers.get("name")) if isinstance(answers, dict) else answers
    return load(
        "jsonl",
        path=path,
        prompt=PROMPTS.get(str(name), PROMPT) if prompt is None else prompt,
        system=system,
        limit=limit,
        answers=answers,
        fallback=fallback,
        default="stated",
        fields=Fields(id_field, question_field, answer_field),
    )
