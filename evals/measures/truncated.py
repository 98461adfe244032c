"""Accuracy against thinking cut short, when answers settle (Hou et al., 2025, arXiv:2501.11651),
and how much right thoughts are left behind (Wang et al., 2025, arXiv:2501.18585)."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np

from evals.measures.finding import Cell, Chart, Finding, NotMeasuredError, mean
from evals.measures.stored import Stored, described
from evals.report.load import StoredStrategy
from evals.statistics.intervals import accuracy, column_means

MEANS = (
    "Accuracy after so many tokens of thinking; `settled at`: the budget from which the answer "
    "never changes, which is what a perfect rule for stopping would spend. Underthinking: of "
    "wrong answers, the share of tokens spent after a cut thought would have given the right "
    "one."
)
NOT = (
    "`settled at` and its saving are known only afterwards: bounds for a rule, not a rule. Both "
    "are as coarse as the budgets that were run, and take the thought of each budget for the "
    "beginning of the longest one, which holds where a seed repeats what a model says."
)


def settled_at(budgets: Sequence[float], answers: Sequence[Hashable | None]) -> float:
    """The first of rising `budgets` from which all answers are the last one.

    Raises ValueError for budgets that do not rise, or not as many answers.
    """
    if len(budgets) != len(answers) or not len(budgets) or sorted(set(budgets)) != list(budgets):
        raise ValueError(f"an answer for each of rising budgets is needed, got {list(budgets)}")
    place = len(answers) - 1
    while place and answers[place - 1] == answers[-1]:
        place -= 1
    return budgets[place]


def underthinking(first_right: float | None, total: float) -> float:
    """1 - That / T of a wrong response: That tokens led to a right thought, T were spent.

    0 if no thought was right, or only at the end.
    """
    if total <= 0:
        raise ValueError(f"a response has tokens, got {total}")
    return 0.0 if first_right is None else max(0.0, 1 - first_right / total)


def measure(stored: Stored) -> Finding:
    curve = _curve(stored)
    budgets = [tokens for tokens, _ in curve]
    longest = curve[-1][1]
    known = [p for p, row in longest.rows.items() if all(_graded(s, p) for _, s in curve)]
    if not known or all(row.correct is None for row in longest.rows.values()):
        raise NotMeasuredError("no problem has a graded answer at every budget")
    right = np.array([[bool(s.rows[p].correct) for _, s in curve] for p in known], dtype=float)
    keys = [[_key(s, p) for _, s in curve] for p in known]
    agree = [[float(key == row[-1]) for key in row] for row in keys]
    spent = [longest.rows[p].usage.get("generated_tokens", 0.0) for p in known]
    settled = [min(settled_at(budgets, row), most) for row, most in zip(keys, spent, strict=True)]
    values, agreed = column_means(right), column_means(agree)
    rows: list[tuple[Cell, ...]] = [
        (f"{b:,.0f} tokens", v, a) for b, v, a in zip(budgets, values, agreed, strict=True)
    ]
    at, saved = mean(settled), 1 - float(np.sum(settled)) / max(1.0, float(np.sum(spent)))
    rows.append(("settled at, tokens", at, None))
    wrong = [i for i in range(len(known)) if not right[i, -1] and spent[i] > 0]
    if wrong:
        scores = [underthinking(_first(budgets, right[i]), spent[i]) for i in wrong]
        rows.append((f"underthinking, {len(wrong)} wrong answers", accuracy(scores), None))
    points = [(float(b), v) for b, v in zip(budgets, values, strict=True)]
    return Finding(
        f"Answers settle after {at.value:,.0f} ({at.low:,.0f} to {at.high:,.0f}) tokens of "
        f"thinking on average: a perfect rule for stopping would save at most {saved:.0%} of the "
        f"{np.mean(spent):,.0f} tokens, on {len(known)} problems.",
        ("thinking", "value", "agrees with the last"),
        rows,
        chart=Chart("tokens of thinking", "accuracy", {longest.family: points}),
    )


def _curve(stored: Stored) -> list[tuple[float, StoredStrategy]]:
    """The strategies that differ in the tokens of thinking only, by these."""
    found: dict[float, StoredStrategy] = {}
    for strategy in stored.runs.strategies:
        entry = described(strategy)
        tokens: Any = (entry.get("params") or {}).get("tokens")
        first = strategy.run is stored.runs.runs[0]
        cut = entry.get("searcher") == "truncated_answer" and isinstance(tokens, int | float)
        if first and cut:
            found.setdefault(float(tokens), strategy)
    if len(found) < 2:
        raise NotMeasuredError(
            "this needs `{searcher: truncated_answer, tokens: [0, 256, 1024, ...]}` in the recipe"
        )
    return sorted(found.items())


def _graded(strategy: StoredStrategy, problem: str) -> bool:
    return problem in strategy.rows and strategy.rows[problem].correct is not None


def _key(strategy: StoredStrategy, problem: str) -> str | None:
    """What the answer is told apart by."""
    found = strategy.run.result(strategy.rows[problem]).get("candidates") or [{}]
    key = found[-1].get("key")
    return None if key is None else str(key)


def _first(budgets: Sequence[float], right: Sequence[float]) -> float | None:
    return next((b for b, r in zip(budgets, right, strict=True) if r), None)
