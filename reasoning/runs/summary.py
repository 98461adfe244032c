"""The numbers of a run, and what a reader of them has to know, from what is stored of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from reasoning.runs import names, shared
from reasoning.runs.manifest import met, served, told_of
from reasoning.runs.plan import Plan
from reasoning.runs.store import Store

LOST = {"wasted_tokens": "generated tokens", "verifier_tokens": "verifier tokens"}
"""What is spent twice, by its name in `Usage`, where a search is interrupted and begun again."""


def summarise(todo: Plan, store: Store) -> dict[str, Any]:
    """The numbers of the run from what is stored of it."""
    part = [f"only shard {todo.shard} of the problems"] if todo.shard else []
    told = {**told_of(todo), "problem_ids": [p.id for p in todo.problems]}
    return summary_of(told, [*todo.notes, *part], store)


def summary_of(told: Mapping[str, Any], notes: Sequence[str], store: Store) -> dict[str, Any]:
    """The numbers of what `told` says was run (see `told_of`), from what is stored of it."""
    evals: Any = names.ours("evals.statistics.summary")
    summary: dict[str, Any] = evals.summarise(
        store.results(),
        strategies=told["strategies"],
        problem_ids=told["problem_ids"],
        avg_at_n=told["avg_at_n"],
    )
    lost = {name: store.lost(name) for name in LOST}
    spent = " and ".join(f"{lost[name]:,} {what}" for name, what in LOST.items() if lost[name])
    more = [f"interruptions cost up to {spent} more, which are in no row"] if spent else []
    if killed := store.lost("killed"):
        who = "a run of it was killed" if killed == 1 else f"{killed} runs of it were killed"
        more.append(f"{who}, and what {'that' if killed == 1 else 'they'} lost is not known")
    if lost_workers := store.lost("workers"):
        more.append(
            f"workers were lost {lost_workers} time(s), and what their calls in flight had spent "
            "is not known"
        )
    if guessed := sum(s.get("estimated_tokens", 0) for s in summary["strategies"]):
        more.append(f"{guessed:,} tokens, of prompts or answers, are estimated: nobody counts them")
    if untold := sum(s.get("unknown_prompts", 0) for s in summary["strategies"]):
        more.append(
            f"{untold:,} calls were cancelled or failed before anybody said how long their prompts "
            "are: these are in no count"
        )
    more += shared.told(summary["strategies"])
    notes = list(dict.fromkeys((*notes, *met(store), *more)))
    return {"name": told["name"], "task": told["task"], "notes": notes, **served(store), **summary}
