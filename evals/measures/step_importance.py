"""Which steps tell most: the surprisal of their first tokens (ASAP; 2025, arXiv:2508.05988)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from evals.measures.finding import Cell, Finding, NotMeasuredError, mean
from evals.measures.stored import Stored
from evals.report.load import StoredStrategy
from evals.statistics.intervals import accuracy
from reasoning.backends.formats import run_folder
from reasoning.runs.store import Store
from reasoning.tree import Node

MEANS = (
    "How surprising the first token of a step is, in nats, of right and of wrong solutions, and "
    "how much of the surprise stays if the least surprising steps go until half of the tokens are "
    "left: near 1, half of the text says little; near 0.5, every step matters alike."
)
NOT = (
    "Surprise is no proof of importance: that what is left answers as well has to be run (searcher "
    "`compressed`, `by: first_token`). What begins a step depends on where the recipe cuts. The "
    "first step and the last are never taken away."
)


class Step(NamedTuple):
    """The surprisal of its first token, in nats, and its tokens."""

    surprisal: float
    tokens: int


def kept(steps: Sequence[Step], budget: int) -> list[int]:
    """The places of the steps that stay when the least surprising go until `budget` tokens are
    left; of equals the earlier goes. The first and the last always stay."""
    left = set(range(len(steps)))
    size = sum(step.tokens for step in steps)
    for i in sorted(range(1, len(steps) - 1), key=lambda i: (steps[i].surprisal, i)):
        if size <= budget:
            break
        left.discard(i)
        size -= steps[i].tokens
    return sorted(left)


def share_kept(steps: Sequence[Step]) -> float:
    """Of all surprisal, what stays with half of the tokens; 1 where nothing surprises."""
    total = sum(step.surprisal for step in steps)
    left = kept(steps, sum(step.tokens for step in steps) // 2)
    return sum(steps[i].surprisal for i in left) / total if total > 0 else 1.0


def measure(stored: Stored) -> Finding:
    rows: list[tuple[Cell, ...]] = []
    for strategy in stored.runs.strategies:
        found = [
            (steps, row.correct)
            for problem, row in strategy.rows.items()
            if len(steps := _steps(strategy, problem)) > 2
        ]
        if not found:
            continue
        shares = accuracy([min(1.0, share_kept(steps)) for steps, _ in found])
        right, wrong = (
            [float(np.mean([s.surprisal for s in steps])) for steps, ok in found if ok is which]
            for which in (True, False)
        )
        rows.append(
            (
                strategy.label,
                len(found),
                mean([len(steps) for steps, _ in found]),
                mean(right) if right else None,
                mean(wrong) if wrong else None,
                shares,
            )
        )
    if not rows:
        raise NotMeasuredError(
            "this needs a strategy that draws step by step (beam_search, say), of three steps or "
            "more, with log-probabilities"
        )
    return Finding(
        f"Half of the tokens, the most surprising steps, hold {rows[0][5].value:.0%} of the "  # type: ignore[union-attr]
        f"surprise of {rows[0][0]}.",
        ("strategy", "problems", "steps", "surprisal if right", "if wrong", "kept by half"),
        rows,
    )


def _steps(strategy: StoredStrategy, problem: str) -> list[Step]:
    """The drawn steps of the chosen solution; none where a probability is not known."""
    path = strategy.run.result(strategy.rows[problem]).get("node")
    if not path:
        return []
    try:
        tree = run_folder.load(Store(strategy.run.folder).tree_path(strategy.name, problem))
        nodes: Sequence[Node] = tree[path].attempt()
    except run_folder.DAMAGE:
        return []
    told = [n.sample.logprobs for n in nodes if n.sample.finish != "written"]
    if any(logprobs is None or not len(logprobs) for logprobs in told):
        return []
    return [Step(-float(logprobs[0]), len(logprobs)) for logprobs in told if logprobs is not None]
