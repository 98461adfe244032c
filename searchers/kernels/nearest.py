"""Which of some texts are nearest to another one, by the words that they have in common."""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Sequence

import numpy as np

from searchers.kernels.clusters import Array
from searchers.kernels.sameness import canonical

_WORD = re.compile(r"\b\w\w+\b")
_TRIPLE = 3


class Nearest:
    """Some texts, by the cosine of TF-IDF as in `clusters.tfidf`: words of two characters or more,
    counts times ln((1 + n) / (1 + df)) + 1. Words that none of them has count for nothing."""

    def __init__(self, texts: Sequence[str]) -> None:
        self.size = len(texts)
        counts = [Counter(_WORD.findall(text.lower())) for text in texts]
        df = Counter(word for count in counts for word in count)
        self._idf = {w: math.log((1 + len(texts)) / (1 + n)) + 1 for w, n in df.items()}
        self._places: defaultdict[str, list[tuple[int, float]]] = defaultdict(list)
        for i, count in enumerate(counts):
            for word, weight in self._row(count).items():
                self._places[word].append((i, weight))

    def cosines(self, text: str) -> Array:
        """Of `text` with each of them [n], in [0, 1]; 0 where nothing is in common."""
        found = np.zeros(self.size)
        for word, weight in self._row(Counter(_WORD.findall(text.lower()))).items():
            for i, other in self._places[word]:
                found[i] += weight * other
        return found

    def order(self, text: str) -> list[int]:
        """All of them, the nearest first; of equals the earlier."""
        return [int(i) for i in np.argsort(-self.cosines(text), kind="stable")]

    def _row(self, count: Counter[str]) -> dict[str, float]:
        row = {word: n * self._idf[word] for word, n in count.items() if word in self._idf}
        length = math.sqrt(sum(weight**2 for weight in row.values()))
        return {word: weight / length for word, weight in row.items()}


class Alike:
    """Which of some texts say nearly the same as another one: |A and B| / |A or B| of the sets of
    triples of neighbouring words and marks, capitals and spaces apart."""

    def __init__(self, texts: Iterable[str]) -> None:
        self._sizes: list[int] = []
        self._places: defaultdict[Hashable, list[int]] = defaultdict(list)
        for i, text in enumerate(texts):
            triples = _triples(text)
            self._sizes.append(len(triples))
            for triple in triples:
                self._places[triple].append(i)

    def shares(self, text: str) -> dict[int, float]:
        """Of `text` with each of them that it has a triple in common with, in (0, 1]."""
        triples = _triples(text)
        common = Counter(i for triple in triples for i in self._places.get(triple, ()))
        return {i: n / (len(triples) + self._sizes[i] - n) for i, n in sorted(common.items())}


def _triples(text: str) -> set[tuple[str, ...]]:
    """A text of fewer words is one of its own."""
    words = canonical(text).split()
    last = max(1, len(words) - _TRIPLE + 1)
    return {tuple(words[i : i + _TRIPLE]) for i in range(last)}
