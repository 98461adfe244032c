"""What to fill a context with under a limit of tokens (Yue et al., 2024, arXiv:2410.04343)."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from evals.measures.finding import Cell, Finding, NotMeasuredError
from evals.measures.stored import Stored, described
from evals.report.load import StoredStrategy
from evals.report.numbers import grades
from evals.statistics.allocation import Law, choose, fit
from evals.statistics.intervals import Floats, accuracy

MEANS = (
    "Which of the settings that were run (documents, examples and steps of drag and iterdrag, or "
    "other numbers of a searcher) is best under each limit of tokens a problem, read and written, "
    "by the law logit P = sum of w log(number) + c, which takes the noise out of single accuracies."
)
NOT = (
    "The law is of this model and these problems, and chooses among the settings that were run: "
    "none is invented. It knows no optimum in between: where more of something hurts "
    "sooner or later it says more, or none. The share of the best is judged on the other half of "
    "the problems, and the best there was chosen on that very half, so that less than 1 is usual."
)


class Grid(NamedTuple):
    """Settings [S, F] of the numbers `names` [F] of one searcher, and what each came to.

    `right` [S, N] is 0 or 1 a problem, `tokens` [S] a problem's mean, prompts included.
    """

    names: tuple[str, ...]
    strategies: list[StoredStrategy]
    settings: Floats
    right: Floats
    tokens: list[float]

    def law(self, problems: Any = slice(None)) -> Law:
        right = self.right[:, problems]
        return fit(self.settings, right.mean(axis=1), right.shape[1])

    def told(self, i: int) -> str:
        return ", ".join(f"{n}={x:g}" for n, x in zip(self.names, self.settings[i], strict=True))


def measure(stored: Stored) -> Finding:
    grid = _grid(stored)
    try:
        law = grid.law()
    except ValueError as error:
        raise NotMeasuredError(f"no law can be fitted: {error}") from error
    says = law(grid.settings)
    rows: list[tuple[Cell, ...]] = []
    for limit in sorted(set(grid.tokens)):
        i = choose(says.tolist(), grid.tokens, limit)
        best = choose(grid.right.mean(axis=1).tolist(), grid.tokens, limit)
        own = accuracy(grid.right[i].tolist())
        rows.append((limit, grid.told(i), float(says[i]), own, grid.told(best)))
    weights = ", ".join(
        f"{w:+z.2f} log {f'(1 + {name})' if shift else name}"
        for w, name, shift in zip(law.a, grid.names, law.shifted, strict=True)
    )
    share = _of_the_best(grid)
    reach = (
        "no setting is right on any problem that it was judged on"
        if share is None
        else f"its choices reach {share:.1%} of the best accuracy under each limit, on problems it "
        "has not seen"
    )
    fits = "" if math.isnan(law.r2) else f", R2 {law.r2:.2f}"
    return Finding(
        f"With {max(grid.tokens):,.0f} tokens a problem the law chooses {rows[-1][1]}; {reach}.",
        ("tokens, at most", "choice", "by the law", "accuracy", "best as measured"),
        rows,
        (f"logit P = {weights} {law.c:+z.2f}{fits} over {len(says)} settings",),
    )


def _of_the_best(grid: Grid) -> float | None:
    """Accuracy of the choices of one half of the problems over that of the best ones on the other,
    summed over limits and both halves; None where nothing is right."""
    mine = best = 0.0
    for half in (0, 1):
        fitted, judged = slice(half, None, 2), slice(1 - half, None, 2)
        says, right = grid.law(fitted)(grid.settings), grid.right[:, judged].mean(axis=1)
        for limit in set(grid.tokens):
            mine += right[choose(says.tolist(), grid.tokens, limit)]
            best += right[choose(right.tolist(), grid.tokens, limit)]
    return mine / best if best else None


def _grid(stored: Stored) -> Grid:
    """The strategies of one searcher that differ in numbers alone; of several such, the most."""
    groups: dict[Any, list[tuple[Mapping[str, float], StoredStrategy]]] = defaultdict(list)
    for strategy in stored.runs.strategies:
        entry = described(strategy)
        params = entry.get("params") or {}
        numbers = {k: float(v) for k, v in params.items() if _is_number(v)}
        rest = {k: v for k, v in params.items() if k not in numbers}
        key = (entry.get("searcher"), entry.get("aggregator"), repr(rest), tuple(sorted(numbers)))
        groups[key].append((numbers, strategy))
    group = max(groups.values(), key=len, default=[])
    first = group[0][0] if group else {}
    names = tuple(n for n in first if len({numbers[n] for numbers, _ in group}) > 1)
    shared = stored.runs.common
    if not names or len(shared) < 4:
        raise NotMeasuredError(
            "this needs settings of one searcher that differ in numbers, say {searcher: program, "
            "program: drag, k: [1, 2, 4]}, on 4 common problems or more"
        )
    strategies = [strategy for _, strategy in group]
    return Grid(
        names,
        strategies,
        np.array([[numbers[n] for n in names] for numbers, _ in group]),
        np.array([grades(s, shared) for s in strategies], dtype=float),
        [_tokens(s, shared) for s in strategies],
    )


def _tokens(strategy: StoredStrategy, problems: Sequence[str]) -> float:
    """What a problem reads and writes in the mean, cached prompts included."""
    used = (strategy.rows[p].usage for p in problems)
    return float(np.mean([u.get("prompt_tokens", 0) + u.get("generated_tokens", 0) for u in used]))


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value >= 0
