"""Which paths have an answer: as looking at each would tell, from few looks."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reasoning.partial import answered
from reasoning.tree import Node, RolloutTree, Sample, Turn

PLACES = st.lists(
    st.tuples(st.integers(0, 30), st.booleans(), st.booleans(), st.booleans()), max_size=30
)
"""Below which node, whether it says the answer, is finished, answers a turn."""


def has(node: Node) -> bool:
    return "!" in node.text or (node.finished and len(node.text) % 2 == 1)


@given(PLACES)
def test_it_tells_what_looking_at_each_would(places: list[tuple[int, bool, bool, bool]]) -> None:
    tree = RolloutTree()
    nodes = [tree.root]
    for slot, (parent, says, ends, turns) in enumerate(places):
        sample = Sample("!" if says else ".", finish="end" if ends else "stop")
        turn = Turn.user("again") if turns else None
        nodes.append(tree.add(nodes[parent % len(nodes)], slot, sample, turn))
    assert answered(nodes[1:], has) == {node for node in nodes[1:] if has(node)}


@pytest.mark.parametrize("steps", [100, 200, 400])
@pytest.mark.parametrize("at", [None, 0.3], ids=["no answer", "an answer"])
def test_a_long_path_is_looked_at_a_few_times(steps: int, at: float | None) -> None:
    """Characters read for 1x, 2x and 4x as many steps grow as the steps do, or by log steps."""
    tree, looks = RolloutTree(), []
    node = tree.root
    for i in range(steps):
        answers = at is not None and i == int(at * steps)
        node = tree.add(node, 0, Sample("!" if answers else ".", finish="stop"))

    def look(node: Node) -> bool:
        looks.append(len(node.text))
        return "!" in node.text

    found = answered(list(tree), look)
    assert len(found) == (0 if at is None else steps - int(at * steps))
    assert sum(looks) <= steps * (1 if at is None else 2 + math.log2(steps))
