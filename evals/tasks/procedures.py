"""Benchmarks of procedures whose every step has a right state, as records.

See `evals.tasks.mathematics`.
"""

from __future__ import annotations

from evals.tasks.benchmark import Benchmark
from evals.tasks.rows import Hub, Row

STATES = (
    "{question}\n\nWork step by step, with a blank line between steps. End with one JSON object, "
    '{"intermediate": [...], "final": ...}, that holds the intermediate states in order, without '
    "the first and the last, and the final state."
)


def _procbench(number: int, row: Row) -> Row:
    """The gold states out of their label."""
    del number
    label = row.get("label")
    if not isinstance(label, dict):
        return row
    return {**row, "intermediate": list(label["intermediate"]), "final": label["final"]}


procbench = Benchmark(
    name="procbench",
    about="ProcBench (arXiv:2410.03117): procedures of 23 kinds, all of whose states are known.",
    hub=Hub(
        "ifujisawa/procbench",
        tuple(f"task{i:02}" for i in range(1, 24)),
        "train",
        "182e5139c73a6a31a2ea42e7b7d16398e3453d4a",
    ),
    problems=5520,
    licence="CC BY 4.0",
    prompt=STATES,
    answers="states",
    fields={"question": "prompt", "id": "problem_name"},
    adapt=_procbench,
    note="answers are asked for as JSON, where the authors have a model bring them into that form",
)
