"""The rollout tree: what every strategy grows and every report reads.

A node is one generator call's sample plus a pointer to its parent, so a fork costs O(1) and
nothing is copied. Text and tokens of a whole path are built only when asked for.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path as FilePath
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from reasoning.errors import StoreError
from reasoning.seeds import fold

if TYPE_CHECKING:
    import networkx as nx

Path: TypeAlias = tuple[int, ...]
"""Child slots from the root: a node's identity, seed key and tie-break."""

FloatArray: TypeAlias = NDArray[np.float32]

Finish: TypeAlias = Literal["end", "stop", "length", "cancelled", "failed"]
"""Why a call ended: the model ended its solution, a step ended, the token limit was met, the call
was cancelled, the call failed."""


_TOKEN_IDS: dict[int, int] = {}
"""One object for each token id, at most a vocabulary of them, however many samples hold it: Python
would keep 32 bytes for every mention."""


@dataclass(frozen=True, slots=True)
class Sample:
    """What one generator call returned.

    `token_ids` are exactly what the model produced, None where the server hides them; `logprobs`
    (shape [tokens], nats) belong to the sampled tokens under the model's own distribution;
    `confidence` (shape [tokens], nats) is minus the mean of the top-k logprobs, if asked for.
    `info` carries what only the backend knows (stored scores, an error message).
    """

    text: str
    token_ids: tuple[int, ...] | None = None
    logprobs: FloatArray | None = None
    confidence: FloatArray | None = None
    finish: Finish = "end"
    prompt_tokens: int = 0
    cached_tokens: int = 0
    generated_tokens: int = 0
    info: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        if self.token_ids is not None:
            shared = tuple(map(_TOKEN_IDS.setdefault, self.token_ids, self.token_ids))
            object.__setattr__(self, "token_ids", shared)

    def to_json(self, *, digits: int | None = 5) -> dict[str, Any]:
        """Plain JSON values; unset fields are left out, logprobs rounded (exact if None)."""
        out: dict[str, Any] = {"text": self.text, "finish": self.finish}
        for name in ("prompt_tokens", "cached_tokens", "generated_tokens"):
            if value := getattr(self, name):
                out[name] = int(value)
        if self.token_ids is not None:
            out["token_ids"] = [int(i) for i in self.token_ids]
        for name in ("logprobs", "confidence"):
            if (array := getattr(self, name)) is not None:
                values = array.astype(float)
                out[name] = (values if digits is None else values.round(digits)).tolist()
        if self.info:
            out["info"] = dict(self.info)
        return out

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Sample:
        """The inverse of `to_json`; unknown keys are ignored."""
        fields = {name: data[name] for name in cls.__slots__ if name in data}
        for name in ("logprobs", "confidence"):
            if name in fields:
                fields[name] = np.asarray(fields[name], dtype=np.float32)
        return cls(**fields)


_ROOT = Sample("", token_ids=(), finish="stop")


class Node:
    """One sample in its place.

    `key` seeds the calls below it; `scores` holds the scores of its steps by verifier.

    A node that holds one step has one score; one that holds a whole solution has one for each of
    its steps; a verifier of outcomes gives one either way.

    `message` is None where the node goes on with its parent's text. A node that starts over (a
    refinement, say) holds the user message it answers instead of the problem's.
    """

    __slots__ = (
        "_children",
        "depth",
        "emitted",
        "key",
        "message",
        "parent",
        "sample",
        "scores",
        "slot",
    )

    def __init__(
        self, parent: Node | None, slot: int, sample: Sample, key: int, message: str | None = None
    ) -> None:
        self.parent = parent
        self.slot = slot
        self.sample = sample
        self.key = key
        self.message = message
        self.depth: int = parent.depth + 1 if parent else 0
        self.scores: dict[str, tuple[float, ...]] = {}
        self.emitted: tuple[float, float] | None = None  # (weight, rank) of a candidate
        self._children: dict[int, Node] | None = None

    @property
    def path(self) -> Path:
        return tuple(node.slot for node in self.lineage())

    def lineage(self) -> list[Node]:
        """The nodes from the first below the root down to this one."""
        nodes, node = [], self
        while node.parent is not None:
            nodes.append(node)
            node = node.parent
        return nodes[::-1]

    def attempt(self) -> list[Node]:
        """The end of the lineage that makes up one text: from the last node that starts over."""
        nodes, node = [], self
        while node.parent is not None:
            nodes.append(node)
            if node.message is not None:
                break
            node = node.parent
        return nodes[::-1]

    @property
    def children(self) -> list[Node]:
        """In slot order."""
        return [node for _, node in sorted((self._children or {}).items())]

    @property
    def text(self) -> str:
        """The text of the whole attempt, prompt excluded."""
        return "".join(node.sample.text for node in self.attempt())

    @property
    def before(self) -> str:
        """The text that this node's own follows; none if it starts over."""
        return "" if self.parent is None or self.message is not None else self.parent.text

    @property
    def token_ids(self) -> tuple[int, ...] | None:
        """The tokens of the whole attempt, exactly as produced; None if any part is unknown."""
        ids: list[int] = []
        for node in self.attempt():
            if node.sample.token_ids is None:
                return None
            ids.extend(node.sample.token_ids)
        return tuple(ids)

    @property
    def generated_tokens(self) -> int:
        """Tokens generated along the path, earlier attempts included."""
        return sum(node.sample.generated_tokens for node in self.lineage())

    @property
    def finished(self) -> bool:
        """The model itself ended the solution; a truncated trace never counts as finished."""
        return self.sample.finish == "end"

    def step_scores(self, verifier: str) -> tuple[float, ...]:
        """The scores of all steps of the attempt, in order; steps without one are left out."""
        return tuple(s for node in self.attempt() for s in node.scores.get(verifier, ()))

    def __repr__(self) -> str:
        return f"Node({self.path}, {self.sample.finish}, {self.sample.text[:40]!r})"


class RolloutTree:
    """All samples drawn for one problem. Append-only: filling a filled slot is an error."""

    def __init__(self, problem_id: str = "", seed: int = 0) -> None:
        self.problem_id = problem_id
        self.seed = seed
        self.root = Node(None, 0, _ROOT, fold(seed, problem_id))
        self._size = 0

    def add(self, parent: Node, slot: int, sample: Sample, message: str | None = None) -> Node:
        """File `sample` in `slot` below `parent`. O(1). Raises ValueError if the slot is filled.

        With `message` it answers that, and its text starts over.
        """
        if parent._children is None:
            parent._children = {}
        if slot in parent._children:
            raise ValueError(f"slot {slot} below {parent.path} is filled; the tree is append-only")
        node = Node(parent, slot, sample, fold(parent.key, slot), message)
        parent._children[slot] = node
        self._size += 1
        return node

    def __len__(self) -> int:
        """Number of nodes, the root not counted."""
        return self._size

    def __iter__(self) -> Iterator[Node]:
        """Every node below the root, parents before children, siblings by slot."""
        stack = self.root.children[::-1]
        while stack:
            node = stack.pop()
            yield node
            stack.extend(node.children[::-1])

    def __getitem__(self, path: Sequence[int]) -> Node:
        node = self.root
        for slot in path:
            try:
                node = (node._children or {})[slot]
            except KeyError:
                raise KeyError(f"no node at {tuple(path)}") from None
        return node

    def to_jsonl(self) -> str:
        """One header line, then one line a node, parents first. Plain ASCII, whatever the texts."""
        lines: list[dict[str, Any]] = [{"problem": self.problem_id, "seed": self.seed}]
        for node in self:
            line: dict[str, Any] = {"path": list(node.path), **node.sample.to_json()}
            if node.message is not None:
                line["message"] = node.message
            if node.scores:
                line["scores"] = {name: list(steps) for name, steps in node.scores.items()}
            if node.emitted is not None:
                line["weight"], line["rank"] = node.emitted
            lines.append(line)
        return "".join(json.dumps(line) + "\n" for line in lines)

    @classmethod
    def from_jsonl(cls, lines: str | Iterable[str]) -> RolloutTree:
        """The inverse of `to_jsonl`, from its text or the lines of a file.

        Raises StoreError naming the line that cannot be read.
        """
        tree = None
        for number, text in enumerate(lines.splitlines() if isinstance(lines, str) else lines, 1):
            try:
                line = json.loads(text)
                if tree is None:
                    tree = cls(line["problem"], line["seed"])
                    continue
                *parent, slot = line["path"]
                sample = Sample.from_json(line)
                node = tree.add(tree[parent], slot, sample, line.get("message"))
                node.scores = {k: tuple(v) for k, v in line.get("scores", {}).items()}
                if "weight" in line:
                    node.emitted = (line["weight"], line["rank"])
            except (ValueError, KeyError, TypeError) as error:
                raise StoreError(f"line {number} of a stored tree is damaged: {error}") from error
        if tree is None:
            raise StoreError("a stored tree is empty: not even its header line is there")
        return tree

    @classmethod
    def load(cls, file: str | FilePath) -> RolloutTree:
        """Read a tree that a run has stored."""
        with open(file, encoding="utf-8") as lines:
            return cls.from_jsonl(lines)

    def to_networkx(self) -> nx.DiGraph[Path]:
        """A graph whose nodes are paths, with `text`, `finish`, `tokens` and `scores` attached."""
        import networkx as nx

        graph: nx.DiGraph[Path] = nx.DiGraph(problem=self.problem_id, seed=self.seed)
        graph.add_node((), text="", finish="stop", tokens=0, scores={}, emitted=False)
        for node in self:
            path, sample = node.path, node.sample
            graph.add_node(
                path,
                text=sample.text,
                finish=sample.finish,
                tokens=sample.generated_tokens,
                scores=dict(node.scores),
                emitted=node.emitted is not None,
            )
            graph.add_edge(path[:-1], path)
        return graph
