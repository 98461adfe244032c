"""Benchmarks with options to choose from, as records; see `evals.tasks.mathematics`."""

from __future__ import annotations

from evals.tasks.benchmark import LETTER, Benchmark
from evals.tasks.rows import Hub, Row


def _gpqa(number: int, row: Row) -> Row:
    """The right option first, as published; labels to group by, and nothing that could be quoted.

    Rows of another form are left alone.
    """
    if "Correct Answer" not in row:
        return row
    options = [row["Correct Answer"], *(row[f"Incorrect Answer {i}"] for i in (1, 2, 3))]
    return {
        "id": row.get("Record ID", f"gpqa-{number + 1}"),
        "question": str(row["Question"]).strip(),
        "options": [str(option).strip() for option in options],
        "answer": "A",
        "domain": row.get("High-level domain"),
        "subdomain": row.get("Subdomain"),
    }


def _given(number: int, row: Row) -> Row:
    """What is given stands before what is asked."""
    del number
    if row.get("given_info"):
        row = {**row, "question": f"{row['given_info']}\n\n{row['question']}"}
    return row


gpqa_diamond = Benchmark(
    name="gpqa_diamond",
    about="GPQA-Diamond (arXiv:2311.12022): graduate-level questions of science, four options.",
    hub=Hub(
        "Idavidrein/gpqa",
        "gpqa_diamond",
        "train",
        "633f5ee89ab8ad4522a9f850766b73f62147ffdd",
        gated=True,
    ),
    problems=198,
    licence="CC BY 4.0",
    prompt=LETTER,
    answers="choice",
    adapt=_gpqa,
    shuffle=0,
    private=True,
    note="its authors ask not to show its questions where they could be crawled",
)

mmlu_pro = Benchmark(
    name="mmlu_pro",
    about="MMLU-Pro (arXiv:2406.01574): questions of fourteen subjects, up to ten options.",
    hub=Hub("TIGER-Lab/MMLU-Pro", None, "test", "527feea0afed1de15a8c115abf7be4c912123315"),
    problems=12032,
    licence="MIT",
    prompt=LETTER,
    answers="choice",
    fields={"id": "question_id"},
)

counterbench = Benchmark(
    name="counterbench",
    about="CounterBench (arXiv:2502.11008): counterfactual questions of causal graphs, yes or no.",
    hub=Hub("CounterBench/CounterBench", None, "train"),
    problems=1000,
    licence="unknown",
    prompt=LETTER,
    answers={"kind": "choice", "options": ["Yes", "No"]},
    fields={"id": "question_id"},
    adapt=_given,
    note="the name of its split is a guess; load a file of it with path where that is wrong",
)
