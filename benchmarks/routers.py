"""The table of docs/methods_models.md: what routers between two models cost beside the large one.

::

    reasoning run methods_models
    python -m benchmarks.routers runs/methods_models --figure routers.png
    python -m benchmarks.routers runs/methods_models_fit --choose

Cost is floating point operations, as reports count them: twice a model's parameters for every token
that it generates or reads, every prefix once, a verifier's included. It is given as a share of what
the large model alone (the strategy named `large`) takes; the shares, and the differences in
accuracy, in points, are paired, with 95 % intervals over problems. With `--choose` one setting of
each router is left: the cheapest that comes within 2 points of the large model, else the most
accurate one.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from evals.measures.stored import described
from evals.report.load import Runs, StoredStrategy, load
from evals.report.numbers import cost_of
from evals.statistics.intervals import accuracy, bootstrap_weights
from evals.statistics.paired import paired_difference

BASELINE = "large"
ALONE = (BASELINE, "large4", "small4")
"""Strategies that are no router's."""
WITHIN = 0.02
HEADS = ("strategy", "accuracy (95 %)", "large", "small", "of its operations", "difference (95 %)")


def right(strategy: StoredStrategy, problems: Sequence[str]) -> list[float]:
    """1 for each problem that was solved, else 0."""
    return [float(bool(strategy.rows[p].correct)) for p in problems]


def operations(strategy: StoredStrategy, problems: Sequence[str]) -> NDArray[np.float64]:
    """Floating point operations [problems]; nan where they are unknown."""
    spent = [cost_of(strategy, strategy.rows[p], "flops") for p in problems]
    return np.array([np.nan if x is None else x for x in spent])


def tokens(strategy: StoredStrategy, problems: Sequence[str]) -> tuple[float, float]:
    """Mean tokens that the large and the small model generated."""
    rows = [strategy.rows[p] for p in problems]
    small = [sum(m["generated_tokens"] for m in row.models.values()) for row in rows]
    return float(np.mean([r.usage["generated_tokens"] for r in rows]) - np.mean(small)), float(
        np.mean(small)
    )


def chosen(runs: Runs) -> list[StoredStrategy]:
    """The baseline, and of each router, told by its searcher and what it goes by, one setting."""
    problems = runs.common
    groups: dict[object, list[StoredStrategy]] = {}
    for strategy in runs.strategies:
        entry = described(strategy)
        by = (entry.get("searcher"), (entry.get("params") or {}).get("by"))
        groups.setdefault(strategy.name if strategy.name in ALONE else by, []).append(strategy)
    (alone,) = groups[BASELINE]
    enough = float(np.mean(right(alone, problems))) - WITHIN

    def worth(strategy: StoredStrategy) -> tuple[float, float]:
        value, cost = np.mean(right(strategy, problems)), operations(strategy, problems).sum()
        return min(float(value), enough), -float(cost)  # more than enough is no better

    return [max(settings, key=worth) for settings in groups.values()]


def table(runs: Runs, strategies: Sequence[StoredStrategy]) -> list[str]:
    """The lines of the table, in Markdown."""
    problems = runs.common
    (alone,) = [s for s in runs.strategies if s.name == BASELINE]
    base, spent = right(alone, problems), operations(alone, problems)
    weights = bootstrap_weights(len(problems), 2000, 0)
    lines = ["| " + " | ".join(HEADS) + " |", "|---" * len(HEADS) + "|"]
    for strategy in strategies:
        mine, cost = right(strategy, problems), operations(strategy, problems)
        value, gap = accuracy(mine), paired_difference(base, mine)
        shares = np.array([(w @ cost) / (w @ spent) for w in weights])
        low, high = np.quantile(shares, [0.025, 0.975])
        share = f"{cost.sum() / spent.sum():.2f} ({low:.2f} to {high:.2f})"
        large, small = tokens(strategy, problems)
        cells = [
            f"`{' '.join(strategy.name.split())}`",
            f"{value.value:.3f} ({value.low:.2f} to {value.high:.2f})",
            f"{large:,.0f}",
            f"{small:,.0f}",
            "1" if strategy is alone else share,
            ""
            if strategy is alone
            else f"{100 * gap.value:+.1f} ({100 * gap.low:+.1f} to {100 * gap.high:+.1f})",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def plot(runs: Runs, path: Path) -> None:
    """Accuracy over the share of the large model's operations, a point a strategy."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    problems = runs.common
    (alone,) = [s for s in runs.strategies if s.name == BASELINE]
    whole = operations(alone, problems).sum()
    figure = Figure(figsize=(9, 6), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    for i, strategy in enumerate(runs.strategies):
        value = accuracy(right(strategy, problems))
        x, spread = operations(strategy, problems).sum() / whole, value.value - value.low
        ends = [[spread], [value.high - value.value]]
        color = f"C{i % 10}"
        axes.errorbar(x, value.value, yerr=ends, fmt="o", color=color, alpha=0.6, capsize=2)
        axes.annotate(strategy.name, (x, value.value), (4, 4), textcoords="offset points", size=8)
    axes.axhline(accuracy(right(alone, problems)).value, color="grey", linewidth=0.8)
    axes.axvline(1, color="grey", linewidth=0.8)
    axes.set_xscale("log", base=2)
    axes.set_xlabel("operations, as a share of what the large model alone takes")
    axes.set_ylabel("accuracy, 95 % interval")
    axes.set_title(f"nano and nano_draft, {len(problems)} problems")
    axes.grid(alpha=0.3)
    figure.savefig(path, dpi=130, metadata={"Software": None})


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("run", type=Path, nargs="+")
    parser.add_argument("--figure", type=Path, help="a picture to draw as well")
    parser.add_argument("--choose", action="store_true", help="one setting of each router")
    args = parser.parse_args()
    found = load(args.run)
    print("\n".join(table(found, chosen(found) if args.choose else found.strategies)))
    if args.figure:
        plot(found, args.figure)


if __name__ == "__main__":
    main()
