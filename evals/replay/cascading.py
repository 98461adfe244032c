"""What people see of a cascade of two recordings; `main` is the command behind it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from math import inf
from pathlib import Path
from typing import Any, cast, get_args

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.table import Table

from evals.replay.cascade import By, Units, area, at, curve, paired
from evals.replay.grades import Grades
from evals.replay.samples import Recording
from evals.replay.show import console, kind_of, pairs_of
from evals.replay.sources import load
from evals.report.text import no_mathtext
from reasoning.cli.show import plain
from reasoning.errors import RecipeError
from reasoning.runs.files import writing


def main(
    small: str | Path,
    large: str | Path,
    *,
    by: str | None = None,
    votes: int = 1,
    prices: str = "1,1",
    out: str | Path | None = None,
    where: Sequence[str] = (),
    samples_of: str | None = None,
    large_where: Sequence[str] = (),
    large_samples_of: str | None = None,
    max_tokens: int | None = None,
    logit: bool = False,
    answers: str | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """Show the curve and write `cascade.json`, which holds what it returns.

    `cascade.csv` has every threshold, `cascade.png` the picture. `where` is for both recordings
    unless there is a `large_where`. Raises UserError for recordings or options that cannot be used.
    """
    if by is not None and by not in get_args(By):
        raise RecipeError(f"--by is one of {', '.join(get_args(By))}, not {by!r}")
    name = f"cascade-{Path(small).name.split('.')[0]}-{Path(large).name.split('.')[0]}"
    folder = Path(out) if out else Path("runs") / name
    read: dict[str, Any] = {"max_tokens": max_tokens, "logit": logit, "answers": kind_of(answers)}
    grades = Grades(folder / "grades.jsonl")
    first, second = [
        load(path, where=pairs_of(kept), strategy=of, grades=grades, **read)
        for path, kept, of in (
            (small, where, samples_of),
            (large, large_where or where, large_samples_of),
        )
    ]
    kind = cast("By | None", by)
    units, told_by, rule = paired(first, second, by=kind, k=votes, prices=_prices(prices))
    found = {
        "small": first.name,
        "large": second.name,
        "problems": len(units.names),
        "answers": len(units.sure),
        "by": told_by,
        "votes": votes,
        "rule": rule,
        **_told(units, seed),
        "notes": [note for recording in (first, second) for note in _notes(recording)],
    }
    show(found)
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        text = json.dumps(found, indent=2, ensure_ascii=False)
        (folder / "cascade.json").write_text(text + "\n", encoding="utf-8")
        (folder / "cascade.csv").write_text(_lines(units), encoding="utf-8")
        plot(units, found, folder / "cascade.png")
    files = "cascade.json, cascade.csv, cascade.png"
    console.print(f"{plain(str(folder))}: {files}", soft_wrap=True)
    return found


def _notes(recording: Recording) -> list[str]:
    notes = [f"{recording.name}: {note}" for note in recording.notes]
    if guessed := sum(sample.guessed for sample in recording.drawn()):
        notes.append(f"{recording.name}: tokens of {guessed:,} samples are estimated")
    return notes


def _prices(text: str) -> tuple[float, float]:
    try:
        small, large = map(float, text.split(","))
    except ValueError:
        small = large = -1.0
    if not (0 <= small < inf and 0 < large < inf):
        raise RecipeError(f"--prices takes two prices of a token, small,large, not {text!r}")
    return small, large


def _told(units: Units, seed: int) -> dict[str, Any]:
    """The curve at about every tenth that is deferred, its area, the large model alone."""
    whole = curve(units)
    tenths = np.linspace(0, 1, 11)
    cuts = sorted({int(np.abs(whole.deferred - t).argmin()) for t in tenths})
    means = at(units, whole.threshold[cuts].tolist())
    cost, accuracy = whole.large
    near = np.flatnonzero(whole.accuracy >= accuracy - 0.02)
    whole_area = area(units, seed=seed)
    return {
        "large_alone": {"cost": cost, "accuracy": accuracy},
        "points": [
            {
                "threshold": None if not np.isfinite(t := whole.threshold[i]) else float(t),
                "deferred": float(whole.deferred[i]),
                "cost": float(whole.cost[i]),
                "accuracy": {"value": mean.value, "ci95": [mean.low, mean.high]},
            }
            for i, mean in zip(cuts, means, strict=True)
        ],
        "area": {"value": whole_area.value, "ci95": [whole_area.low, whole_area.high]},
        "within_2_points": None
        if not len(near)
        else {
            "threshold": float(t) if np.isfinite(t := whole.threshold[near[0]]) else None,
            "deferred": float(whole.deferred[near[0]]),
            "cost": float(whole.cost[near[0]]),
            "of_large": float(whole.cost[near[0]]) / cost if cost else None,
            "accuracy": float(whole.accuracy[near[0]]),
        },
    }


def _lines(units: Units) -> str:
    """The whole curve, a threshold a line; who is less sure is deferred."""
    whole = curve(units)
    rows = zip(whole.threshold, whole.deferred, whole.cost, whole.accuracy, strict=True)
    lines = [",".join(f"{value:.6g}" for value in row) for row in rows]
    return "\n".join(["threshold,deferred,cost,accuracy", *lines, ""])


def plot(units: Units, found: Mapping[str, Any], path: Path) -> None:
    """Accuracy over cost at every threshold with its 95 % band, and the two models alone."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    whole = curve(units)
    some = np.unique(np.linspace(0, len(whole.cost) - 1, 200).astype(int))
    means = at(units, whole.threshold[some].tolist())
    figure = Figure(figsize=(8, 5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    axes.plot(whole.cost, whole.accuracy, label=f"cascade by {found['by']}")
    low, high = zip(*((mean.low, mean.high) for mean in means), strict=True)
    axes.fill_between(whole.cost[some], low, high, alpha=0.1)
    axes.plot(whole.cost, whole.alone(whole.cost), "--", color="grey", label="one or the other")
    axes.plot(*whole.large, "s", color="grey", label="the large model alone")
    small = whole.cost[0], whole.accuracy[0]
    axes.plot(*small, "o", color="grey", label="the small model alone")
    axes.set_xlabel("cost a problem: tokens times their price")
    axes.set_ylabel("accuracy, 95 % band")
    names = dict.fromkeys((found["small"], found["large"]))
    axes.set_title(no_mathtext(f"{', then '.join(names)}: {found['problems']} problems"))
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    figure.savefig(path, dpi=130, metadata={"Software": None})


def show(found: Mapping[str, Any]) -> None:
    """The curve as a table, and what to make of it."""
    title = (
        f"{found['small']}, then {found['large']}, by {found['by']}: {found['problems']} problems"
    )
    view = Table(title=plain(title), box=SIMPLE_HEAD)
    for head in ("deferred", "less sure than", "cost", "accuracy (95 %)"):
        view.add_column(head, justify="right", no_wrap=True)
    for point in found["points"]:
        low, high = point["accuracy"]["ci95"]
        view.add_row(
            f"{point['deferred']:.0%}",
            "-" if point["threshold"] is None else f"{point['threshold']:.4g}",
            f"{point['cost']:,.0f}",
            f"{point['accuracy']['value']:.3f} ({low:.2f}-{high:.2f})",
        )
    console.print(view)
    alone, gain = found["large_alone"], found["area"]
    low, high = gain["ci95"]
    lines = [
        f"the large model alone: {alone['accuracy']:.3f} at {alone['cost']:,.0f}",
        f"mean gain over the two models alone, at equal cost: {gain['value']:+z.3f} "
        f"({low:+z.3f} to {high:+z.3f})",
    ]
    if (near := found["within_2_points"]) and near["of_large"] is not None:
        lines.append(
            f"within 2 points of the large model: {near['deferred']:.0%} deferred, "
            f"{near['of_large']:.0%} of its cost"
            + ("" if near["threshold"] is None else f", at threshold {near['threshold']:.4g}")
            + " (chosen on these problems)"
        )
    if found["rule"]:
        rule = ", ".join(f"{name}: {weight:.4g}" for name, weight in found["rule"].items())
        lines.append(f"gain: {{{rule}}}  (for searcher cascade; the curve's is fitted held out)")
    for line in [*lines, *(f"note: {note}" for note in found["notes"])]:
        console.print(plain(line), highlight=False, soft_wrap=True)
