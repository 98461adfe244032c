"""The tables of docs/methods.md and docs/methods_think.md: strategies against votes and best-of-n,
at equal tokens.

::

    reasoning run methods_think
    python -m benchmarks.methods runs/methods_think

A strategy is set beside the curve of each baseline over n, read off where it costs the same, linear
in the logarithm of the mean cost: the difference in points with a paired bootstrap interval over
problems. Cost is tokens generated (probes among them), read or written by the verifier, and read
to choose: the prompt tokens beyond those of the baseline whose samples are chosen from, as if no
prompt were cached. A dash stands where a curve does not reach.
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

BASELINES = ("self_consistency", "best_of_n")


def points(
    strategies: Sequence[StoredStrategy],
    problems: Sequence[str],
    drawn: StoredStrategy | None = None,
) -> Points:
    """Results and costs, [problems, strategies]; `drawn` has the samples that they choose from."""

    def cost(strategy: StoredStrategy, problem: str) -> float:
        usage = strategy.rows[problem].usage
        read = usage["prompt_tokens"] - drawn.rows[problem].usage["prompt_tokens"] if drawn else 0.0
        return usage["generated_tokens"] + usage.get("verifier_tokens", 0.0) + read

    return Points.of(
        [[float(bool(s.rows[p].correct)) for s in strategies] for p in problems],
        [[cost(s, p) for s in strategies] for p in problems],
    )


def drawn_by(strategy: StoredStrategy, members: Sequence[StoredStrategy]) -> StoredStrategy | None:
    """Of the baselines the one whose samples a strategy chooses from, by its name."""
    found = (m for m in members if re.match(rf"{re.escape(m.name)}(?!\d)", strategy.name))
    return next(found, None)


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
        members = [member for sweep in sweeps.values() for member in sweep]
        mine = points([strategy], problems, drawn_by(strategy, members))
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
