"""The picture of a run: accuracy against the tokens it took, with intervals."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from evals.report.families import families
from evals.report.text import no_mathtext


def accuracy_plot(summary: Mapping[str, Any], path: str | Path) -> bool:
    """Draw accuracy (95 % interval) over generated tokens a problem; False if nothing is graded.

    Strategies that differ in one knob of compute only (a sweep over n) share a colour and a line.
    """
    rows = [s for s in summary["strategies"] if s["accuracy"] is not None]
    if not rows:
        return False
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    curves: dict[str, list[Mapping[str, Any]]] = {}
    names = families(row["name"] for row in rows)
    for row in rows:
        curves.setdefault(names[row["name"]], []).append(row)
    for family, members in curves.items():
        members.sort(key=_tokens)
        x = [_tokens(m) for m in members]
        y = [m["accuracy"] for m in members]
        spread = [
            [m["accuracy"] - m["ci95"][0] for m in members],
            [m["ci95"][1] - m["accuracy"] for m in members],
        ]
        axes.errorbar(x, y, yerr=spread, marker="o", capsize=3, label=no_mathtext(family))
    axes.set_xscale("log", base=2)
    axes.set_xlabel("generated tokens a problem, wasted ones included")
    axes.set_ylabel("accuracy, 95 % interval")
    problems = max(row["problems"] for row in rows)
    axes.set_title(no_mathtext(f"{summary['name']}: {summary['task']}, {problems} problems"))
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    if notes := summary.get("notes"):
        figure.supxlabel(no_mathtext("; ".join(notes)), fontsize=7, wrap=True)
    figure.savefig(path, dpi=130, metadata={"Software": None})
    return True


def _tokens(row: Mapping[str, Any]) -> float:
    tokens: float = row["generated_tokens"] / max(1, row["problems"])
    return max(1.0, tokens)
