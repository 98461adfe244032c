"""What people see of a replay: a table, files and a picture; `main` is the command behind it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from rich.box import SIMPLE_HEAD
from rich.console import Console, RenderableType
from rich.progress import Progress
from rich.table import Table

from evals.replay import curves
from evals.replay.evaluate import Replayed, choose, default_labels, evaluate, report, supported
from evals.replay.grades import Grades
from evals.replay.samples import Recording
from evals.replay.sources import load
from evals.report.text import no_mathtext
from reasoning.cli.show import Name, plain
from reasoning.errors import RecipeError
from reasoning.runs.files import writing

console = Console()


def main(
    source: str | Path,
    *,
    strategies: Sequence[str] = (),
    budgets: Sequence[int] | None = None,
    orders: int = 20,
    seed: int = 0,
    out: str | Path | None = None,
    where: Sequence[str] = (),
    samples_of: str | None = None,
    max_tokens: int | None = None,
    logit: bool = False,
    answers: str | None = None,
) -> dict[str, Any]:
    """Replay, show the table and write the files; what it returns is in `replay.json`.

    Raises UserError for a source, a strategy or a budget that cannot be used.
    """
    chosen = choose(strategies) if strategies else []
    folder = Path(out) if out else Path("runs") / f"replay-{Path(source).name.split('.')[0]}"
    with Progress(console=Console(stderr=True), transient=True) as bar:
        tasks: dict[str, Any] = {}

        def watch(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bar.add_task(what)
            bar.update(tasks[what], completed=done, total=total)

        recording = load(
            source,
            where=pairs_of(where),
            strategy=samples_of,
            max_tokens=max_tokens,
            logit=logit,
            answers=kind_of(answers),
            grades=Grades(folder / "grades.jsonl"),
            watch=watch,
        )
        chosen = chosen or choose(default_labels(recording))
        able, reasons = supported(chosen, recording)
        if not able:
            told = "; ".join(f"{label} {reason}" for label, reason in reasons.items())
            raise RecipeError(f"nothing can be replayed: {told}")
        results = evaluate(recording, able, budgets=budgets, orders=orders, seed=seed, watch=watch)
    replayed = [result.strategy for result in results]
    for strategy in able:
        if strategy not in replayed and budgets:
            reasons[strategy.label] = f"has budgets {strategy.span(recording.n)}"
    found = report(recording, results, reasons, orders=orders, seed=seed)
    show(found)
    _write(found, results, folder, recording)
    return found


def pairs_of(where: Sequence[str]) -> dict[str, str]:
    for item in where:
        if "=" not in item:
            raise RecipeError(f"--where takes FIELD=VALUE, for example run=data/n16, not {item!r}")
    return dict(item.split("=", 1) for item in where)


def kind_of(answers: str | None) -> object:
    """The kind of answers as a recipe has it: a name, or a mapping in YAML."""
    try:
        return None if answers is None else yaml.safe_load(answers)
    except yaml.YAMLError as error:
        raise RecipeError(
            f"--answers takes a kind such as choice, or {{kind: choice, count_from: 0}}, not "
            f"{answers!r}"
        ) from error


def _write(
    found: Mapping[str, Any], results: Sequence[Replayed], folder: Path, recording: Recording
) -> None:
    files = ["replay.json"]
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        text = json.dumps(found, indent=2, ensure_ascii=False)
        (folder / "replay.json").write_text(text + "\n", encoding="utf-8")
        curves.save(recording, results, found["cost"], folder)
        files.append(curves.FILE)
        if plot(found, results, folder / "replay.png"):
            files.append("replay.png")
    console.print(f"{plain(str(folder))}: {', '.join(files)}", soft_wrap=True)


def show(found: Mapping[str, Any]) -> None:
    """The table, the notes, and what could not be replayed."""
    console.print(table(found))
    if found["cost"] == "samples":
        console.print("note: tokens are unknown, so strategies are compared by samples drawn")
    for note in found["notes"]:
        console.print(f"note: {plain(note)}")
    for reduction, entry in found["verifier"].items():
        if area := entry.get("auroc"):
            low, high = area["ci95"]
            error = f", ECE {entry['ece']:.3f}" if "ece" in entry else ""
            console.print(
                f"verifier, {reduction}: AUROC {area['value']:.3f} ({low:.2f}-{high:.2f}){error}, "
                f"{entry['samples']:,} samples"
            )
    reasons: dict[str, list[str]] = {}
    for label, reason in found["unsupported"].items():
        reasons.setdefault(reason, []).append(label)
    for reason, labels in reasons.items():
        text = f"not replayed: {', '.join(labels)} ({reason})"
        console.print(plain(text), style="yellow", highlight=False)


def table(found: Mapping[str, Any]) -> Table:
    """One row for each strategy and budget; costs are means over problems and orders."""
    counted = found["cost"] == "tokens"
    title = f"{found['source']}: {found['problems']:,} problems, {found['orders']} orders"
    view = Table(title=plain(title), caption="* nothing cheaper is as good", box=SIMPLE_HEAD)
    view.padding = (0, 1, 0, 0)
    view.add_column("strategy", overflow="fold", min_width=20)
    heads = ["n", "accuracy (95 %)", "stored", "samples"]
    for head in [*heads, *(["tokens", "serial"] if counted else [])]:
        view.add_column(head, justify="right", no_wrap=True)
    last = None
    for row in found["strategies"]:
        if last is not None and last != row["strategy"]:
            view.add_section()
        low, high = row["ci95"]
        cells: list[RenderableType] = [
            Name(row["strategy"] if last != row["strategy"] else ""),
            str(row["n"]),
            f"{row['accuracy']:.3f} ({low:.2f}-{high:.2f}){'*' if row['pareto'] else ' '}",
            f"{row['stored_order']:.3f}",
            f"{row['samples']:,.1f}",
        ]
        if counted:
            cells += [f"{row['tokens']:,.0f}", f"{row['serial_tokens']:,.0f}"]
        view.add_row(*cells)
        last = row["strategy"]
    return view


def plot(found: Mapping[str, Any], results: Sequence[Replayed], path: Path) -> bool:
    """Accuracy over cost with 95 % bands, strategies that differ in numbers only under one colour.

    False if there is nothing to draw.
    """
    if not results:
        return False
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 6), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    axis, styles = found["cost"], ("-", "--", ":", "-.")
    names = list(dict.fromkeys(r.strategy.name for r in results))
    for result in results:
        rows = [r for r in found["strategies"] if r["strategy"] == result.strategy.label]
        rows.sort(key=lambda row: row[axis])
        x = [max(1.0, row[axis]) for row in rows]
        alike = [r for r in results if r.strategy.name == result.strategy.name]
        axes.plot(
            x,
            [row["accuracy"] for row in rows],
            marker="o",
            markersize=4,
            color=f"C{names.index(result.strategy.name) % 10}",
            linestyle=styles[alike.index(result) % len(styles)],
            label=no_mathtext(result.strategy.label),
        )
        low, high = zip(*(row["ci95"] for row in rows), strict=True)
        color = f"C{names.index(result.strategy.name) % 10}"
        axes.fill_between(x, low, high, color=color, alpha=0.06)
    axes.set_xscale("log", base=2)
    unit = "generated tokens a problem, cancelled ones included"
    axes.set_xlabel(unit if axis == "tokens" else "samples a problem")
    axes.set_ylabel("accuracy, 95 % band")
    title = f"{found['source']}: {found['problems']} problems, {found['orders']} orders"
    axes.set_title(no_mathtext(title))
    axes.grid(alpha=0.3)
    axes.legend(fontsize=7)
    figure.savefig(path, dpi=130, metadata={"Software": None})
    return True
