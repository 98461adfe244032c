"""The picture of an evaluation, for a screen, a page and a paper: PNG, SVG and PDF."""

from __future__ import annotations

from pathlib import Path

from evals.measures.finding import Chart
from evals.report.text import no_mathtext


def save(chart: Chart, folder: Path, name: str) -> list[Path]:
    """Write NAME.png, NAME.svg and NAME.pdf: curves with 95 % bands."""
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 3.5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    for i, (label, points) in enumerate(chart.series.items()):
        x = [at for at, _ in points]
        color, marker = f"C{i % 10}", "os^DvPX"[i % 7]
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
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8, frameon=False)
    paths = [folder / f"{name}.{kind}" for kind in ("png", "svg", "pdf")]
    dated = {"png": {"Software": None}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}
    with mpl.rc_context({"svg.hashsalt": name, "svg.fonttype": "none", "pdf.fonttype": 42}):
        for path in paths:
            figure.savefig(path, dpi=160, metadata=dated[path.suffix[1:]])
    return paths
