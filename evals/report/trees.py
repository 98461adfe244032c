"""Rollout trees as reports see them: read leniently, each node in one of a few states, packed."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias

from evals.report.text import folded, visible
from evals.statistics.reading import Call
from reasoning.stored import tree_lines

State: TypeAlias = Literal[
    "grown",
    "chosen",
    "candidate",
    "ended",
    "cut",
    "limit",
    "cancelled",
    "failed",
    "written",
    "probe",
]
STATES: Mapping[State, str] = {
    "grown": "step that was continued",
    "chosen": "candidate with the chosen answer",
    "candidate": "candidate with another answer",
    "ended": "ended, but not a candidate",
    "cut": "cut: not continued by the search",
    "limit": "stopped by a token limit",
    "cancelled": "cut off while it was written: cancelled, or in a loop",
    "failed": "the call failed",
    "written": "written by the search, not by a model",
    "probe": "a look at what would come next, beside the path",
}
"""Their places are what a page knows them by."""

# Long arrays that no report shows. In JSON a quote within a text has a backslash before it.
_ARRAYS = re.compile(
    rb'(?<!\\)"top_logprobs": \{(?:"said": \[.*?\], )?"texts": .*?\]\], '
    rb'"logprobs": \[\[[^"]*?\]\]\}(?:, )?'
    rb'|(?<!\\)"(?:token_ids|logprobs|confidence)": \[[^\]]*\](?:, )?'
)
_ENDING = re.compile(rb", *\}\s*$")


@dataclass(frozen=True, slots=True)
class Asked:
    """What a node answers instead of going on with its parent's text: (role, content) each.

    `afresh`, it is the start of another conversation.
    """

    messages: tuple[tuple[str, str], ...]
    afresh: bool


@dataclass(slots=True, eq=False)
class TreeNode:
    """One sample. `parent` is an index into the tree's nodes, -1 for the root; tokens generated.

    `sources` are the paths of nodes that its call has read; `winner` tells the chosen text.
    """

    path: tuple[int, ...]
    parent: int
    text: str
    finish: str
    tokens: int
    scores: Mapping[str, Sequence[float]]
    asked: Asked | None
    error: str | None
    model: str = ""
    sources: tuple[tuple[int, ...], ...] = ()
    candidate: Mapping[str, Any] | None = None
    state: State = "cut"
    winner: bool = False


@dataclass(slots=True)
class Tree:
    """Nodes, parents before children; `damaged` counts lines that could not be read."""

    nodes: list[TreeNode] = field(default_factory=list)
    damaged: int = 0


def read_tree(file: Path, result: Mapping[str, Any]) -> Tree | None:
    """The stored tree of `result` with its candidates marked; None if there is none."""
    if not file.is_file():
        return None
    tree = Tree()
    places: dict[tuple[int, ...], int] = {(): -1}
    lines = tree_lines(file)
    next(lines, None)  # the header repeats what the result says
    for raw in lines:
        node = _node(raw, places)
        if node is None or node.path in places:
            tree.damaged += 1
            continue
        places[node.path] = len(tree.nodes)
        tree.nodes.append(node)
    _mark(tree.nodes, result)
    return tree


def _node(raw: bytes, places: Mapping[tuple[int, ...], int]) -> TreeNode | None:
    try:
        line = _without_arrays(raw)
        path = tuple(int(slot) for slot in line["path"])
        return TreeNode(
            path,
            places[path[:-1]],
            str(line["text"]),
            str(line["finish"]),
            int(line.get("generated_tokens", 0)),
            {str(k): [float(x) for x in v] for k, v in line.get("scores", {}).items()},
            _asked(line),
            (line.get("info") or {}).get("error"),
            str(line.get("model", "")),
            tuple(tuple(map(int, path)) for path in line.get("sources", ())),
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def read_calls(file: Path) -> list[Call] | None:
    """What the stored tree says about reading; None if any of it is missing."""
    try:
        with file.open("rb") as lines:
            next(lines, None)
            return [_call(_without_arrays(raw)) for raw in lines]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _call(line: Mapping[str, Any]) -> Call:
    turn = line.get("turn")
    asked = json.dumps(turn["messages"]) if turn else line.get("message")
    return Call(
        tuple(line["path"]),
        line["finish"],
        line.get("prompt_tokens", 0),
        line.get("generated_tokens", 0),
        line.get("model", ""),
        asked,
        bool(turn["afresh"]) if turn else asked is not None,
        (line.get("info") or {}).get("suffix") or "",
        bool(line.get("sample") or line["text"]),
    )


def _without_arrays(raw: bytes) -> Any:
    """What a line holds but for its arrays, several times quicker than with them."""
    try:
        return json.loads(_ENDING.sub(b"}", _ARRAYS.sub(b"", raw)))
    except ValueError:
        return json.loads(raw)
    except RecursionError:
        raise ValueError("it is nested too deep") from None


def abstained(result: Mapping[str, Any]) -> bool:
    """Whether there were answers to choose from, and none was chosen."""
    found = result.get("candidates") or ()
    ended = result.get("stop_reason") != "failed" and result.get("answer") is None
    return ended and any(c.get("answer") is not None for c in found)


def chosen_key(result: Mapping[str, Any]) -> str | None:
    """What the votes for the answer of `result` are counted by."""
    for candidate in result.get("candidates") or ():
        if candidate.get("answer") is not None and candidate["answer"] == result.get("answer"):
            return str(candidate.get("key"))
    return None


def _mark(nodes: Iterable[TreeNode], result: Mapping[str, Any]) -> None:
    candidates = {tuple(c.get("path") or ()): c for c in result.get("candidates") or ()}
    chosen, winner = chosen_key(result), result.get("node")
    nodes = list(nodes)
    parents = {node.parent for node in nodes if node.finish != "probe"}
    for place, node in enumerate(nodes):
        node.candidate = candidates.get(node.path)
        node.state = _state(node, place in parents, chosen)
        node.winner = isinstance(winner, list) and node.path == tuple(winner)


def _state(node: TreeNode, grown: bool, chosen: str | None) -> State:
    if node.finish in ("cancelled", "loop"):
        return "cancelled"
    if node.finish == "failed":
        return "failed"
    if node.finish == "probe":
        return "probe"
    if node.candidate is not None:
        key = node.candidate.get("key")
        return "chosen" if key is not None and str(key) == chosen else "candidate"
    if node.finish == "written":
        return "written"
    if grown:
        return "grown"
    if node.finish == "length":
        return "limit"
    return "ended" if node.finish == "end" else "cut"


def votes(result: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The answers of the candidates, most of them first: text, count, weight, grade, best score."""
    groups: dict[str | None, dict[str, Any]] = {}
    for c in result.get("candidates") or ():
        key = c.get("key")
        if (group := groups.get(key)) is None:
            group = {"text": c.get("answer"), "n": 0, "weight": 0.0, "score": None, "key": key}
            group["ok"] = c.get("correct")
            groups[key] = group
        group["n"] += 1
        group["weight"] += float(c.get("weight") or 0)
        if steps := c.get("steps"):
            known = group["score"]
            group["score"] = steps[-1] if known is None else max(steps[-1], known)
    return sorted(groups.values(), key=lambda g: -g["n"])


class Texts:
    """The texts of one problem's trees, each stored once however many strategies share it."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.places: dict[str, int] = {}
        self.cut = 0

    def place(self, text: str) -> int:
        """Where `text` stands in the list."""
        shown = folded(visible(text), self.limit)
        self.cut += len(text) > self.limit and shown not in self.places
        return self.places.setdefault(shown, len(self.places))


def pack(tree: Tree, groups: Sequence[Mapping[str, Any]], texts: Texts | None) -> dict[str, Any]:
    """A tree as columns of plain JSON, a few bytes a node; without `texts` only its shape.

    `p` parents, `s` slots, `t` states (their places in STATES), `n` tokens, `v` scores of steps by
    verifier (only the last without `texts`), `x` places of texts, `c` the group of a candidate's
    answer, `w` its weight. By node: `m` what it answers ([afresh, [role, place of text], ...]),
    `r` the nodes it read, `g` its model; `b` nodes that the search wrote, `win` the chosen one.
    What says nothing is left out.
    """
    nodes, names = tree.nodes, list(STATES)
    place = {group["key"]: i for i, group in enumerate(groups)}
    candidates = [node.candidate for node in nodes]
    columns: dict[str, Any] = {
        "t": "".join(str(names.index(node.state)) for node in nodes),
        "n": [node.tokens for node in nodes],
    }
    if any(node.parent >= 0 for node in nodes):
        columns["p"] = [node.parent for node in nodes]
    slots = [node.path[-1] for node in nodes]
    if "p" in columns or slots != list(range(len(nodes))):
        columns["s"] = slots
    if any(candidates):
        columns["c"] = [-1 if c is None else place.get(c.get("key"), -1) for c in candidates]
    weights = [0 if c is None else short(c.get("weight")) for c in candidates]
    if set(weights) - {0, 1}:
        columns["w"] = weights
    for verifier in dict.fromkeys(name for node in nodes for name in node.scores):
        kept = [node.scores.get(verifier, ()) for node in nodes]
        scores = [[short(x) for x in steps] for steps in kept] if texts else _last(kept)
        columns.setdefault("v", {})[visible(verifier)] = scores
    if texts is not None:
        columns["x"] = [texts.place(node.text or node.error or "") for node in nodes]
        told = {i: _packed(n.asked, texts) for i, n in enumerate(nodes) if n.asked is not None}
        if told:
            columns["m"] = told
    columns |= _special(nodes)
    if tree.damaged:
        columns["damaged"] = tree.damaged
    return columns


def _packed(asked: Asked, texts: Texts) -> list[Any]:
    turns = [[visible(role), texts.place(content)] for role, content in asked.messages]
    return [int(asked.afresh), *turns]


def _special(nodes: Sequence[TreeNode]) -> dict[str, Any]:
    """Columns of what few trees have."""
    places = {node.path: i for i, node in enumerate(nodes)}
    found: dict[str, Any] = {
        "r": {
            i: [places[path] for path in n.sources if path in places]
            for i, n in enumerate(nodes)
            if n.sources
        },
        "g": {i: visible(n.model) for i, n in enumerate(nodes) if n.model},
        "b": [i for i, n in enumerate(nodes) if n.finish == "written"],
    }
    winners = [i for i, n in enumerate(nodes) if n.winner]
    return {k: v for k, v in found.items() if v} | ({"win": winners[0]} if winners else {})


def _last(kept: Iterable[Sequence[float]]) -> list[float | None]:
    """The last score of each node to two decimals, None for those without."""
    return [short(round(steps[-1], 2)) if steps else None for steps in kept]


def short(value: Any) -> float | None:
    """A number as JSON may hold it, to four decimals."""
    number = round(float(value or 0), 4)
    if not math.isfinite(number):
        return None
    return int(number) if number == int(number) else number


def _asked(line: Mapping[str, Any]) -> Asked | None:
    """What the node answers; a `message` is how one that starts afresh was once written."""
    if "message" in line:
        return Asked((("user", str(line["message"])),), True)
    turn = line.get("turn")
    if not isinstance(turn, Mapping):
        return None
    said = tuple((str(m.get("role", "")), str(m.get("content", ""))) for m in turn["messages"])
    return Asked(said, bool(turn.get("afresh")))
