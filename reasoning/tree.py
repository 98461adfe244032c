"""The rollout tree: what every strategy grows and every report reads.

A node is one generator call's sample plus a pointer to its parent, so a fork costs O(1) and
nothing is copied. Text and tokens of a whole path are built only when asked for.
"""

from __future__ import annotations

import json
from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path as FilePath
from typing import TYPE_CHECKING, Any, TypeAlias

from reasoning.errors import StoreError
from reasoning.problem import Message
from reasoning.sample import LOST, Finish, FloatArray, Sample, TopLogprobs
from reasoning.scores import ScoresByVerifier
from reasoning.seeds import fold
from reasoning.stored import Keep, tree_lines

if TYPE_CHECKING:
    import networkx as nx

__all__ = [
    "LOST",
    "Finish",
    "FloatArray",
    "Node",
    "Path",
    "RolloutTree",
    "Sample",
    "TopLogprobs",
    "Turn",
]

Path: TypeAlias = tuple[int, ...]
"""Child slots from the root: a node's identity, seed key and tie-break."""


@dataclass(frozen=True, slots=True)
class Turn:
    """What a node answers instead of going on with its parent's text.

    `messages` follow the conversation and what the parent's text has said in it; `afresh`, they
    are all there is, behind the problem's system message unless they bring their own.
    """

    messages: tuple[Message, ...]
    afresh: bool = False

    @classmethod
    def user(cls, content: str, *, afresh: bool = False) -> Turn:
        """One message of the user."""
        return cls((Message("user", content),), afresh)

    def to_json(self) -> dict[str, Any]:
        return {"messages": [m.to_json() for m in self.messages], "afresh": self.afresh}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Turn:
        return cls(tuple(map(Message.from_json, data["messages"])), bool(data["afresh"]))


_ROOT = Sample("", token_ids=(), finish="stop")


_SLOT = attrgetter("slot")
_Rare: TypeAlias = tuple[Turn | None, tuple[Path, ...], float | None, float | None]
_PLAIN: _Rare = (None, (), None, None)


class Node:
    """One sample in its place.

    `key` seeds the calls below it; `scores` holds the scores of its steps by verifier.

    A node that holds one step has one score; one that holds a whole solution has one for each of
    its steps; a verifier of outcomes gives one either way.

    `turn` is None where the node goes on with its parent's text, else what it answers. `head` is
    the node that its text begins with: the last one on the path that answers a turn, else the
    first; None for the root. `sources` are the paths of other nodes whose text its call has read.
    """

    __slots__ = (
        "__weakref__",
        "_children",
        "_key",
        "_rare",
        "_scores",
        "depth",
        "head",
        "parent",
        "sample",
        "slot",
    )

    def __init__(
        self,
        parent: Node | None,
        slot: int,
        sample: Sample,
        key: int | None,
        turn: Turn | None = None,
        sources: tuple[Path, ...] = (),
    ) -> None:
        self.parent = parent
        self.slot = slot
        self.sample = sample
        self._key = key
        self._rare: _Rare = (turn, sources, None, None) if turn is not None or sources else _PLAIN
        self.head: Node | None = None
        if parent is not None:
            self.head = self if turn is not None or parent.head is None else parent.head
        self.depth: int = parent.depth + 1 if parent else 0
        self._scores: tuple[Any, ...] = ()  # name, steps, name, steps, ...; a single step bare
        self._children: list[Node] | None = None  # in slot order

    @property
    def turn(self) -> Turn | None:
        return self._rare[0]

    @property
    def sources(self) -> tuple[Path, ...]:
        return self._rare[1]

    @property
    def emitted(self) -> tuple[float, float] | None:
        """(weight, rank) of a candidate."""
        _, _, weight, rank = self._rare
        return None if weight is None or rank is None else (weight, rank)

    @emitted.setter
    def emitted(self, weight_and_rank: tuple[float, float] | None) -> None:
        turn, sources, *_ = self._rare
        self._rare = (turn, sources, *(weight_and_rank or (None, None)))

    @property
    def scores(self) -> MutableMapping[str, tuple[float, ...]]:
        return ScoresByVerifier(self)

    @scores.setter
    def scores(self, scores: Mapping[str, tuple[float, ...]]) -> None:
        self._scores = ()
        for verifier, steps in scores.items():
            self.scores[verifier] = steps

    def scored(self, verifier: str) -> tuple[float, ...] | None:
        """`scores.get(verifier)`, quickly: of its own steps, none where scoring failed."""
        kept = self._scores
        if verifier not in kept:
            return None
        steps: float | tuple[float, ...] = kept[kept.index(verifier) + 1]
        return (steps,) if type(steps) is float else steps  # type: ignore[return-value]

    def child(self, slot: int) -> Node | None:
        """The node in `slot` below this one, if there is one. O(log children)."""
        children = self._children or ()
        at = bisect_left(children, slot, key=_SLOT)
        found = children[at] if at < len(children) else None
        return found if found is not None and found.slot == slot else None

    @property
    def key(self) -> int:
        """The seed of what is drawn below it; worked out when it is first asked for."""
        if self._key is None:
            nodes, node = [], self
            while node._key is None and node.parent is not None:
                nodes.append(node)
                node = node.parent
            key = node._key or 0
            for node in reversed(nodes):
                key = node._key = fold(key, node.slot)
            return key
        return self._key

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
        """The end of the lineage that makes up one text: from `head` to this node."""
        nodes, node = [], self
        while node.parent is not None:
            nodes.append(node)
            if node is self.head:
                break
            node = node.parent
        return nodes[::-1]

    @property
    def children(self) -> list[Node]:
        """In slot order."""
        return list(self._children or ())

    @property
    def text(self) -> str:
        """The text of the whole attempt, prompt excluded."""
        if self.head is self or self.parent is None:
            return self.sample.text
        return "".join([node.sample.text for node in self.attempt()])

    @property
    def before(self) -> str:
        """The text that this node's own follows; none if it answers a turn."""
        return "" if self.parent is None or self.turn is not None else self.parent.text

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
        found: list[float] = []
        for node in self.attempt():
            found += node.scored(verifier) or ()
        return tuple(found)

    def __repr__(self) -> str:
        return f"Node({self.path}, {self.sample.finish}, {self.sample.text[:40]!r})"


class RolloutTree:
    """All samples drawn for one problem. Append-only: filling a filled slot is an error."""

    def __init__(self, problem_id: str = "", seed: int = 0) -> None:
        self.problem_id = problem_id
        self.seed = seed
        self.root = Node(None, 0, _ROOT, fold(seed, problem_id))
        self._size = 0

    def add(
        self,
        parent: Node,
        slot: int,
        sample: Sample,
        turn: Turn | None = None,
        sources: tuple[Path, ...] = (),
        *,
        key: int | None = None,
    ) -> Node:
        """File `sample` in `slot` below `parent`. O(1). Raises ValueError if the slot is filled.

        With `turn` it answers that instead of going on with `parent`'s text. `key` is for those
        who know the new node's by now.
        """
        node = Node(parent, slot, sample, key, turn, sources)
        if parent._children is None:
            parent._children = [node]
        elif parent._children[-1].slot < slot:
            parent._children.append(node)
        elif parent.child(slot) is None:
            insort(parent._children, node, key=_SLOT)
        else:
            raise ValueError(f"slot {slot} below {parent.path} is filled; the tree is append-only")
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
            child = node.child(slot)
            if child is None:
                raise KeyError(f"no node at {tuple(path)}")
            node = child
        return node

    def to_jsonl(self) -> str:
        """One header line, then one line a node, parents first. Plain ASCII, whatever the texts."""
        return "".join(self.pieces())

    def pieces(self, keep: Keep | None = None) -> Iterator[str]:
        """`to_jsonl` in parts, each made in some milliseconds: others may run between them.

        With `keep` samples are kept there, but short ones, and named in the place of what they say.
        """
        yield json.dumps({"problem": self.problem_id, "seed": self.seed}) + "\n"
        for node in self:
            sample = node.sample.to_json()
            line: dict[str, Any] = {"path": list(node.path)}
            if keep is not None and len(node.sample.text) >= _LONG:
                said = {name: sample.pop(name) for name in _SAID if name in sample}
                line["sample"] = keep(_encoded(said))
            line |= sample
            if node.turn is not None:
                line["turn"] = node.turn.to_json()
            if node.sources:
                line["sources"] = [list(path) for path in node.sources]
            if node.scores:
                line["scores"] = {name: list(steps) for name, steps in node.scores.items()}
            if node.emitted is not None:
                line["weight"], line["rank"] = node.emitted
            if node.sample.generated_tokens < _MANY:
                yield json.dumps(line) + "\n"
            else:
                yield from _encoded(line)
                yield "\n"

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
                if "sample" in line and "text" not in line:
                    raise LookupError("its sample is not among those of the run's folder")
                sample = Sample.from_json(line)
                sources = tuple(tuple(path) for path in line.get("sources", ()))
                node = tree.add(tree[parent], slot, sample, _turn(line), sources)
                node.scores = {k: tuple(v) for k, v in line.get("scores", {}).items()}
                if "weight" in line:
                    node.emitted = (line["weight"], line["rank"])
            except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
                raise StoreError(f"line {number} of a stored tree is damaged: {error}") from error
        if tree is None:
            raise StoreError("a stored tree is empty: not even its header line is there")
        return tree

    @classmethod
    def load(cls, file: str | FilePath) -> RolloutTree:
        """Read a tree that a run has stored, where it is: what it shares lies beside it."""
        return cls.from_jsonl(raw.decode(errors="replace") for raw in tree_lines(FilePath(file)))

    def to_networkx(self) -> nx.DiGraph[Path]:
        """A graph whose nodes are paths, with `text`, `finish`, `tokens` and `scores` attached.

        `model` is who was asked, `turn` what the node answers (None: its parent's text goes on).
        Edges lead from parents, those with `source` from nodes whose text was read.
        """
        import networkx as nx

        graph: nx.DiGraph[Path] = nx.DiGraph(problem=self.problem_id, seed=self.seed)
        nothing: dict[str, Any] = {"text": "", "tokens": 0, "scores": {}, "model": "", "turn": None}
        graph.add_node((), finish="stop", emitted=False, **nothing)
        for node in self:
            path, sample = node.path, node.sample
            graph.add_node(
                path,
                text=sample.text,
                finish=sample.finish,
                tokens=sample.generated_tokens,
                scores=dict(node.scores),
                emitted=node.emitted is not None,
                model=sample.model,
                turn=None if node.turn is None else node.turn.to_json(),
            )
            graph.add_edge(path[:-1], path)
            for source in node.sources:
                if source != path[:-1]:
                    graph.add_edge(source, path, source=True)
        return graph


_SAID = ("text", "token_ids", "logprobs", "confidence", "top_logprobs")
"""What of a sample is worth keeping once: the bytes that grow with its length."""
_LONG = 100
"""Characters of a text that takes more room than its name."""
_MANY = 2048
"""Entries of a list that are encoded in one go, which nothing can interrupt."""


def _encoded(value: Any) -> Iterator[str]:
    """What `json.dumps` gives, in parts."""
    if isinstance(value, dict):
        start = "{"
        for name, item in value.items():
            yield f"{start}{json.dumps(name)}: "
            yield from _encoded(item)
            start = ", "
        yield "}" if value else "{}"
    elif isinstance(value, list) and len(value) > _MANY:
        for at in range(0, len(value), _MANY):
            yield (", " if at else "[") + json.dumps(value[at : at + _MANY])[1:-1]
        yield "]"
    else:
        yield json.dumps(value)


def _turn(line: Mapping[str, Any]) -> Turn | None:
    """The turn of a stored node; a `message` is how one that starts afresh was once written."""
    if "message" in line:
        return Turn.user(line["message"], afresh=True)
    return Turn.from_json(line["turn"]) if "turn" in line else None
