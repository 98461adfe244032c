"""Which texts are nearest to another one, and which say nearly the same."""

from __future__ import annotations

import numpy as np
import pytest

from searchers.kernels.clusters import tfidf
from searchers.kernels.nearest import Alike, Nearest

TEXTS = ["How many apples has Ann", "How many pears", "The apples of Ann and Ann", "", "zebra"]


def test_cosines_are_those_of_tfidf() -> None:
    rows = tfidf(TEXTS)
    index = Nearest(TEXTS)
    for i, text in enumerate(TEXTS):
        assert index.cosines(text) == pytest.approx(rows @ rows[i])


def test_words_that_nobody_has_count_for_nothing() -> None:
    index = Nearest(TEXTS)
    assert index.cosines("apples Ann quince") == pytest.approx(index.cosines("ann APPLES"))
    assert not index.cosines("quince").any()
    assert index.order("quince") == [0, 1, 2, 3, 4]
    assert index.order("a zebra of Ann")[0] == 4
    assert Nearest([]).order("zebra") == []


def test_shares_of_triples() -> None:
    alike = Alike(["a b c d", "a b c", "x y", ""])
    assert alike.shares("A  b c d") == {0: 1.0, 1: 0.5}
    assert alike.shares("a b c e") == {0: pytest.approx(1 / 3), 1: 0.5}
    assert alike.shares("x y") == {2: 1.0}
    assert alike.shares("x y z") == {}
    assert alike.shares("") == {3: 1.0}
    assert np.isclose(Alike(["a b c a b c a"]).shares("a b c a")[0], 2 / 3)  # sets, not counts
