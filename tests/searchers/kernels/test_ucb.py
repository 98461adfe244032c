"""Bounds against numbers worked out by hand; the tree's bookkeeping against its definition."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reasoning.tree import RolloutTree, Sample
from searchers.kernels.ucb import Branch, descend, puct, puct_bound, ucb1, uct_bound


def test_puct_is_openrs_formula() -> None:
    # Q + P (ln((N_p + 19653) / 19652) + 1.25) sqrt(N_p) / (N_c + 1)
    rate = math.log((10 + 19653) / 19652) + 1.25
    assert puct(0.5, 0.25, 3, 10) == pytest.approx(0.5 + 0.25 * rate * math.sqrt(10) / 4)
    assert puct(0.5, 0.25, 3, 10) == pytest.approx(0.7471635, abs=1e-7)
    assert puct(0.3, 0.9, 0, 0) == 0.3, "nothing is explored below an unvisited parent"
    assert puct(0.0, 1.0, 0, 1, base=1, init=0) == pytest.approx(math.log(3))


def test_ucb1_is_the_textbooks_formula() -> None:
    assert ucb1(0.5, 4, math.e**4, exploration=1.0) == pytest.approx(1.5)
    assert ucb1(0.5, 1, 1, exploration=9.0) == 0.5
    assert ucb1(0.5, 0, 7, exploration=1.0) == math.inf


@given(st.floats(0, 1), st.floats(0.01, 1), st.integers(0, 1000), st.integers(1, 10_000))
def test_a_bound_falls_with_visits_and_rises_with_the_parents(
    value: float, prior: float, visits: int, parents: int
) -> None:
    for bound in (
        lambda n, above: puct(value, prior, n, above),
        lambda n, above: ucb1(value, n + 1, above, exploration=1.0),
    ):
        assert bound(visits + 1, parents) <= bound(visits, parents)
        assert bound(visits, parents + 1) >= bound(visits, parents)


def family(rewards: list[float], priors: list[float] | None = None) -> Branch:
    tree = RolloutTree()
    root = Branch(tree.root)
    nodes = [tree.add(tree.root, slot, Sample(str(slot))) for slot in range(len(rewards))]
    root.grow(nodes, rewards, priors or [1 / len(rewards)] * len(rewards))
    return root


def test_the_first_descent_of_puct_is_greedy_on_rewards() -> None:
    root = family([0.2, 0.9, 0.4], [0.8, 0.1, 0.1])
    assert descend(root, puct_bound()) is root.children[1]


def test_uct_tries_every_child_once_the_best_scored_first() -> None:
    root = family([0.2, 0.9, 0.4])
    seen = []
    for _ in range(3):
        child = descend(root, uct_bound())
        seen.append(child.node.slot)
        child.back_up(0.0)
    assert seen == [1, 2, 0]


@pytest.mark.parametrize("bound", [puct_bound(), uct_bound()], ids=["puct", "uct"])
def test_virtual_losses_send_selections_elsewhere(bound: object) -> None:
    root = family([0.9, 0.8, 0.7])
    root.visits = 1
    chosen = []
    for _ in range(3):
        leaf = descend(root, bound)  # type: ignore[arg-type]
        leaf.lose(1.0)
        chosen.append(leaf.node.slot)
    assert chosen == [0, 1, 2]
    for leaf in root.children:
        leaf.lose(-1.0)
    assert [leaf.losses for leaf in [root, *root.children]] == [0.0] * 4
    assert descend(root, bound) is descend(root, bound)  # type: ignore[arg-type]


def test_without_virtual_loss_selections_agree() -> None:
    root = family([0.9, 0.8, 0.7])
    root.lose(0.0)
    assert len({descend(root, puct_bound()).node.slot for _ in range(3)}) == 1


@given(st.lists(st.tuples(st.integers(0, 3), st.floats(0, 1)), max_size=30))
def test_backing_up_keeps_sums(values: list[tuple[int, float]]) -> None:
    root = family([0.5] * 4)
    for slot, value in values:
        root.children[slot].back_up(value)
    assert root.visits == len(values) == sum(child.visits for child in root.children)
    assert root.total == pytest.approx(math.fsum(value for _, value in values))
    for child in root.children:
        own = [value for slot, value in values if slot == child.node.slot]
        assert child.value == pytest.approx(np.mean(own) if own else 0.5)


@pytest.mark.parametrize("bound", [puct_bound(), uct_bound(0.5)], ids=["puct", "uct"])
def test_the_best_arm_is_visited_most(bound: object) -> None:
    chances = [0.3, 0.5, 0.8, 0.4]
    root = family([0.5] * 4)
    rng = np.random.default_rng(0)
    for _ in range(2000):
        arm = descend(root, bound)  # type: ignore[arg-type]
        arm.back_up(float(rng.random() < chances[arm.node.slot]))
    visits = [child.visits for child in root.children]
    assert int(np.argmax(visits)) == 2
    assert visits[2] > 1500
