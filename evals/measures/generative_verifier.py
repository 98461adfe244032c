"""Whether verdicts pay beside more samples (Singhi et al., 2025, arXiv:2504.01005)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any, NamedTuple

import numpy as np

from evals.measures.finding import Cell, Chart, Finding, NotMeasuredError, resampled
from evals.measures.stored import Stored, described
from evals.replay.samples import Stored as Problem
from evals.replay.sources import load
from evals.report.load import StoredStrategy
from evals.statistics.curves import Samples, at_k_curve, powers_of_two
from evals.statistics.intervals import Floats, Interval, column_means
from evals.statistics.paired import paired_difference

MEANS = (
    "What S solutions with V verdicts each are right on, for S (1 + lambda V) times the tokens of "
    "a solution, against a vote over as many solutions as these pay for; lambda is what a verdict "
    "costs of a solution, what it reads included. From which cost on verdicts win, and how the "
    "best S and V grow with the cost."
)
NOT = (
    "The law is of this judge and these problems, and of the numbers of verdicts that were run; "
    "which S and V are best is chosen on the problems it is told on. A cache that holds the prompt "
    "makes verdicts cheaper than lambda says. Exponents from one number of verdicts mean nothing."
)


ASKED = {"judge": "verdicts", "challenge": "n"}
"""Verifiers that generate verdicts, and the parameter that says how many."""
SWEEP = "best with sweep: {verifier.verdicts: [1, 2, 4]} (challenge: verifier.n)"


class Point(NamedTuple):
    """So many solutions and verdicts, what they cost in solutions, and how often they are right."""

    solutions: int
    verdicts: int
    cost: float
    value: float


def cost(solutions: int, verdicts: int, ratio: float) -> float:
    """S (1 + lambda V), in solutions; lambda is a verdict's tokens over a solution's."""
    if solutions < 1 or verdicts < 0 or ratio < 0:
        raise ValueError(
            f"S is 1 or more, V and lambda 0 or more: {solutions}, {verdicts}, {ratio}"
        )
    return solutions * (1 + ratio * verdicts)


def frontier(points: Sequence[Point]) -> list[Point]:
    """Those that none at the same cost or a lower one equals, by cost."""
    found: list[Point] = []
    for point in sorted(points, key=lambda p: (p.cost, -p.value)):
        if not found or point.value > found[-1].value:
            found.append(point)
    return found


def exponents(points: Sequence[Point]) -> tuple[float, float]:
    """a and b of S ~ C^a and V ~ C^b along the frontier, by least squares of logarithms.

    NaN, NaN with fewer than three points on it, or where verdicts are never asked for.
    """
    best = [p for p in frontier(points) if p.verdicts]
    if len(best) < 3:
        return float("nan"), float("nan")
    x = np.log([p.cost for p in best])
    return tuple(  # type: ignore[return-value]
        float(np.polyfit(x, np.log([getattr(p, name) for p in best]), 1)[0])
        for name in ("solutions", "verdicts")
    )


def wins_from(verified: Sequence[Point], voted: Sequence[Point]) -> float | None:
    """The least cost at which the best of `verified` is better than the best of `voted`, and stays
    so as far as both go; None if there is none."""
    last = None
    end = min((max(p.cost for p in points) for points in (verified, voted) if points), default=0.0)
    costs = {p.cost for p in (*verified, *voted) if p.cost <= end}
    for at in sorted(costs, reverse=True):
        mine, other = ([p.value for p in ps if p.cost <= at] for ps in (verified, voted))
        if not mine or not other or max(mine) <= max(other):
            break
        last = at
    return last


def measure(stored: Stored) -> Finding:
    by = _by_verdicts(stored)
    recordings = {v: load(s.run.folder, strategy=s.name) for v, s in by.items()}
    fullest = max(
        (s for s in stored.runs.strategies if s.independent), key=lambda s: s.most_samples
    )
    votes = load(fullest.run.folder, strategy=fullest.name)
    shared = {p.id for p in votes.problems}
    for recording in recordings.values():
        shared &= {p.id for p in recording.problems}
    n = min((r.n for r in recordings.values()), default=0)
    if not shared or n < 2:
        raise NotMeasuredError("this needs 2 scored samples or more of the same problems")
    ks, votes_ks = powers_of_two(n), powers_of_two(votes.n)
    best = {
        v: _curve([p for p in r.problems if p.id in shared], ks, "best")
        for v, r in recordings.items()
    }
    vote = _curve([p for p in votes.problems if p.id in shared], votes_ks, "majority")
    ratio = _ratio(by)

    def points(weights: Floats) -> tuple[list[Point], list[Point]]:
        asked = [
            Point(k, v, cost(k, v, ratio), float(weights @ best[v][:, i]))
            for v, (i, k) in product(best, enumerate(ks))
        ]
        return asked, [Point(k, 0, k, float(weights @ vote[:, i])) for i, k in enumerate(votes_ks)]

    whole = np.full(len(shared), 1 / len(shared))
    verified, voted = points(whole)
    rows: list[tuple[Cell, ...]] = []
    series: dict[str, list[tuple[float, Interval]]] = {}
    for v, table in {0: vote, **best}.items():
        name = "the vote" if not v else f"{v} verdict{'s' * (v > 1)} a solution"
        found = column_means(table)
        sizes = ks if v else votes_ks
        costs = [cost(k, v, ratio) for k in sizes]
        series[name] = list(zip(costs, found, strict=True))
        rows += [(name, k, c, value) for k, c, value in zip(sizes, costs, found, strict=True)]
    notes = [f"lambda {ratio:.2f}: a verdict's tokens, read ones included, over a solution's"]
    if len(best) > 1:
        notes.append(_law(points, len(shared), verified))
    else:
        notes.append(f"one number of verdicts: no exponent; {SWEEP}")
    return Finding(
        _says(verified, voted, best, vote, ks),
        ("chosen by", "solutions", "cost in solutions", "accuracy"),
        rows,
        tuple(notes),
        Chart("cost, in solutions", "accuracy", series),
    )


def _says(
    verified: Sequence[Point],
    voted: Sequence[Point],
    best: Mapping[int, Floats],
    vote: Floats,
    ks: Sequence[int],
) -> str:
    """Verdicts against the vote where the vote costs as much or more, at the largest such cost."""
    at = voted[-1].cost
    able = [p for p in verified if p.cost <= at]
    start = wins_from(verified, voted)
    where = "at no cost that was run" if start is None else f"from {start:.3g} solutions' cost on"
    if not able:
        return f"Verdicts win {where}; one solution with its verdicts costs more than {at:g} votes."
    top = max(able, key=lambda p: (p.value, -p.cost))
    mine = best[top.verdicts][:, list(ks).index(top.solutions)]
    gap = paired_difference(vote[:, -1].tolist(), mine.tolist())
    each = f"{top.verdicts} verdict{'s' * (top.verdicts > 1)} each"
    return (
        f"At the cost of a vote over {at:g} solutions the best is {top.solutions} with "
        f"{each}: {gap.signed} "
        f"against the vote; verdicts win {where}."
    )


def _law(points: Any, problems: int, verified: Sequence[Point]) -> str:
    a, b = exponents(verified)
    if not (np.isfinite(a) and np.isfinite(b)):
        return "too few costs at which something else is best: no exponent"
    each = [
        resampled(problems, lambda w, i=i: exponents(points(w)[0])[i], resamples=200)  # type: ignore[misc]
        for i in (0, 1)
    ]
    told = (f"{x.value:.2f} ({x.low:.2f} to {x.high:.2f})" for x in each)
    return "the best S grows as cost^{}, the best V as cost^{}".format(*told)


def _curve(found: Sequence[Problem], ks: Sequence[int], kind: Any) -> Floats:
    n = ks[-1]
    samples = [
        Samples(
            [s.key if s.key >= 0 else None for s in p.samples[:n]],
            [s.correct for s in p.samples[:n]],
            [s.score("last") for s in p.samples[:n]],
        )
        for p in found
    ]
    return np.clip(at_k_curve(samples, kind, ks).values, 0, 1)


def _by_verdicts(stored: Stored) -> dict[int, StoredStrategy]:
    """For each number of verdicts the strategy with most samples."""
    found: dict[int, StoredStrategy] = {}
    for strategy in stored.runs.strategies:
        verdicts = _verdicts(strategy)
        if verdicts is None or not strategy.independent or not strategy.scores:
            continue
        known = found.get(verdicts)
        if known is None or strategy.most_samples > known.most_samples:
            found[verdicts] = strategy
    if not found:
        raise NotMeasuredError(f"this needs best_of_n by verifier `judge` or `challenge`; {SWEEP}")
    return dict(sorted(found.items()))


def _verdicts(strategy: StoredStrategy) -> int | None:
    """How many verdicts its verifier gave a solution; None if it gives none."""
    run: Mapping[str, Any] = strategy.run.manifest.get("run") or {}
    verifier = run.get("verifier")
    spec = verifier if isinstance(verifier, Mapping) else {"name": verifier}
    swept = described(strategy).get("sweep") or {}
    number = ASKED.get(str(spec.get("name")))
    if number is None or any(k in swept for k in ("verifier", "verifier.name")):
        return None
    asked: Any = swept.get(f"verifier.{number}", spec.get(number, 1))
    return int(asked)


def _ratio(by: Mapping[int, StoredStrategy]) -> float:
    """lambda: tokens of verdicts over verdicts, over those of the solutions they are about."""
    asked = spent = 0.0
    for verdicts, strategy in by.items():
        for row in strategy.rows.values():
            asked += row.usage.get("verifier_tokens", 0.0) / verdicts
            spent += row.usage.get("generated_tokens", 0.0)
    if not asked or not spent:
        raise NotMeasuredError("this needs to know the tokens of solutions and of verdicts")
    return asked / spent
