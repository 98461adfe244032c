"""What a judge's verdicts say of strategies (2025, arXiv:2505.21972)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from evals.measures.finding import Cell, Finding, NotMeasuredError, dots, resampled
from evals.measures.stored import Stored
from evals.report.load import StoredStrategy
from evals.statistics.intervals import Floats, Interval, accuracy, quantile_interval

MEANS = (
    "How good strategies look to the verifier (score 0.5 or more is a yes), what that means once "
    "its false positives and negatives are taken off, pi = (o - FPR) / (TPR - FPR), and between "
    "which ranks each lies if its error rates are not known at all: if the judge is believed by so "
    "many verdicts (kappa), and if it may err for each strategy in another way, its own say."
)
NOT = (
    "The correction holds if the verifier errs alike for all strategies: one that picks answers by "
    "the verifier's own score looks better than it is, which the graded accuracy beside it shows. "
    "Of verdicts with three levels or more neither sizes nor ranks can be identified."
)

YES = 0.5
KAPPAS = (1.0, 10.0, 100.0)
"""How much the prior believes the judge: so many verdicts that agree with the truth, a level."""


def corrected(observed: float, tpr: float, fpr: float) -> float:
    """The share of right answers behind a share `observed` of yes verdicts; NaN if TPR <= FPR.

    o = FPR + pi (TPR - FPR); what noise puts outside [0, 1] is put to its ends.
    """
    return min(1.0, max(0.0, (observed - fpr) / (tpr - fpr))) if tpr > fpr else float("nan")


def ranks(values: Sequence[float] | Floats) -> Floats:
    """1 for the highest; equal values share the mean of their ranks."""
    x = np.asarray(values, dtype=float)
    above, alike = (x > x[:, None]).sum(axis=1), (x == x[:, None]).sum(axis=1)
    return np.asarray(1 + above + (alike - 1) / 2, dtype=float)


def levels(
    counts: NDArray[np.int64],
    kappa: float,
    *,
    partial: bool = False,
    draws: int = 1_000,
    warm: int = 200,
    seed: int = 0,
) -> Floats:
    """Draws [draws, strategies] of mean true levels, from `counts` [strategies, levels] observed.

    True levels pi_c ~ Dirichlet(1), rows of the judge's confusion matrix ~ Dirichlet(1) with
    `kappa` more on the diagonal, both unknown: Gibbs sampling over the true level of each verdict.
    A `partial` judge has a matrix for each strategy, so that it may favour one; else one for all.
    """
    counts = np.asarray(counts)
    if counts.ndim != 2 or counts.shape[1] < 2 or np.any(counts < 0) or kappa < 0:
        raise ValueError(f"counts must be [strategies, two levels or more], got {counts.shape}")
    rng = np.random.default_rng(seed)
    strategies, n = counts.shape
    prior = np.ones((n, n)) + kappa * np.eye(n)
    judge = np.tile(prior / prior.sum(axis=1, keepdims=True), (strategies, 1, 1))
    share = (counts + 1) / (counts + 1).sum(axis=1, keepdims=True)
    found = np.empty((draws, strategies))
    for step in range(-warm, draws):
        odds = share[:, :, None] * judge  # [strategies, true, observed]
        odds /= odds.sum(axis=1, keepdims=True)
        true = rng.multinomial(counts, odds.transpose(0, 2, 1))  # [strategies, observed, true]
        share = _dirichlet(rng, 1.0 + true.sum(axis=1))
        seen = true.transpose(0, 2, 1)  # [strategies, true, observed]
        pooled = seen if partial else seen.sum(axis=0, keepdims=True)
        judge = np.broadcast_to(_dirichlet(rng, prior + pooled), judge.shape)
        if step >= 0:
            found[step] = share @ np.arange(n)
    return found


def _dirichlet(rng: np.random.Generator, parameters: Floats) -> Floats:
    drawn = rng.standard_gamma(parameters)
    return np.asarray(drawn / drawn.sum(axis=-1, keepdims=True), dtype=float)


def measure(stored: Stored) -> Finding:
    problems = stored.runs.common
    verdicts = {
        s.label: found
        for s in stored.runs.strategies
        if (found := _verdicts(s, problems)) is not None
    }
    if len(verdicts) < 2:
        raise NotMeasuredError(
            "this needs two strategies or more whose chosen answers a verifier has scored in [0, 1]"
        )
    table = np.array(list(verdicts.values()))  # [strategies, problems, (yes, right)]
    everything = np.full(len(problems), 1 / len(problems))
    tpr, fpr = _errors(table, everything)
    if not tpr > fpr:
        raise NotMeasuredError("the verifier does not say yes to right answers more than to wrong")
    counts = np.stack([(1 - table[:, :, 0]).sum(axis=1), table[:, :, 0].sum(axis=1)], axis=1)
    placed = _ranks(counts.astype(np.int64))
    rows: list[tuple[Cell, ...]] = []
    for i, name in enumerate(verdicts):
        pi = resampled(len(problems), lambda w, i=i: _pi(table, w, i), resamples=500)  # type: ignore[misc]
        yes, right = (accuracy(table[i, :, j].tolist()) for j in (0, 1))
        rows.append((name, yes, pi, right, *(rank[i] for rank in placed.values())))
    order = sorted(range(len(rows)), key=lambda i: -table[i, :, 0].mean())
    first, second = order[:2]
    sure = [k for k, rank in placed.items() if rank[first].high < rank[second].low]
    certain = f"certain for {', '.join(sure)}" if sure else "certain for none of these beliefs"
    head = ("strategy", "yes", "corrected", "accuracy", *(f"rank, {k}" for k in placed))
    told = [rows[i] for i in order]
    return Finding(
        f"The verifier says yes to {tpr:.3f} of the right answers and to {fpr:.3f} of the wrong "
        f"ones; to it {rows[first][0]} is the best, which is {certain}.",
        head,
        told,
        chart=dots("rank by the judge", head, told, *head[4:]),
    )


def _ranks(counts: NDArray[np.int64]) -> dict[str, list[Interval]]:
    """Each strategy's rank with its interval, by what is believed of the judge."""
    found = {}
    beliefs = [(k, False) for k in KAPPAS] + [(KAPPAS[1], True)]
    for kappa, partial in beliefs:
        placed = np.array([ranks(row) for row in levels(counts, kappa, partial=partial)])
        name = f"kappa {kappa:g}" + (", partial" if partial else "")
        found[name] = [quantile_interval(float(x.mean()), x) for x in placed.T]
    return found


def _verdicts(
    strategy: StoredStrategy, problems: Sequence[str]
) -> list[tuple[float, float]] | None:
    """Whether the verifier says yes to the chosen answer, and whether it is right."""
    found = []
    for problem in problems:
        result = strategy.run.result(strategy.rows[problem])
        chosen = [c for c in result.get("candidates") or () if c["path"] == result.get("node")]
        steps = chosen[0].get("steps") if chosen else None
        if not steps or not 0 <= steps[-1] <= 1:
            return None
        found.append((float(steps[-1] >= YES), float(bool(result["correct"]))))
    return found or None


def _errors(table: Floats, weights: Floats) -> tuple[float, float]:
    """TPR and FPR over the chosen answers of all strategies; NaN without right or wrong ones."""
    yes, right = table[:, :, 0], table[:, :, 1]
    with np.errstate(invalid="ignore", divide="ignore"):
        tpr = ((yes * right) @ weights).sum() / (right @ weights).sum()
        fpr = ((yes * (1 - right)) @ weights).sum() / ((1 - right) @ weights).sum()
    return float(tpr), float(fpr)


def _pi(table: Floats, weights: Floats, place: int) -> float:
    return corrected(float(table[place, :, 0] @ weights), *_errors(table, weights))
