"""The picture of an evaluation, for a screen, a page and a paper: PNG, SVG and PDF."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from evals.measures.finding import Chart, Dots
from evals.report.text import no_mathtext

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MARKERS = "os^DvPX"
MOST = 30
"""Names that one picture shows, the first ones."""


def save(chart: Chart | Dots, folder: Path, name: str) -> list[Path]:
    """Write NAME.png, NAME.svg and NAME.pdf."""
    import matplotlib as mpl

    figure = draw(chart)
    paths = [folder / f"{name}.{kind}" for kind in ("png", "svg", "pdf")]
    dated = {"png": {"Software": None}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}
    with mpl.rc_context({"svg.hashsalt": name, "svg.fonttype": "none", "pdf.fonttype": 42}):
        for path in paths:
            figure.savefig(path, dpi=160, metadata=dated[path.suffix[1:]])
            figure.set_layout_engine("none")  # that of the first file holds for all
    return paths


def draw(chart: Chart | Dots) -> Figure:
    """Curves with 95 % bands, or estimates with bars."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = 0 if isinstance(chart, Chart) else min(MOST, len(_names(chart)))
    figure = Figure(figsize=(5, max(1.6, 0.9 + 0.3 * rows) if rows else 3.5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    if isinstance(chart, Chart):
        _curves(axes, chart)
    else:
        _dots(axes, chart)
    axes.grid(alpha=0.3)
    if len(chart.series) > 1 or isinstance(chart, Chart):
        axes.legend(fontsize=8, frameon=False)
    return figure


def _curves(axes: Axes, chart: Chart) -> None:
    for i, (label, points) in enumerate(chart.series.items()):
        x = [at for at, _ in points]
        color, marker = f"C{i % 10}", MARKERS[i % len(MARKERS)]
        axes.plot(
            x, [y.value for _, y in points], color=color, marker=marker, markersize=4,
            label=no_mathtext(label, 60),
        )  # fmt: skip
        low, high = [y.low for _, y in points], [y.high for _, y in points]
        axes.fill_between(x, low, high, color=color, alpha=0.12, linewidth=0)
    places = [at for points in chart.series.values() for at, _ in points]
    if places and min(places) > 0 and max(places) > 8 * min(places):
        axes.set_xscale("log", base=2)
    axes.set_xlabel(no_mathtext(chart.x))
    axes.set_ylabel(no_mathtext(f"{chart.y}, 95 % interval"))


def _dots(axes: Axes, chart: Dots) -> None:
    names = _names(chart)[:MOST]
    for i, (label, points) in enumerate(chart.series.items()):
        shift = (i - (len(chart.series) - 1) / 2) * 0.6 / len(chart.series)
        known = [(names.index(name) + shift, x) for name, x in points if name in names]
        low, high = ([x[k] for _, x in known] for k in (1, 2))
        color = f"C{i % 10}"
        axes.hlines([y for y, _ in known], low, high, color=color, linewidth=1.5)
        axes.plot(
            [x.value for _, x in known], [y for y, _ in known], MARKERS[i % len(MARKERS)],
            color=color, markersize=4, label=no_mathtext(label, 60),
        )  # fmt: skip
    every = [end for points in chart.series.values() for _, x in points for end in x[1:3]]
    if every and min(every) < 0 < max(every):
        axes.axvline(0, color="0.5", linewidth=0.8)
    axes.set_yticks(range(len(names)), [no_mathtext(name, 40) for name in names], fontsize=8)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_xlabel(no_mathtext(f"{chart.x}, 95 % interval"))


def _names(chart: Dots) -> list[str]:
    return list(dict.fromkeys(name for points in chart.series.values() for name, _ in points))
