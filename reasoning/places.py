"""Short names for long paths: what a node's text is, hashed once for each node."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import blake2b
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from reasoning.tree import Node, Sample


class Places:
    """Digests of the text that ends in a node: O(1) for a child of one that is known.

    `told` gives the bytes that stand for one sample; those of a path are hashed in a row.
    """

    def __init__(self, told: Callable[[Sample], bytes]) -> None:
        self._told = told
        self._known: WeakKeyDictionary[Node, Any] = WeakKeyDictionary()

    def __call__(self, node: Node, more: Sample | None = None) -> str:
        """The digest of the attempt that ends in `node`, and of `more` behind it."""
        todo, known = [], self._known.get(node)
        while known is None and node.parent is not None:
            todo.append(node)
            if node is node.head:
                break
            node = node.parent
            known = self._known.get(node)
        hasher = blake2b(digest_size=16) if known is None else known.copy()
        for node in reversed(todo):
            hasher.update(self._told(node.sample))
            self._known[node] = hasher.copy()
        if more is not None:
            hasher.update(self._told(more))
        return str(hasher.hexdigest())


def by_text(sample: Sample) -> bytes:
    """A sample is its text, whoever wrote it and however it was cut."""
    return sample.text.encode("utf-8", "surrogatepass")


def by_tokens(sample: Sample) -> bytes:
    """A sample is the tokens of its model, or its text where they are unknown."""
    ids = sample.token_ids
    said = by_text(sample) if ids is None else np.asarray(ids, np.int64).tobytes()
    return f"{sample.model!r} {ids is None} {len(said)}:".encode() + said
