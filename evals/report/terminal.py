"""Trees and comparisons for the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text
from rich.tree import Tree as RichTree

from evals.report import numbers
from evals.report.charts import number
from evals.report.embed import failures, spent_besides
from evals.report.load import Runs, StoredStrategy, load
from evals.report.text import chance, one_line, visible
from evals.report.trees import State, Tree, TreeNode, abstained, read_tree, votes
from reasoning.cli.show import Name
from reasoning.errors import RecipeError, StoreError, unknown
from reasoning.runs.store import Store

_NAMED = 8
MARKS: Mapping[State, tuple[str, str]] = {
    "grown": ("●", ""),
    "chosen": ("★", "bold"),
    "candidate": ("■", ""),
    "ended": ("□", "dim"),
    "cut": ("✂", "dim"),
    "limit": ("…", "yellow"),
    "cancelled": ("⊘", "dim yellow"),
    "failed": ("!", "red"),
    "written": ("✎", "italic"),
    "probe": ("?", "bright_black"),
}


def show_tree(run: Path, problem: str | None, strategy: str | None, console: Console) -> None:
    """Print the rollout tree of one problem; of the first strategy that has it if none is named.

    Raises RecipeError for a problem or strategy that the run does not have, or for no problem.
    """
    runs = load([run])
    names = [s.name for s in runs.strategies]
    if strategy is not None and strategy not in names:
        raise RecipeError(unknown("strategy", strategy, names))
    if problem not in runs.problems:
        known = list(runs.problems)
        if problem is None:
            raise RecipeError(f"which problem? {run} has {_first(known)}")
        told = unknown("problem", problem, known).partition(" Known:")[0]
        raise RecipeError(f"{told} {run} has {_first(known)}")
    having = [s for s in runs.strategies if problem in s.rows]
    chosen = having[0] if strategy is None else runs.strategies[names.index(strategy)]
    if problem not in chosen.rows:
        raise RecipeError(f"strategy {chosen.name!r} has no result for problem {problem!r} (yet)")
    result = chosen.run.result(chosen.rows[problem])
    tree = read_tree(Store(run).tree_path(chosen.name, problem), result)
    if tree is None:
        raise StoreError(f"the tree of {problem!r} by {chosen.name!r} is missing from {run}")
    question = runs.problems[problem].question
    if question is not None:
        console.print(Text(visible(question)))
    console.print(_drawn(tree, result, chosen, console.width))
    if tree.damaged:
        console.print(f"{tree.damaged} damaged lines of the tree are left out", style="yellow")
    others = [s.name for s in having if s is not chosen]
    if strategy is None and others:
        console.print(Text(visible(f"Other strategies: {', '.join(others)}"), style="dim"))


def _first(problems: Sequence[str]) -> str:
    """How many problems there are, and the names of some."""
    names = ", ".join(problems[:_NAMED]) + (", ..." if len(problems) > _NAMED else "")
    return f"{len(problems)} problem{'s' * (len(problems) != 1)}{names and ': '}{names}"


def _drawn(
    tree: Tree, result: Mapping[str, Any], strategy: StoredStrategy, width: int
) -> RenderableType:
    root = RichTree(_head(result, strategy), guide_style="dim")
    branches: dict[int, RichTree] = {-1: root}
    for place, node in enumerate(tree.nodes):
        room = max(20, width - 4 * len(node.path) - 2)
        branches[place] = branches[node.parent].add(_label(node, room))
    legend = Text("  ").join(Text(f"{MARKS[s][0]} {s}", style=MARKS[s][1]) for s in _present(tree))
    return Group(root, legend, _votes(result))


def _head(result: Mapping[str, Any], strategy: StoredStrategy) -> Text:
    """The strategy, its answer and what it spent; why it failed, if it did."""
    usage, row = result["usage"], strategy.rows[result["problem"]]
    none = "none, by choice" if abstained(result) else "None"
    answer = none if result.get("answer") is None else one_line(str(result["answer"]), 40)
    confidence = result.get("confidence")
    sure = f", confidence {confidence:.2f}" if isinstance(confidence, (int, float)) else ""
    head = Text.assemble(
        (visible(strategy.name), "bold"),
        f"  answer {answer}{sure}",
        f" (gold {one_line(str(result.get('gold')), 40)})",
        _grade(result.get("correct")),
        f"  {usage.get('generated_tokens', 0):,} tokens, {usage.get('wasted_tokens', 0):,} wasted",
        *(f", {visible(name)} {value:,.6g}" for name, value in spent_besides(row)),
    )
    if row.stop == "failed":
        told = failures(result) or ["an error"]
        head.append(f"\nthe search failed: {one_line(told[0].splitlines()[-1], 200)}", style="red")
    return head


def _label(node: TreeNode, width: int) -> Text:
    """What it answers and reads; state, scores, tokens, answer, and the start of its text."""
    mark, style = MARKS[node.state]
    parts = [f"{mark} {'.'.join(map(str, node.path[-1:]))}"]
    if node.state not in ("grown", "chosen", "candidate"):
        parts.append(node.state)
    if node.finish == "written" and node.state != "written":
        parts.append("written")
    if node.model:
        parts.append(one_line(node.model, 30))
    for name, steps in node.scores.items():
        parts.append(f"{visible(name)} {', '.join(f'{s:.2f}' for s in steps[-6:])}")
    if node.finish != "written":
        parts.append(f"{node.tokens} tok")
    label = Text("  ".join(parts), style=style)
    if node.candidate is not None:
        answer = node.candidate.get("answer")
        label.append(f"  = {one_line(str(answer), 30)}" if answer is not None else "  no answer")
        label.append_text(_grade(node.candidate.get("correct")))
        weight = node.candidate.get("weight", 1.0)
        if weight != 1.0:
            label.append(f"  weight {weight:.3g}")
    if node.winner:
        label.append("  ← the answer")
    text = one_line(node.text or node.error or "", max(10, 2 * width - len(label)))
    if text:
        label.append(f"  {text}", style="dim")
    return Text("\n").join([*_before(node, width), label])


def _before(node: TreeNode, width: int) -> list[Text]:
    """A line for each message that the node answers, and one for the nodes it has read."""
    lines = []
    if node.asked is not None:
        for role, content in node.asked.messages:
            anew = ", anew" if node.asked.afresh else ""
            said = one_line(f"{role}{anew}: {content}", 2 * width)
            lines.append(Text(said, style="cyan"))
    if node.sources:
        paths = ", ".join(".".join(map(str, path)) for path in node.sources)
        lines.append(Text(one_line(f"read: {paths}", 2 * width), style="cyan"))
    return lines


def _present(tree: Tree) -> list[State]:
    return [state for state in MARKS if any(node.state == state for node in tree.nodes)]


def _votes(result: Mapping[str, Any]) -> Text:
    told = Text("votes: ")
    for i, group in enumerate(votes(result)[:8]):
        answer = "no answer" if group["text"] is None else one_line(str(group["text"]), 30)
        told.append(f"{', ' if i else ''}{answer} ×{group['n']}")
        told.append_text(_grade(group["ok"]))
    return told


def _grade(correct: object) -> Text:
    if correct is True:
        return Text(" ✓", style="green")
    return Text(" ✗", style="red") if correct is False else Text("")


def show_comparison(folders: Sequence[Path], baseline: str | None, console: Console) -> None:
    """Print the strategies of several runs side by side and their paired differences.

    Raises RecipeError for different tasks, no problem in common or an unknown baseline.
    """
    runs = load(folders)
    held = [{p for s in runs.strategies if s.run is run for p in s.rows} for run in runs.runs]
    if not set.intersection(*held):
        raise RecipeError(
            "the runs have no problem in common; compare runs of the same task and the same "
            "part of it"
        )
    labels = [s.label for s in runs.strategies]
    if baseline is not None and baseline not in labels:
        raise RecipeError(unknown("strategy", baseline, labels))
    console.print(_strategies(runs))
    found = numbers.comparisons(runs, baseline=baseline)
    if found.shown:
        console.print(_differences(found, baseline or labels[0]))
    else:
        console.print("No problem has a graded result of every strategy: nothing to pair.")
    for note, whose in runs.notes.items():
        console.print(Text(visible(f"note: {whose}: {note}")))


def _strategies(runs: Runs) -> Table:
    lines = numbers.summary_lines(runs)
    sized = any(line.cost.get("flops") for line in lines)
    counts = {line.problems for line in lines}
    heads = ["accuracy (95 %)", "tokens", "wasted", "calls", "chain", "s"]
    heads = [*(["n"] if len(counts) > 1 else []), *heads, *(["FLOP"] if sized else [])]
    if any(line.failed for line in lines):
        heads.insert(heads.index("tokens"), "failed")
    over = (
        f"{min(counts):,} problems"
        if len(counts) == 1
        else f"{min(counts):,} to {max(counts):,} problems (n)"
    )
    operations = ", floating point operations (2 x parameters x tokens)" if sized else ""
    table = _table(
        f"{len(lines)} strategies, {over}",
        "accuracy with 95 % Wilson intervals; means a problem of generated tokens, verifier "
        f"calls, the longest dependent chain of tokens, seconds{operations}",
        narrow=len(heads) > 7,
    )
    for head in heads:
        table.add_column(head, justify="right", no_wrap=True)
    for line in lines:
        known = line.accuracy
        cells = {
            "n": f"{line.problems:,}",
            "accuracy (95 %)": f"{known.value:.3f} ({known.low:.2f}-{known.high:.2f})"
            if known
            else "-",
            "failed": f"{line.failed:,}",
            "tokens": f"{line.cost.get('generated_tokens', 0):,.0f}",
            "wasted": f"{line.wasted:.0%}",
            "calls": f"{line.cost.get('verifier_calls', 0):,.1f}",
            "chain": f"{line.cost.get('critical_tokens', 0):,.0f}",
            "s": f"{line.cost.get('seconds', 0):,.1f}",
            "FLOP": number(line.cost["flops"]).replace(" ", "") if "flops" in line.cost else "?",
        }
        table.add_row(Name(visible(line.strategy.label)), *(cells[head] for head in heads))
    return table


def _table(title: str, caption: str, *, narrow: bool = False) -> Table:
    """A table that fits 80 columns, nine of its own if `narrow`; its first column folds."""
    table = Table(
        title=Text(title, style="bold"),
        caption=caption,
        title_justify="left",
        caption_justify="left",
        box=SIMPLE_HEAD,
        padding=(0, 0 if narrow else 1, 0, 0),
    )
    table.add_column("strategy", overflow="fold", min_width=10 if narrow else 16)
    return table


def _differences(compared: numbers.Compared, baseline: str) -> Table:
    found = [c for c in compared.shown if c.a == baseline]
    first = found[0]
    tests = " and ".join(dict.fromkeys(c.test for c in found))
    table = _table(
        f"Difference in accuracy to {visible(first.a)}, {first.problems:,} common problems",
        "95 % paired bootstrap intervals; won, lost: problems that only this strategy or only the "
        f"other got right; p: {tests}, two-sided; adjusted: {visible(compared.family)}",
    )
    for head in ("difference (95 %)", "won", "lost", "p", "adjusted"):
        table.add_column(head, justify="right", no_wrap=True)
    for c in found:
        table.add_row(
            Name(visible(c.b)),
            f"{c.difference:+z.3f} ({c.low:+z.2f} to {c.high:+z.2f})",
            "-" if c.only_b is None else str(c.only_b),
            "-" if c.only_a is None else str(c.only_a),
            chance(c.p_value),
            "-" if c.adjusted is None else chance(c.adjusted),
        )
    return table
