"""The figure of `recipes/nano_tree.yaml`: tree searches at equal generated tokens.

    python -m benchmarks.figure_tree runs/nano_tree --out docs/images/nano_tree.png

Draws accuracy (95 % Wilson interval) over the token limit and prints a table in Markdown, with the
paired difference from self-consistency under the same limit. Both come from results.jsonl alone.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from pathlib import Path
from typing import Any

from evals.statistics.metrics import wilson
from evals.statistics.paired import compare
from reasoning.runs.store import Store

BASELINE = "self_consistency"


def collect(run: Path) -> dict[tuple[str, int], dict[str, dict[str, Any]]]:
    """Results by (strategy without its limit, token limit), then by problem."""
    found: dict[tuple[str, int], dict[str, dict[str, Any]]] = defaultdict(dict)
    for result in Store(run).results():
        name, _, limit = result["strategy"].rpartition("-tokens=")
        found[name, int(limit)][result["problem"]] = result
    return found


def table(found: dict[tuple[str, int], dict[str, dict[str, Any]]]) -> list[str]:
    """A row for each strategy and limit."""
    head = ["strategy", "limit", "tokens", "reward calls", "longest chain", "accuracy (95 %)"]
    lines = ["| " + " | ".join([*head, "minus self-consistency (95 %, paired)"]) + " |"]
    lines.append("|---" * (len(head) + 1) + "|")
    bases = {limit: rows for (name, limit), rows in found.items() if name.startswith(BASELINE)}
    for (name, limit), rows in sorted(found.items(), key=lambda item: (item[0][1], item[0][0])):
        base = bases[limit]
        ids = [i for i in base if i in rows]
        right = [float(rows[i]["correct"]) for i in ids]
        low, high = wilson(int(sum(right)), len(right))
        gap = compare([float(base[i]["correct"]) for i in ids], right)
        cost = {
            key: sum(row["usage"][key] for row in rows.values()) / len(rows)
            for key in ("generated_tokens", "verifier_calls", "seconds")
        }
        lines.append(
            f"| {name} | {limit} | {cost['generated_tokens']:.0f} | {cost['verifier_calls']:.1f} "
            f"| {cost['seconds'] * 50:.0f} | {sum(right) / len(right):.3f} ({low:.2f}-{high:.2f}) "
            f"| {gap.difference:+.3f} ({gap.low:+.2f} to {gap.high:+.2f}) |"
        )
    return lines


def draw(found: dict[tuple[str, int], dict[str, dict[str, Any]]], path: Path) -> None:
    """Accuracy over generated tokens, a line a strategy."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 6), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    for index, name in enumerate(dict.fromkeys(name for name, _ in found)):
        points = []
        for limit in sorted(limit for other, limit in found if other == name):
            rows = list(found[name, limit].values())
            right = sum(row["correct"] for row in rows)
            low, high = wilson(right, len(rows))
            tokens = sum(row["usage"]["generated_tokens"] for row in rows) / len(rows)
            points.append((tokens, right / len(rows), low, high))
        x, y, low_y, high_y = zip(*points, strict=True)
        spread = [[a - b for a, b in zip(y, low_y, strict=True)]]
        spread.append([b - a for a, b in zip(y, high_y, strict=True)])
        style: dict[str, Any] = {
            "marker": "osD^v<>PX*hpd8"[index % 14],
            "capsize": 2,
            "linewidth": 1,
        }
        _, caps, bars = axes.errorbar(x, y, yerr=spread, label=name, **style)
        for part in (*caps, *bars):
            part.set_alpha(0.3)  # intervals overlap, the lines are what is compared
    axes.set_xlabel("generated tokens a problem")
    axes.set_ylabel("accuracy, 95 % interval")
    problems = max(len(rows) for rows in found.values())
    axes.set_title(f"Tree search and sampling at equal tokens, {problems} problems of nano")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=7, loc="center left", bbox_to_anchor=(1.0, 0.5))
    figure.savefig(path, dpi=120, metadata={"Software": None})


def main() -> None:
    """Draw and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("run", type=Path, help="the folder of a run of recipes/nano_tree.yaml")
    parser.add_argument("--out", type=Path, default=Path("nano_tree.png"))
    options = parser.parse_args()
    found = collect(options.run)
    draw(found, options.out)
    print("\n".join(table(found)))


if __name__ == "__main__":
    main()
