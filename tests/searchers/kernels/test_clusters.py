"""TF-IDF against scikit-learn, k-means against its promises."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from searchers.kernels.clusters import kmeans, sizes, tfidf

TEXTS = [
    "The apple is red and the pear is green.",
    "An apple a day, the DOCTOR away!",
    "x = 12 + 7, so x is 19",
    "doctor doctor",
]


def test_tfidf_is_scikit_learns() -> None:
    text = pytest.importorskip("sklearn.feature_extraction.text")
    expected = text.TfidfVectorizer().fit_transform(TEXTS).toarray()
    assert np.allclose(tfidf(TEXTS), expected)


def test_tfidf_by_hand() -> None:
    rows = tfidf(["one two", "one one"])
    rare = np.log(3 / 2) + 1
    assert np.allclose(rows, [[1, rare] / np.hypot(1, rare), [1, 0]])


def test_texts_without_words() -> None:
    assert tfidf(["", "a b"]).shape == (2, 0)
    assert tfidf(["", "word"]).tolist() == [[0.0], [1.0]]
    assert kmeans(tfidf(["", "", ""]), 3, np.random.default_rng(0)).tolist() == [0, 0, 0]


def test_clusters_of_a_kind() -> None:
    texts = ["apple pear", "apple pear plum", "seven eight", "seven eight nine", "apple pear"]
    for seed in range(10):
        labels = kmeans(tfidf(texts), 2, np.random.default_rng(seed))
        assert labels.tolist() == [0, 0, 1, 1, 0]
        assert sizes(labels).tolist() == [0.6, 0.6, 0.4, 0.4, 0.6]


@given(st.lists(st.integers(0, 5), min_size=1, max_size=20), st.integers(1, 6), st.integers(0, 99))
def test_no_cluster_is_empty_and_equals_stay_together(values: list[int], k: int, seed: int) -> None:
    rows = np.array(values, dtype=float)[:, None]
    labels = kmeans(rows, k, np.random.default_rng(seed))
    used = sorted(set(labels.tolist()))
    assert used == list(range(len(used)))
    assert len(used) <= min(k, len(set(values)))
    for value in set(values):
        assert len(set(labels[rows[:, 0] == value].tolist())) == 1
    assert sizes(labels).min() >= 1 / len(values)


def test_as_many_clusters_as_distinct_rows() -> None:
    rows = np.array([[0.0], [1.0], [2.0], [0.0]])
    assert kmeans(rows, 8, np.random.default_rng(0)).tolist() == [0, 1, 2, 0]
