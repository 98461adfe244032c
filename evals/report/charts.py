"""The static charts, by matplotlib: one figure for files, or inline SVG that follows the theme."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from evals.report.numbers import Calibration, Line, front
from evals.report.sampled import Sampled
from evals.report.text import no_mathtext
from evals.statistics.compute import SHORT
from evals.statistics.curves import Kind

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from evals.measures.finding import Chart, Dots

Drawn: TypeAlias = "Figure"

INK, GRID = "#1c2128", "#d1d7dd"
SERIES = (
    "#0072b2", "#d55e00", "#00805f", "#b3478a", "#7a6200", "#5b4fc4", "#2a8fbd", "#6b6f76",
)  # fmt: skip
MARKERS = "os^DvPX"  # one fewer than colours, so that no two series share both
GLYPHS = "●■▲◆▼✚✖"
WIDTH = 4.3  # inches; narrow, so that letters are large enough on a phone
WIDE = 8.6  # of what has the page to itself, and scrolls on a phone
MANY = 5  # sweeps; of more, bands would hide each other
NAMES_AT_K: Mapping[Kind, str] = {
    "pass": "pass@k: any is right",
    "majority": "majority@k: the most frequent",
    "best": "best@k: the highest score",
    "weighted": "weighted@k: the most score",
}
# What the page's style sheet decides instead.
_VARIABLES = {INK: "var(--ink)", GRID: "var(--line)"} | {
    color: f"var(--s{i})" for i, color in enumerate(SERIES)
}
_RC = {
    "svg.fonttype": "none",
    "pdf.fonttype": 42,
    "svg.hashsalt": "report",
    "font.size": 9,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "grid.color": GRID,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "text.parse_math": False,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
}


def families(lines: Sequence[Line]) -> list[str]:
    """Strategies on one curve are one series, with one place in every chart."""
    return list(dict.fromkeys(line.strategy.family for line in lines))


def accuracy_against(
    lines: Sequence[Line], axis: str, title: str, *, legend: bool = True
) -> Drawn | None:
    """Accuracy with 95 % intervals over the mean cost on `axis`; the Pareto front beneath.

    None if nothing is graded or nothing costs anything. Parts of the i-th of `families` have ids
    that start with `series-i-`.
    """
    known = [line for line in lines if line.accuracy is not None and line.cost.get(axis, 0) > 0]
    if not known:
        return None
    names = families(lines)
    sweeps = [[line for line in known if line.strategy.family == name] for name in names]
    figure, ax = _figure(3.3 + 0.1 * len(names) * legend)
    best = [line for line in front(known, axis) if line.accuracy is not None]
    ax.step(
        [line.cost[axis] for line in best],
        [line.accuracy.value for line in best if line.accuracy is not None],
        where="post", color=INK, alpha=0.25, linewidth=5, solid_capstyle="round",
        label="Pareto front (means)",
    )  # fmt: skip
    many = sum(map(bool, sweeps)) > MANY
    for i, (name, members) in enumerate(zip(names, sweeps, strict=True)):
        if members:
            _sweep(ax, sorted(members, key=lambda m: m.cost[axis]), axis, i, name, many)
    spread = [line.cost[axis] for line in known]
    if min(spread) * 3 < max(spread):
        ax.set_xscale("log")
    _cost_ticks(ax, spread)
    ax.set_xlabel(SHORT.get(axis, axis))
    ax.set_ylabel("accuracy, 95 % interval")
    _finish(figure, ax, title, legend=legend)
    return figure


def _sweep(ax: Axes, members: Sequence[Line], axis: str, i: int, family: str, many: bool) -> None:
    x = [m.cost[axis] for m in members]
    found = [m.accuracy for m in members if m.accuracy is not None]
    y = [f.value for f in found]
    bars = [[f.value - f.low for f in found], [f.high - f.value for f in found]]
    color, marker = SERIES[i % len(SERIES)], MARKERS[i % len(MARKERS)]
    line, caps, columns = ax.errorbar(
        x, y, yerr=bars, color=color, marker=marker, markersize=5, capsize=2.5, elinewidth=1,
        linestyle="-" if i < len(SERIES) else "--", label=no_mathtext(family, 60),
    )  # fmt: skip
    parts = [line, *caps, *columns]
    for part in parts[1:]:
        part.set_alpha(0.35 if many else 1)
    if len(members) > 1 and not many:
        low, high = [f.low for f in found], [f.high for f in found]
        parts.append(ax.fill_between(x, low, high, color=color, alpha=0.1, linewidth=0))
    for j, part in enumerate(parts):
        part.set_gid(f"series-{i}-{j}")


def cost_breakdown(lines: Sequence[Line], title: str) -> Drawn:
    """Tokens a problem, stacked: generated (used, wasted), prompts, verifier."""
    parts = {
        "generated and used": [_cost(n, "generated_tokens", "wasted_tokens") for n in lines],
        "generated and wasted": [n.cost.get("wasted_tokens", 0.0) for n in lines],
        "prompts": [n.cost.get("prompt_tokens", 0.0) for n in lines],
        "verifier": [n.cost.get("verifier_tokens", 0.0) for n in lines],
    }
    figure, ax = _figure(1.4 + 0.36 * len(lines), WIDE)
    base = [0.0] * len(lines)
    fills = {"generated and wasted": "////"}
    for i, (name, values) in enumerate(parts.items()):
        if any(values):
            ax.barh(
                range(len(lines)), values, left=base, height=0.45, color=SERIES[i], label=name,
                hatch=fills.get(name), edgecolor="white", linewidth=0.4,
            )  # fmt: skip
            base = [b + v for b, v in zip(base, values, strict=True)]
    for place, line in enumerate(lines):  # above its bar, where a long name has room
        ax.text(0, place - 0.3, no_mathtext(line.strategy.label, 60), fontsize=8)
    ax.set_yticks([])
    ax.set_ylim(len(lines) - 0.5, -0.9)
    ax.xaxis.set_major_formatter(number)
    ax.locator_params(axis="x", nbins=6)
    ax.set_xlabel("tokens a problem, mean")
    _finish(figure, ax, title)
    ax.grid(visible=False, axis="y")
    return figure


def at_k(found: Sampled, title: str) -> Drawn:
    """Accuracy over the number of samples with 95 % bands, and the law of coverage, broken."""
    figure, ax = _figure(3.8)
    for i, (curve, intervals) in enumerate(zip(found.curves, found.intervals, strict=True)):
        ax.plot(
            curve.ks, [x.value for x in intervals], color=SERIES[i], marker=MARKERS[i],
            markersize=5, label=NAMES_AT_K[curve.kind],
        )  # fmt: skip
        low, high = [x.low for x in intervals], [x.high for x in intervals]
        ax.fill_between(curve.ks, low, high, color=SERIES[i], alpha=0.12, linewidth=0)
    if found.law is not None:
        ks = [found.n ** (j / 60) for j in range(61)]
        ax.plot(
            ks, [found.law(k) for k in ks], color=INK, linestyle=":", linewidth=1.3,
            label="exp(a k^b) fitted to pass@k",
        )  # fmt: skip
    ax.set_xscale("log", base=2)
    ax.set_xticks(found.curves[0].ks, [f"{k}" for k in found.curves[0].ks])
    ax.minorticks_off()
    ax.set_xlabel("k, samples a problem")
    ax.set_ylabel("accuracy, 95 % band")
    _finish(figure, ax, title)
    return figure


def reliability_diagram(found: Calibration, title: str) -> Drawn | None:
    """Share correct by score with Wilson intervals, the number of samples beneath."""
    bins = [b for b in found.bins or () if b.count and b.ci95 and b.accuracy is not None]
    if not bins:
        return None
    figure, ax = _figure(3.4)
    x = [b.mean_score or 0.0 for b in bins]
    y = [b.accuracy or 0.0 for b in bins]
    bars = [
        [b.accuracy - b.ci95[0] for b in bins if b.accuracy is not None and b.ci95],
        [b.ci95[1] - b.accuracy for b in bins if b.accuracy is not None and b.ci95],
    ]
    most = max(b.count for b in bins)
    for b in bins:
        ax.bar(b.low, 0.16 * b.count / most, width=b.high - b.low, align="edge", color=GRID)
    ax.plot([0, 1], [0, 1], color=INK, alpha=0.4, linestyle=":", label="calibrated")
    ax.errorbar(
        x, y, yerr=bars, color=SERIES[0], marker="o", markersize=5, capsize=2.5, elinewidth=1,
        label="share correct, 95 % Wilson; grey: samples",
    )  # fmt: skip
    ax.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    ax.set_xlabel("score (of a candidate's last step)")
    ax.set_ylabel("share correct")
    _finish(figure, ax, title)
    return figure


def inline_svg(figure: Drawn, label: str) -> str:
    """The figure as an SVG element: text stays text, colours are the page's."""
    file = io.StringIO()
    _save(figure, file, "svg")
    text = file.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    for color, variable in _VARIABLES.items():
        text = text.replace(color, variable)
    text = re.sub(r'width="[\d.]+pt" height="[\d.]+pt" ', "", text, count=1)
    # Ids are the same in every figure; one page must not hold two of a kind.
    prefix = re.sub(r"\W", "", label)
    text = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{prefix}-", text)
    return text.replace("<svg ", f'<svg role="img" aria-labelledby="{prefix}-caption" ', 1)


def of_measure(chart: Chart | Dots) -> Drawn:
    """The picture of an evaluation in the page's colours."""
    import matplotlib as mpl
    from cycler import cycler

    from evals.measures.charts import draw

    with mpl.rc_context({**_RC, "axes.prop_cycle": cycler(color=SERIES)}):
        return draw(chart)


def save(figure: Drawn, folder: Path, name: str) -> list[Path]:
    """Write NAME.png, NAME.svg and NAME.pdf."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{name}.{kind}" for kind in ("png", "svg", "pdf")]
    for path in paths:
        _save(figure, path, path.suffix[1:])
        figure.set_layout_engine("none")  # that of the first file holds for all
    return paths


def _save(figure: Drawn, file: Any, kind: str) -> None:
    import matplotlib as mpl

    dated = {"svg": "Date", "pdf": "CreationDate", "png": "Software"}
    metadata: Mapping[str, None] = {dated[kind]: None}
    clear = kind == "svg"
    with mpl.rc_context(_RC):
        figure.savefig(file, format=kind, dpi=160, metadata=metadata, transparent=clear)


def _figure(height: float, width: float = WIDTH) -> tuple[Drawn, Axes]:
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with mpl.rc_context(_RC):
        figure = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasAgg(figure)
        return figure, figure.subplots()


def _finish(figure: Drawn, ax: Axes, title: str, *, legend: bool = True) -> None:
    import matplotlib as mpl

    with mpl.rc_context(_RC):
        ax.set_title(no_mathtext(title, 80), fontsize=9, loc="left")
        ax.grid(visible=True, linewidth=0.6)
        ax.set_axisbelow(True)
        handles, labels = ax.get_legend_handles_labels()
        if handles and legend:
            columns = 2 if max(map(len, labels)) < 26 and len(labels) > 3 else 1
            figure.legend(handles, labels, loc="outside lower left", ncols=columns)


def _cost(line: Line, whole: str, part: str) -> float:
    return max(0.0, line.cost.get(whole, 0.0) - line.cost.get(part, 0.0))


def _cost_ticks(ax: Axes, values: Sequence[float]) -> None:
    """Plain numbers at round places, also on a logarithmic axis that spans less than a decade."""
    from matplotlib.ticker import FixedLocator, NullLocator

    if ax.get_xscale() == "log":
        low, high = min(values) * 0.8, max(values) * 1.25
        steps = [m * 10.0**e for e in range(-6, 16) for m in (1, 2, 5)]
        ticks = [t for t in steps if low <= t <= high]
        ax.xaxis.set_major_locator(FixedLocator(ticks[:: max(1, len(ticks) // 8)]))
        ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter(number)


def number(value: float, _: object = None) -> str:
    """Short: millions and more by their sign (M, G, T, P, E), to three digits."""
    for size, sign in ((1e18, "E"), (1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M")):
        if abs(value) >= size:
            return f"{value / size:.3g} {sign}"
    return f"{value:,.0f}" if abs(value) >= 10 or value == int(value) else f"{value:g}"
