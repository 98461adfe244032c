"""Which is better at a given cost, and is it significant: curves of runs and replays read off."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

import numpy as np

from evals.measures.finding import Cell, Chart, Finding, PValue
from evals.replay import curves as replayed
from evals.report.load import load
from evals.report.numbers import cost_of, grades
from evals.report.text import chance
from evals.statistics.compute import SHORT
from evals.statistics.equal_compute import AtCost, Points, at_equal_cost, band
from evals.statistics.intervals import Interval
from evals.statistics.paired import holm
from reasoning.errors import RecipeError, StoreError, unknown

UNITS: Mapping[str, str] = {
    "tokens": "generated_tokens",
    "chain": "critical_tokens",
    "seconds": "seconds",
    "flops": "flops",
    "calls": "verifier_calls",
    "verifier_tokens": "verifier_tokens",
    "samples": "samples",
}
"""What may stand behind the number, and the axis it means."""
LABELS = {**SHORT, "samples": "samples a problem"}
ALPHA = 0.05


class Cost(NamedTuple):
    """An amount on an axis of cost, a problem."""

    amount: float
    axis: str

    @property
    def told(self) -> str:
        return f"{self.amount:,.6g} {LABELS[self.axis]}"


class Curves(NamedTuple):
    """Accuracy against cost of every strategy family over the same `problems`."""

    problems: int
    axis: str
    points: dict[str, Points]


def cost(text: str) -> Cost:
    """`1000tokens`, `1,000 tokens`, `30 seconds`, `1e12flops`; tokens if there is no unit.

    Raises RecipeError for anything else.
    """
    found = re.fullmatch(r"\s*([\d][\d,_.]*(?:e\+?\d+)?)\s*([a-z_]*)\s*", text.lower())
    unit = found[2] or "tokens" if found else ""
    unit = next((u for u in UNITS if unit in (u, u.removesuffix("s"))), "")
    try:
        amount = float(re.sub("[,_]", "", found[1])) if found else 0.0
    except ValueError:
        amount = 0.0
    if not unit or not 0 < amount < float("inf"):
        raise RecipeError(
            f"--at takes an amount above 0 and a unit, such as 1000tokens or 30seconds, not "
            f"{text!r}; units are {', '.join(UNITS)}"
        )
    return Cost(amount, UNITS[unit])


def read(folders: Sequence[Path], axis: str) -> Curves:
    """The curves of runs and replays, over the problems that all of them have.

    Raises RecipeError where there are none in common, or a replay has another axis.
    """
    runs = [f for f in folders if (f / "results.jsonl").is_file()]
    stored = {
        f: replayed.load(f) for f in folders if f not in runs and (f / replayed.FILE).is_file()
    }
    if strange := [f for f in folders if f not in runs and f not in stored]:
        raise StoreError(
            f"{strange[0]} is the folder of no run and no replay (it has neither results.jsonl nor "
            f"{replayed.FILE}; a replay of an earlier version writes that when it is made again)"
        )
    loaded = load(runs) if runs else None
    held = [set(c.problems) for c in stored.values()]
    held += [set(loaded.common)] if loaded else []
    shared = sorted(set.intersection(*held))
    if not shared:
        raise RecipeError("no problem has a graded result of every strategy: nothing to pair")
    found: dict[str, Points] = {}
    for folder, known in stored.items():
        if axis != {"tokens": "generated_tokens"}.get(known.axis, known.axis):
            raise RecipeError(
                f"the replay {folder} knows what strategies cost in {known.axis} only"
            )
        rows = (
            [known.problems.index(p) for p in shared] if len(shared) < len(known.problems) else None
        )
        for name, points in known.points.items():
            label = name if len(folders) == 1 else f"{folder.name}: {name}"
            found[label] = (
                points if rows is None else Points(points.values[rows], points.costs[rows])
            )
    members: dict[str, list[int]] = {}
    strategies = loaded.strategies if loaded else []
    for place, strategy in enumerate(strategies):
        members.setdefault(strategy.family, []).append(place)
    for family, places in members.items():
        some = [strategies[i] for i in places]
        values = np.array([grades(s, shared) for s in some]).T
        spent = [[cost_of(s, s.rows[p], axis) for p in shared] for s in some]
        table = np.array(spent, dtype=float).T  # an unknown cost is not a number
        if np.all(np.isfinite(table)) and np.all(table.mean(axis=0) > 0):
            label = (
                family
                if loaded is None or len(folders) == 1 or len(runs) > 1
                else (f"{runs[0].name}: {family}")
            )
            found[label] = Points.of(values, table)
    return Curves(len(shared), axis, found)


def compared(
    folders: Sequence[Path], at: str | None = None, baseline: str | None = None
) -> Finding:
    """Every strategy's curve read off at one cost, and the best one against the others.

    Without `at` the cost is the largest that two curves reach. p-values are Holm-adjusted over all
    pairs, or over those with `baseline`. Raises RecipeError where no two curves reach the cost.
    """
    wanted = cost(at) if at is not None else None
    found = read(folders, wanted.axis if wanted else _axis(folders))
    if wanted is None:
        wanted = Cost(_reached(found), found.axis)
    names = [n for n, p in found.points.items() if _reaches(p, wanted.amount)]
    if baseline is not None and baseline not in found.points:
        raise RecipeError(unknown("strategy", baseline, found.points))
    if len(names) < 2 or (baseline is not None and baseline not in names):
        raise RecipeError(_too_few(found, wanted, names if baseline is None else [baseline]))
    pairs = _pairs(found, names, wanted.amount, baseline)
    return _finding(found, wanted, names, pairs, baseline)


def _axis(folders: Sequence[Path]) -> str:
    known = [replayed.load(f).axis for f in folders if (f / replayed.FILE).is_file()]
    return "samples" if "samples" in known else "generated_tokens"


def _reaches(points: Points, amount: float) -> bool:
    low, high = points.span
    return low * (1 - 1e-9) <= amount <= high * (1 + 1e-9)


def _reached(found: Curves) -> float:
    """The largest cost that two curves reach: the least that is read off of one of them."""
    ends = sorted({end for p in found.points.values() for end in p.span}, reverse=True)
    both = (e for e in ends if sum(_reaches(p, e) for p in found.points.values()) > 1)
    reached = next(both, None)
    if reached is None:
        raise RecipeError("no two strategies were run at the same cost; sweep n, or name --at")
    return reached


def _too_few(found: Curves, wanted: Cost, names: Sequence[str]) -> str:
    spans = "; ".join(f"{n} {_span(p)}" for n, p in list(found.points.items())[:12])
    which = f"only {names[0]}" if len(names) == 1 else "no strategy"
    return (
        f"at {wanted.told} {which} can be read off, and nothing is extrapolated: {spans}. Sweep a "
        "knob of compute (n: [1, 4, 16]) across that cost, or choose another"
    )


def _span(points: Points) -> str:
    low, high = (f"{end:,.4g}" if end < 1000 else f"{end:,.0f}" for end in points.span)
    return f"at {low}" if low == high else f"from {low} to {high}"


def _pairs(
    found: Curves, names: Sequence[str], amount: float, baseline: str | None
) -> dict[tuple[str, str], AtCost]:
    """`b` against `a` for all pairs, or with the baseline; p-values adjusted together."""
    pairs = list(combinations(names, 2))
    if baseline is not None:
        pairs = [(baseline, n) for n in names if n != baseline]
    resamples = 10_000 if found.problems <= 500 else 2_000
    read_off = [
        at_equal_cost(found.points[a], found.points[b], [amount], resamples=resamples)[0]
        for a, b in pairs
    ]
    adjusted = holm([point.p_value for point in read_off])
    return {
        pair: replace(point, p_value=p)
        for pair, point, p in zip(pairs, read_off, adjusted, strict=True)
    }


def _finding(
    found: Curves,
    wanted: Cost,
    names: Sequence[str],
    pairs: Mapping[tuple[str, str], AtCost],
    baseline: str | None,
) -> Finding:
    bands = {n: _band(found.points[n], wanted.amount) for n in names}
    ranked = sorted(names, key=lambda n: -bands[n].value)
    first = baseline or ranked[0]
    rows: list[tuple[Cell, ...]] = []
    for name in ranked:
        gap, p = (None, None) if name == first else _against(pairs, first, name)
        rows.append((name, bands[name], gap, None if p is None else PValue(p)))
    second = next(n for n in ranked if n != first)
    better, other = (second, first) if bands[second].value > bands[first].value else (first, second)
    gap, p = _against(pairs, other, better)
    significant = "significant" if p < ALPHA else "not significant"
    family = f"all {len(pairs)} pairs" if baseline is None else f"{len(pairs)} comparisons"
    adjusted = f", Holm over {family}" if len(pairs) > 1 else ""
    says = (
        f"At {wanted.told} {better} is right on {bands[better].value:.3f} and {other} on "
        f"{bands[other].value:.3f} of {found.problems:,} problems: a difference of "
        f"{gap.value:+z.3f} (95 % interval {gap.low:+z.3f} to {gap.high:+z.3f}, "
        f"p {chance(p, '= ')}{adjusted}), which is {significant}."
    )
    left_out = [n for n in found.points if n not in names]
    notes = (f"not measured at that cost: {', '.join(left_out)}",) if left_out else ()
    head = ("strategy", "accuracy", f"less {first}", f"p{adjusted}")
    return Finding(says, head, rows, notes, _chart(found))


def _against(pairs: Mapping[tuple[str, str], AtCost], a: str, b: str) -> tuple[Interval, float]:
    """Accuracy of b less that of a."""
    if (a, b) in pairs:
        return pairs[a, b].difference, pairs[a, b].p_value
    value, low, high, method = pairs[b, a].difference
    return Interval(0.0 - value, 0.0 - high, 0.0 - low, method), pairs[b, a].p_value


def _band(points: Points, amount: float) -> Interval:
    found = band(points, [amount])[0]
    assert found is not None, "the curve reaches this cost"
    return found


def _chart(found: Curves) -> Chart:
    series = {}
    for name, points in found.points.items():
        costs = sorted(set(points.costs.mean(axis=0).tolist()))
        read_off = zip(costs, band(points, costs, resamples=500), strict=True)
        series[name] = [(x, y) for x, y in read_off if y is not None]
    return Chart(LABELS[found.axis], "accuracy", series)
