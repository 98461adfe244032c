"""A picture of a policy on unseen problems: accuracy against tokens, beside fixed numbers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from evals.control.fit import Outcome
from evals.control.walk import Walk
from evals.report.text import no_mathtext
from evals.statistics.intervals import accuracy, column_means
from reasoning.errors import StoreError


def draw(walk: Walk, found: Sequence[Outcome], form: str, path: Path) -> None:
    """Write the policies `found`, of several budgets, as an image. Raises StoreError."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    costs = walk.tokens.mean(axis=(0, 1))
    for number, (name, table) in enumerate(walk.right.items()):
        means = column_means(table.mean(axis=1))
        color = f"C{number + 1}"
        axes.plot(
            costs,
            [m.value for m in means],
            color=color,
            label=no_mathtext(f"{name}, as many for all"),
        )
        low, high = [m.low for m in means], [m.high for m in means]
        axes.fill_between(costs, low, high, color=color, alpha=0.08)
    mine = [accuracy(o.right.tolist()) for o in found]
    values = np.array([m.value for m in mine])
    errors = np.abs(np.array([[m.low, m.high] for m in mine]).T - values)
    tokens = [float(o.tokens.mean()) for o in found]
    axes.errorbar(tokens, values, errors, fmt="o-", color="C0", capsize=3, label=f"policy: {form}")
    axes.set_xscale("log", base=2)
    axes.set_xlabel("generated tokens a problem")
    axes.set_ylabel("accuracy on unseen problems, 95 %")
    axes.set_title(f"{len(walk.problems)} problems, {walk.tokens.shape[1]} orders", fontsize=9)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=7)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=110, metadata={"Software": None} if path.suffix == ".png" else {})
    except (OSError, ValueError) as error:
        raise StoreError(f"{path} cannot be written: {error}; name a .png, .svg or .pdf") from error
