"""Texts as vectors, and vectors in clusters: TF-IDF and k-means."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[np.float64]

_WORD = re.compile(r"\b\w\w+\b")


def tfidf(texts: Sequence[str]) -> Array:
    """Rows [texts, words] of unit length: counts times ln((1 + n) / (1 + df)) + 1.

    Words have two characters or more and are compared in lower case (scikit-learn's defaults). A
    text without words is a row of zeros.
    """
    counts = [Counter(_WORD.findall(text.lower())) for text in texts]
    column = {word: i for i, word in enumerate(sorted(set().union(*counts)))}
    rows = np.zeros((len(texts), len(column)))
    for row, count in zip(rows, counts, strict=True):
        for word, times in count.items():
            row[column[word]] = times
    idf = np.log((1 + len(texts)) / (1 + (rows > 0).sum(axis=0))) + 1
    rows *= idf
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.where(lengths > 0, lengths, 1.0))


def kmeans(rows: Array, k: int, rng: np.random.Generator, *, rounds: int = 100) -> NDArray[np.intp]:
    """A cluster number for each row [n], at most `k` of them and never one that is empty.

    Lloyd's algorithm from seeds drawn by k-means++ (Arthur and Vassilvitskii, 2007); with fewer
    distinct rows than `k`, one cluster each. Numbers follow the order of first appearance.
    """
    centres = _seeds(rows, k, rng)
    labels = np.full(len(rows), -1, dtype=np.intp)
    for _ in range(rounds):
        nearest = np.argmin(_distances(rows, centres), axis=1)
        if (nearest == labels).all():
            break
        labels = nearest
        centres = np.array([rows[labels == label].mean(axis=0) for label in np.unique(labels)])
        labels = np.unique(labels, return_inverse=True)[1]
    order = list(dict.fromkeys(labels.tolist()))
    return np.array([order.index(label) for label in labels.tolist()], dtype=np.intp)


def sizes(labels: NDArray[np.intp]) -> Array:
    """For each item [n], the share of all items that its cluster holds."""
    return np.asarray(np.bincount(labels)[labels] / len(labels))


def _seeds(rows: Array, k: int, rng: np.random.Generator) -> Array:
    """Up to `k` rows, each drawn with probability proportional to its squared distance."""
    chosen = [int(rng.integers(len(rows)))]
    while len(chosen) < k:
        far = _distances(rows, rows[chosen]).min(axis=1)
        far[far < 1e-12] = 0.0
        if not far.any():
            break
        chosen.append(int(rng.choice(len(rows), p=far / far.sum())))
    return rows[chosen]


def _distances(rows: Array, centres: Array) -> Array:
    """Squared, [rows, centres]."""
    return np.asarray(((rows[:, None, :] - centres[None, :, :]) ** 2).sum(axis=2))
