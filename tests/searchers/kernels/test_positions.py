"""Worth and place are told apart."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reasoning.tree import TopLogprobs
from searchers.kernels.positions import labelled, worths
from searchers.variants.orders import cyclic, distinct

FACTOR = st.floats(0.01, 100)


def observed(
    orders: list[tuple[int, ...]], worth: list[float], place: list[float]
) -> list[list[float]]:
    return [[worth[thing] * place[j] for j, thing in enumerate(order)] for order in orders]


def test_over_all_shifts_places_cancel() -> None:
    """Plain averages of each thing are its worth times the mean place, too."""
    worth, place, orders = [0.6, 0.3, 0.1], [1.0, 0.5, 0.8], cyclic(3, 3)
    seen = observed(orders, worth, place)
    assert worths(orders, seen) == pytest.approx(worth)
    of = [
        [row[order.index(thing)] for row, order in zip(seen, orders, strict=True)]
        for thing in (0, 1, 2)
    ]
    assert np.mean(of, axis=1) == pytest.approx([0.46, 0.23, 0.0767], abs=5e-5)


@given(st.data(), st.integers(2, 5))
def test_worth_is_found_whatever_the_places_and_the_scale_of_each_order(
    data: st.DataObject, k: int
) -> None:
    numbers = st.lists(FACTOR, min_size=k, max_size=k)
    worth, place, scale = (data.draw(numbers) for _ in range(3))
    orders = cyclic(k, k)
    seen = np.array(observed(orders, worth, place)) * np.array(scale)[:, None]
    assert worths(orders, seen) == pytest.approx(np.array(worth) / sum(worth), rel=1e-6, abs=1e-9)


def test_random_orders_do_as_well_where_they_are_enough() -> None:
    worth, place = [0.5, 0.3, 0.15, 0.05], [3.0, 1.0, 0.5, 2.0]
    orders = distinct(4, 8, np.random.default_rng(0))
    assert worths(orders, observed(orders, worth, place)) == pytest.approx(worth)


def test_one_order_tells_only_what_was_seen() -> None:
    found = worths([(1, 0)], [[0.8, 0.2]])
    assert found[1] > found[0]  # it stood first, and nothing says that this is why
    assert worths([(0, 1), (1, 0)], np.ones((2, 2))) == pytest.approx([0.5, 0.5])


def test_what_is_said_of_labels() -> None:
    p = np.log(np.array([[0.5, 0.2, 0.2, 0.01]], np.float32))
    tops = TopLogprobs(((" B", "A", "A ", "?"),), p)
    found = labelled(tops, 3)
    assert found == pytest.approx([0.4, 0.5, 0.01], rel=1e-5)  # C is no likelier than the last
    assert labelled(None, 3) is None
