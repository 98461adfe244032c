"""Uncertainty by what an answer gains from another one (Johnson et al., 2024, arXiv:2402.08733)."""

from __future__ import annotations

from evals.measures.finding import Cell, Finding, NotMeasuredError, mean
from evals.measures.stored import Stored
from evals.statistics.calibration import auroc_interval

MEANS = (
    "How much likelier a sample becomes once another one is shown as somebody's answer, in nats: "
    "near 0 where a model knows. AUROC: how well little gain tells right answers from wrong ones."
)
NOT = (
    "Without training on pairs it measures how suggestible a model is, too: its size means nothing "
    "between models or prompts, only its order between problems. An AUROC near 0.5 says that it "
    "does not help here; try it on labelled problems before it is believed on others."
)


def measure(stored: Stored) -> Finding:
    rows: list[tuple[Cell, ...]] = []
    for strategy in stored.runs.strategies:
        known = [
            (float(told["cheating"]), float(told["cheating_per_token"]), row.correct)
            for row in strategy.rows.values()
            if "cheating" in (told := strategy.run.result(row).get("measures") or {})
            and row.correct is not None
        ]
        if not known:
            continue
        gains, per_token, right = map(list, zip(*known, strict=True))
        ranks = auroc_interval([-gain for gain in per_token], right)
        rows.append((strategy.label, len(known), mean(gains), mean(per_token), ranks))
    if not rows:
        raise NotMeasuredError("this needs a strategy `{searcher: self_cheating}` with grades")
    return Finding(
        f"{rows[0][0]}: {rows[0][1]} problems, of which the gain from another's answer "
        f"{'cannot be ranked (all right, or all wrong)' if rows[0][4] is None else 'is ranked'}.",
        ("strategy", "problems", "gain, nats", "a token", "AUROC"),
        rows,
    )
