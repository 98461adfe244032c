"""A rollout tree as a page is told of it: so many nodes at the most, by path, in plain values."""

from __future__ import annotations

import math
import re
from collections import deque
from collections.abc import Callable, Mapping
from itertools import islice
from typing import Any, TypeAlias

from reasoning.text import visible
from reasoning.tree import Node, Path, RolloutTree

MOST = 250
"""Nodes of a tree that are told, those nearest to the root; of the others it is said how many."""
_PATH = re.compile(r"\d{1,9}(\.\d{1,9}){0,999}", re.ASCII)
_LONG = 320
"""Characters of a text that are told: its beginning, and a third from its end."""

Entries: TypeAlias = dict[str, dict[str, Any]]
Mark: TypeAlias = Callable[[Node], tuple[str | None, bool] | None]
"""Of a candidate its answer, and whether that is the chosen one; None for any other node."""


def entries(
    tree: RolloutTree, mark: Mark, *, over: bool, winner: Path | None = None, texts: bool = True
) -> Entries:
    """The nodes by path ("0.2" is the third below the first), parents first.

    `s` state, `n` tokens, `v` score of the last step, `t` text, `a` answer of a candidate, `m`
    model, `w` the chosen text. What says nothing is left out, and every text without `texts`.
    """
    found: Entries = {}
    line = deque(islice(tree.root.children, MOST))
    while line and len(found) < MOST:
        node = line.popleft()
        line.extend(islice(node.children, MOST))
        path = node.path
        found[".".join(map(str, path))] = _entry(node, mark(node), over, texts, path == winner)
    return found


def _entry(
    node: Node, marked: tuple[str | None, bool] | None, over: bool, texts: bool, won: bool
) -> dict[str, Any]:
    sample = node.sample
    entry: dict[str, Any] = {"s": _state(node, marked, over), "n": sample.generated_tokens}
    score = next((steps[-1] for steps in node.scores.values() if steps), None)
    if score is not None:
        entry["v"] = round(score, 4)
    if sample.model:
        entry["m"] = brief(sample.model, 60)
    if won:
        entry["w"] = True
    if texts:
        entry["t"] = brief(sample.text or str((sample.info or {}).get("error", "")))
        if marked is not None and marked[0] is not None:
            entry["a"] = brief(marked[0], 80)
    return entry


def _state(node: Node, marked: tuple[str | None, bool] | None, over: bool) -> str:
    """As a report has it (`evals.report.trees`), and "tip" for what may still be continued."""
    finish = node.sample.finish
    if finish in ("cancelled", "loop"):
        return "cancelled"
    if finish in ("failed", "probe"):
        return finish
    if marked is not None:
        return "chosen" if marked[1] else "candidate"
    if finish == "written":
        return "written"
    if any(child.sample.finish != "probe" for child in node.children):
        return "grown"
    if finish == "end":
        return "ended"
    if not over:
        return "tip"
    return "limit" if finish == "length" else "cut"


def sound(nodes: Any) -> Entries:
    """What is entries of a tree in `nodes`, which somebody else has written."""
    told = nodes.items() if isinstance(nodes, Mapping) else ()
    found = {str(path): node for path, node in told if _PATH.fullmatch(str(path))}
    whole = {path: node for path, node in found.items() if isinstance(node, Mapping)}
    return {path: _sound(node) for path, node in islice(whole.items(), MOST)}


def _sound(node: Mapping[str, Any]) -> dict[str, Any]:
    tokens, score = node.get("n"), node.get("v")
    entry: dict[str, Any] = {"s": brief(str(node.get("s")), 20)}
    entry["n"] = tokens if isinstance(tokens, int) and 0 <= tokens < 1 << 53 else 0
    if isinstance(score, int | float) and math.isfinite(score):
        entry["v"] = float(score)
    return entry | {k: brief(str(node[k]), 4 * _LONG) for k in ("t", "a", "m") if k in node}


def brief(text: str, limit: int = _LONG) -> str:
    """A text, or its beginning and its end, made fit to be shown."""
    if len(text) <= limit:
        return visible(text)
    tail = limit // 3
    return f"{visible(text[: limit - tail])} … {visible(text[-tail:])}"


def stored_mark(result: Mapping[str, Any]) -> Mark:
    """What the line of a search that is over says of its candidates."""
    found: dict[Path, tuple[str | None, bool]] = {}
    known = [c for c in result.get("candidates") or () if isinstance(c, Mapping)]
    answer = result.get("answer")
    chosen = {c.get("key") for c in known if answer is not None and c.get("answer") == answer}
    for c in known:
        told = c.get("answer")
        text = None if told is None else str(told)
        found[tuple(c.get("path") or ())] = (text, told is not None and c.get("key") in chosen)
    return lambda node: found.get(node.path)
