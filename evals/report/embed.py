"""The problems of a report as JSON in the page, within a limit of size.

Every problem keeps its question and its results. Trees come next, their shapes first; what room is
left goes to texts, whole for the problems that deserve it most (strategies differ), then shortened.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from evals.report.load import Row, Runs, StoredProblem, StoredStrategy
from evals.report.numbers import by_interest
from evals.report.text import folded, visible
from evals.report.trees import Texts, abstained, pack, read_tree, short, votes
from reasoning.runs.store import Store

QUESTION = 4_000  # characters of a question, gold answer or answer that are kept
WHOLE, SHORT = 20_000, 280  # characters of one text
NODE = 16  # bytes that a node's shape is expected to take
MOST_VOTES = 40


@dataclass(slots=True)
class Kept:
    """How much of the trees is in the page, in problems; `cut` counts shortened texts."""

    whole: int = 0
    shortened: int = 0
    shapes: int = 0
    treeless: int = 0
    cut: int = 0
    missing: int = 0
    damaged: int = 0

    def notes(self, megabytes: float) -> list[str]:
        """What is not in the page, and how to see it."""
        said = []
        if self.shortened or self.shapes or self.treeless:
            said.append(
                f"the page is kept near {megabytes:g} MB: of {self._all} problems, {self.whole} "
                f"have their trees with whole texts, {self.shortened} with texts of {SHORT} "
                f"characters, {self.shapes} without texts and {self.treeless} no tree; "
                "`reasoning tree RUN PROBLEM` shows any of them whole"
            )
        elif self.cut:
            said.append(f"{self.cut} texts of more than {WHOLE:,} characters are shortened")
        if self.missing:
            said.append(f"trees missing from the run folders: {self.missing}")
        if self.damaged:
            said.append(f"damaged lines of trees, left out: {self.damaged}")
        return said

    @property
    def _all(self) -> int:
        return self.whole + self.shortened + self.shapes + self.treeless


def embed(runs: Runs, size: int) -> tuple[str, Kept]:
    """JSON for a script element, near `size` bytes, and how much of the trees it holds."""
    kept, order = Kept(), by_interest(runs)
    bare = {name: _bare(runs, name) for name in order}
    spent = sum(len(_json(entry)) for entry in bare.values())
    room = size - spent
    written: dict[str, str] = {}
    each = np.array([_shape(runs, name) for name in order], dtype=int)
    shaped = each[: int(np.searchsorted(np.cumsum(each), max(0, room), side="right"))]
    shapes = int(shaped.sum())  # of the most interesting, where not all have room for one
    free = max(0, room - shapes)
    # Of what is free for texts, the part of shortened ones: none if all fit whole.
    later = 0 if sum(_texts(runs, name) for name in order) < free else free * 2 // 5
    for i, name in enumerate(order):
        shapes -= int(each[i]) if i < len(shaped) else 0
        rest = room - shapes if i < len(shaped) else 0
        entry, used = _with_trees(runs, name, bare.pop(name), rest, later, kept)
        room -= used
        written[name] = entry
    listed = ",".join(written[name] for name in runs.problems)
    names = [visible(s.label) for s in runs.strategies]
    page = f'{{"strategies":{_json(names)},"problems":[{listed}]}}'
    return page.replace("<", "\\u003c"), kept


def _with_trees(
    runs: Runs, name: str, entry: dict[str, Any], room: int, later: int, kept: Kept
) -> tuple[str, int]:
    """The entry's JSON with as much of its trees as fits, and the bytes this adds."""
    plain = _json(entry)
    trees = {}
    if room > 0:
        trees = _trees(runs, name, kept)
    if not trees:
        kept.treeless += 1
        return plain, 0
    levels = [(WHOLE, room - later), (SHORT, room), (0, room)]
    for level, limit in levels[2:] if any(s.run.private for s in runs.strategies) else levels:
        texts = Texts(level) if level else None
        for i, (tree, groups) in trees.items():
            entry["r"][i]["tree"] = pack(tree, groups, texts)
        if texts:
            entry["texts"] = list(texts.places)
        else:
            entry.pop("texts", None)
        full = _json(entry)
        added = len(full) - len(plain)
        if added <= limit:
            kept.cut += texts.cut if texts else 0
            kept.whole += level == WHOLE
            kept.shortened += level == SHORT
            kept.shapes += level == 0
            return full, added
    kept.treeless += 1
    return plain, 0


def _trees(runs: Runs, problem: str, kept: Kept) -> dict[int, Any]:
    """The trees of a problem by strategy, each with the groups of its votes."""
    found = {}
    for i, strategy in enumerate(runs.strategies):
        if problem not in strategy.rows:
            continue
        result = strategy.run.result(strategy.rows[problem])
        path = Store(strategy.run.folder).tree_path(strategy.name, problem)
        tree = read_tree(path, result)
        if tree is None:
            kept.missing += 1
            continue
        kept.damaged += tree.damaged
        found[i] = tree, votes(result)[:MOST_VOTES]
    return found


def _shape(runs: Runs, problem: str) -> int:
    rows = (s.rows[problem] for s in runs.strategies if problem in s.rows)
    return sum(60 + NODE * int(row.usage.get("calls", 0)) for row in rows)


def _texts(runs: Runs, problem: str) -> int:
    """The bytes a problem's texts are expected to take; strategies often share them."""
    rows = (s.rows[problem] for s in runs.strategies if problem in s.rows)
    return int(5 * max(row.usage.get("generated_tokens", 0.0) for row in rows))


def _bare(runs: Runs, name: str) -> dict[str, Any]:
    """A problem without its trees."""
    problem: StoredProblem = runs.problems[name]
    entry: dict[str, Any] = {"id": visible(name)}
    if problem.question is not None:
        entry["q"] = folded(visible(problem.question), QUESTION)
    if problem.gold is not None:
        entry["gold"] = folded(visible(problem.gold), QUESTION)
    if problem.meta:
        entry["meta"] = {visible(str(k)): _plain(v) for k, v in problem.meta.items()}
    entry["r"] = [_result(strategy, name) for strategy in runs.strategies]
    return entry


def _result(strategy: StoredStrategy, problem: str) -> dict[str, Any] | None:
    """What one strategy made of one problem; None if it is not there (yet)."""
    row = strategy.rows.get(problem)
    if row is None:
        return None
    result = strategy.run.result(row)
    spent = ("generated_tokens", "wasted_tokens", "verifier_calls", "critical_tokens", "seconds")
    return {
        "a": None if row.answer is None else folded(visible(row.answer), QUESTION),
        "ok": row.correct,
        "stop": visible(row.stop),
        "u": [short(row.usage.get(kind, 0.0)) for kind in spent],
        "votes": [_vote(group) for group in votes(result)[:MOST_VOTES]],
        **_more(row, result),
    }


def _more(row: Row, result: Mapping[str, Any]) -> dict[str, Any]:
    """What only some results have."""
    found: dict[str, Any] = {
        "failures": failures(result),
        "more": [[visible(name), short(value)] for name, value in spent_besides(row)],
        "none": abstained(result),
    }
    confidence = result.get("confidence")
    if isinstance(confidence, (int, float)) and math.isfinite(confidence):
        found["conf"] = short(confidence)
    return {key: value for key, value in found.items() if value or key == "conf"}


def spent_besides(row: Row) -> list[tuple[str, float]]:
    """What only some searches spend, in words, where this one did."""
    names = {"probe_tokens": "probe tokens", "tool_calls": "tool calls", "money": "money"}
    names |= {"estimated_tokens": "estimated tokens", "unknown_prompts": "prompts not counted"}
    found = [(told, row.usage[name]) for name, told in names.items() if row.usage.get(name)]
    tokens = [(f"tokens of {m}", part.get("generated_tokens", 0)) for m, part in row.models.items()]
    return [*found, *tokens]


def _vote(group: Mapping[str, Any]) -> list[Any]:
    text = None if group["text"] is None else folded(visible(str(group["text"])), 200)
    score = None if group["score"] is None else short(group["score"])
    return [text, group["n"], short(group["weight"]), group["ok"], score]


def failures(result: Mapping[str, Any]) -> list[str]:
    """What went wrong: of a search that an error ended, the traceback stands first."""
    found: list[Any] = list(result.get("failures") or ())
    if result.get("error"):
        found.insert(0, result["error"])
    tracebacks = [text for text in map(str, found) if "\n" in text.strip()]
    ordered = [*tracebacks[:1], *(text for text in map(str, found) if text not in tracebacks[:1])]
    return [
        folded(visible(text.strip()), QUESTION if "\n" in text.strip() else 300)
        for text in ordered[:5]
    ]


def _plain(value: Any) -> Any:
    if isinstance(value, (bool, int)) or (isinstance(value, float) and math.isfinite(value)):
        return value
    return folded(visible(str(value)), 200)


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
