"""Keys and values of finished text, kept so that a continuation computes only what is new."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from reasoning.backends.nano.model import KV, FloatArray

_KEEP = 0.75
"""Share of the capacity that an eviction leaves, so that evictions are rare."""


def common(a: Sequence[int], b: Sequence[int]) -> int:
    """Length of the longest common prefix."""
    n = min(len(a), len(b))
    return next((i for i in range(n) if a[i] != b[i]), n)


class _Edge:
    """Some tokens below a parent, with their keys and values [layers, 2, kv heads, n, D]."""

    __slots__ = ("children", "data", "parent", "tokens", "used")

    def __init__(self, tokens: Sequence[int], data: FloatArray, parent: _Edge | None) -> None:
        self.tokens = tuple(tokens)
        self.data = data
        self.parent = parent
        self.children: dict[int, _Edge] = {}
        self.used = 0

    def split(self, at: int) -> None:
        """Move the tokens from `at` on to a child."""
        tail = _Edge(self.tokens[at:], self.data[:, :, :, at:].copy(), self)
        tail.children, tail.used = self.children, self.used
        for child in tail.children.values():
            child.parent = tail
        self.tokens, self.data = self.tokens[:at], self.data[:, :, :, :at].copy()
        self.children = {tail.tokens[0]: tail}


class PrefixCache:
    """A radix tree over token ids; least recently used ends are dropped beyond `capacity` tokens.

    What is found is copied out, so anything may be dropped at any time. Not thread-safe.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.size = 0
        """Tokens stored."""
        self._clock = 0
        self._root = _Edge((), np.zeros((0,), np.float32), None)

    def match(self, tokens: Sequence[int]) -> int:
        """How many of the first `tokens` are stored."""
        return sum(n for _, n in self._walk(tokens))

    def load(self, tokens: Sequence[int], kv: KV) -> None:
        """Copy what is stored of `tokens` into the empty `kv`."""
        path = self._walk(tokens)
        kv.reserve(sum(n for _, n in path))
        for edge, n in path:
            kv.append(edge.data[:, :, :, :n])

    def insert(self, tokens: Sequence[int], kv: KV) -> None:
        """Store the first `len(tokens)` positions of `kv`, which belong to `tokens`."""
        path = self._walk(tokens)
        start = sum(n for _, n in path)
        if start == len(tokens):
            return
        parent = self._root
        if path:
            parent, n = path[-1]
            if n < len(parent.tokens):
                parent.split(n)
        data = kv.data[:, :, :, start : len(tokens)].copy()
        leaf = _Edge(tokens[start:], data, parent)
        leaf.used = self._clock
        parent.children[tokens[start]] = leaf
        self.size += len(tokens) - start
        if self.size > self.capacity:
            self._evict()

    def _walk(self, tokens: Sequence[int]) -> list[tuple[_Edge, int]]:
        """The edges that spell the longest stored prefix, each with how much of it is used."""
        self._clock += 1
        path: list[tuple[_Edge, int]] = []
        edge, at = self._root, 0
        while at < len(tokens) and (child := edge.children.get(tokens[at])):
            n = common(child.tokens, tokens[at : at + len(child.tokens)])
            child.used = self._clock
            path.append((child, n))
            if n < len(child.tokens):
                break
            edge, at = child, at + n
        return path

    def _evict(self) -> None:
        """Drop the least recently used ends until a quarter is free."""
        while self.size > _KEEP * self.capacity:
            for leaf in sorted(self._leaves(), key=lambda edge: edge.used):
                if self.size <= _KEEP * self.capacity:
                    break
                assert leaf.parent is not None
                del leaf.parent.children[leaf.tokens[0]]
                self.size -= len(leaf.tokens)

    def _leaves(self) -> list[_Edge]:
        found, todo = [], list(self._root.children.values())
        while todo:
            edge = todo.pop()
            todo.extend(edge.children.values())
            if not edge.children:
                found.append(edge)
        return found
