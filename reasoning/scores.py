"""The scores of one node, which most nodes of a tree have none or one of."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from reasoning.tree import Node


class ScoresByVerifier(MutableMapping[str, tuple[float, ...]]):
    """The scores of a node's steps by verifier: a view of what the node keeps in one tuple."""

    __slots__ = ("_node",)

    def __init__(self, node: Node) -> None:
        self._node = node

    def __getitem__(self, verifier: str) -> tuple[float, ...]:
        kept = self._node._scores
        if verifier not in kept:
            raise KeyError(verifier)
        steps: Any = kept[kept.index(verifier) + 1]
        return (steps,) if type(steps) is float else steps

    def __setitem__(self, verifier: str, steps: tuple[float, ...]) -> None:
        value = steps[0] if len(steps) == 1 and type(steps[0]) is float else steps
        kept = self._node._scores
        if verifier in kept:
            at = kept.index(verifier)
            self._node._scores = (*kept[: at + 1], value, *kept[at + 2 :])
        else:
            self._node._scores = (*kept, verifier, value)

    def __delitem__(self, verifier: str) -> None:
        kept = self._node._scores
        if verifier not in kept:
            raise KeyError(verifier)
        at = kept.index(verifier)
        self._node._scores = (*kept[:at], *kept[at + 2 :])

    def __contains__(self, verifier: object) -> bool:
        return verifier in self._node._scores

    def __iter__(self) -> Iterator[str]:
        return iter(self._node._scores[::2])

    def __len__(self) -> int:
        return len(self._node._scores) // 2

    def __repr__(self) -> str:
        return repr(dict(self))
