"""Which paths of a tree have an answer, without reading the text of every node's path."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence

from reasoning.tree import Node


def answered(nodes: Sequence[Node], has: Callable[[Node], bool]) -> set[Node]:
    """Those of `nodes` whose path has an answer, where `has` tells by reading all of its text.

    A path that is cut off has an answer if one is marked, and then so has every path that goes on
    from it: so only ends are looked at and, where one has an answer, some of the way to where it
    was given. Whoever is finished is looked at alone.
    """
    found = {node for node in nodes if node.finished and has(node)}
    open_ones = {node: None for node in nodes if not node.finished}
    passed = {node.parent for node in open_ones if node.turn is None}
    known: dict[Node, bool] = {}

    def look(node: Node) -> bool:
        if node not in known:
            known[node] = has(node)
        return known[node]

    for end in open_ones:
        if end not in passed and look(end):
            chain = [node for node in end.attempt() if node in open_ones]
            found.update(chain[bisect_left(chain, True, key=look) :])
    return found
