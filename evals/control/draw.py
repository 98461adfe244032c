"""A picture of a policy on unseen problems: accuracy against tokens, beside fixed numbers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from evals.control.fit import Outcome
from evals.control.walk import Walk
from evals.report.text import no_mathtext
from evals.statistics.abstention import risk_coverage
from evals.statistics.intervals import accuracy, column_means
from reasoning.errors import StoreError

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def draw(walk: Walk, found: Sequence[Outcome], form: str, path: Path, chosen: Outcome) -> None:
    """Write the policies `found`, of several budgets, as an image; and of the `chosen` one, if it
    says how sure it is, what is wrong among its surest answers. Raises StoreError."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    panels = 1 if chosen.sure is None else 2
    figure = Figure(figsize=(5 * panels, 4), layout="constrained")
    FigureCanvasAgg(figure)
    axes, *rest = figure.subplots(1, panels, squeeze=False)[0]
    for number, (name, (accuracies, paid)) in enumerate(walk.curves().items()):
        means, costs = column_means(accuracies), paid.mean(axis=0)
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
    counted = bool((walk.tokens[:, :, 0] == 1).all())  # nobody knows the tokens
    axes.set_xlabel("samples a problem" if counted else "generated tokens a problem")
    axes.set_ylabel("accuracy on unseen problems, 95 %")
    axes.set_title(f"{len(walk.problems)} problems, {walk.tokens.shape[1]} orders", fontsize=9)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=7)
    for second in rest:
        _risk(second, chosen)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=110, metadata={"Software": None} if path.suffix == ".png" else {})
    except (OSError, ValueError) as error:
        raise StoreError(f"{path} cannot be written: {error}; name a .png, .svg or .pdf") from error


def _risk(axes: Axes, chosen: Outcome) -> None:
    """What is wrong among the answers that the policy is surest of, against their share."""
    assert chosen.sure is not None
    curve = risk_coverage(chosen.sure.tolist(), chosen.first.astype(bool).tolist())
    axes.plot(np.arange(1, len(curve.risk) + 1) / len(curve.risk), curve.risk, color="C0")
    area = curve.area
    axes.set_title(f"AURC {area.value:.3f} ({area.low:.3f} to {area.high:.3f})", fontsize=9)
    axes.set_xlabel("share of problems answered, the surest first")
    axes.set_ylabel("wrong among these")
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
