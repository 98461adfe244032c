"""The table of docs/methods_think.md: strategies against votes and best-of-n, at equal tokens.

::

    reasoning run methods_think
    python -m benchmarks.methods runs/methods_think

A strategy is set beside the curve of each baseline over n, read off where it costs the same, linear
in the logarithm of the mean cost: the difference in points with a paired bootstrap interval over
problems. Cost is tokens generated, probed, and read or written by the verifier. A dash stands where
a curve does not reach.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from evals.report.load import Runs, StoredStrategy, load
from evals.statistics.equal_compute import Points, at_equal_cost
from evals.statistics.intervals import accuracy

COST = ("generated_tokens", "probe_tokens", "verifier_tokens")
BASELINES = ("self_consistency", "best_of_n")


def points(strategies: Sequence[StoredStrategy], problems: Sequence[str]) -> Points:
    """Results and costs, [problems, strategies]."""
    rows = [[s.rows[p] for s in strategies] for p in problems]
    return Points.of(
        [[float(bool(row.correct)) for row in line] for line in rows],
        [[sum(row.usage.get(name, 0.0) for name in COST) for row in line] for line in rows],
    )


def table(runs: Runs, baselines: Sequence[str] = BASELINES) -> list[str]:
    """The lines of the table, in Markdown."""
    problems = runs.common
    sweeps = {
        name: [s for s in runs.strategies if re.fullmatch(rf"{name}-n=\d+", s.name)]
        for name in baselines
    }
    curves = {name: points(members, problems) for name, members in sweeps.items()}
    heads = [
        "strategy",
        "accuracy",
        "95 %",
        "generated",
        "in all",
        *(f"less `{b}`" for b in curves),
    ]
    lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    for strategy in runs.strategies:
        mine = points([strategy], problems)
        value = accuracy(mine.values[:, 0].tolist())
        generated = np.mean([strategy.rows[p].usage["generated_tokens"] for p in problems])
        cells = [
            f"`{' '.join(strategy.name.split())}`",
            f"{value.value:.3f}",
            f"{value.low:.2f} to {value.high:.2f}",
            f"{generated:,.0f}",
            f"{mine.costs.mean():,.0f}",
            *("-" if strategy in sweeps[b] else difference(c, mine) for b, c in curves.items()),
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def difference(curve: Points, mine: Points) -> str:
    """Accuracy of `mine` minus that of the curve at the same cost, in points."""
    found = at_equal_cost(curve, mine)
    if not found:
        return "-"
    gap = found[0].difference
    return f"{100 * gap.value:+.1f} ({100 * gap.low:+.1f} to {100 * gap.high:+.1f})"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("run", type=Path, nargs="+")
    args = parser.parse_args()
    print("\n".join(table(load(args.run))))


if __name__ == "__main__":
    main()
