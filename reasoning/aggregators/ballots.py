"""Many sets of candidates at once, as arrays: what aggregators reckon with, live and in a replay.

A live choice is one row; a replay has a row for each order and budget of a problem's samples. An
aggregator whose file has a `rule` is that function of `Ballots` on the candidates it is given.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from operator import attrgetter
from typing import NamedTuple, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from reasoning.aggregators import Candidate, Choice

Floats: TypeAlias = NDArray[np.float64]
Ints: TypeAlias = NDArray[np.int64]
Bools: TypeAlias = NDArray[np.bool_]

Number = TypeVar("Number", np.int64, np.float64)

_ORDER = attrgetter("rank", "path")


class Picks(NamedTuple):
    """What each row chose: its place among the candidates, -1 for none, and the share of the votes
    that its answer had, NaN where nobody can say; arrays [rows]."""

    place: Ints
    share: Floats

    def choice(self, ballots: Ballots) -> Choice | None:
        """That of the first row, for an aggregator of one set of candidates."""
        place, share = int(self.place[0]), float(self.share[0])
        if place < 0:
            return None
        return Choice(ballots.candidates[place], None if math.isnan(share) else share)


@dataclass(frozen=True, slots=True)
class Ballots:
    """Rows of candidates, the earliest first, and what each of them counts.

    `places` [rows, n] stand in `candidates`, -1 where a row has fewer; `weight` is [rows, n], and
    `keys` [candidates] numbers the answers, equal ones alike, -1 for none.
    """

    candidates: Sequence[Candidate]
    places: Ints
    weight: Floats
    keys: Ints

    @classmethod
    def of(cls, candidates: Sequence[Candidate]) -> Ballots:
        """One row, of all that are given."""
        ordered = sorted(candidates, key=_ORDER)
        weight = np.array([[c.weight for c in ordered]], dtype=float)
        return cls(ordered, np.arange(len(ordered))[None], weight, numbered(ordered))

    @property
    def answer(self) -> Ints:
        """The number of each one's answer [rows, n], -1 where there is none."""
        return self.taken(self.keys, -1)

    def taken(self, values: NDArray[Number], missing: float) -> NDArray[Number]:
        """What `values` [candidates] has for each of a row."""
        every = np.append(values, np.array([missing], values.dtype))
        return np.asarray(every[self.places], values.dtype)

    def read(self, worth: Callable[[Candidate], float | None]) -> Floats:
        """A number of each candidate [rows, n], worked out once; NaN where there is none."""
        found = [worth(c) for c in self.candidates]
        known = [math.nan if x is None or not math.isfinite(x) else x for x in found]
        return self.taken(np.array(known, dtype=float), math.nan)

    def only(self, kept: Bools) -> Ballots:
        """Without those that are not `kept` [rows, n]."""
        return replace(self, places=np.where(kept, self.places, -1))

    def some(self, rows: Ints) -> Ballots:
        """So many rows of it."""
        return replace(self, places=self.places[rows], weight=self.weight[rows])

    def row(self, number: int) -> list[Candidate]:
        """A row as candidates with the weights that they have in it."""
        weights = zip(self.places[number].tolist(), self.weight[number].tolist(), strict=True)
        found = [(self.candidates[place], weight) for place, weight in weights if place >= 0]
        return [c if c.weight == weight else replace(c, weight=weight) for c, weight in found]


def numbered(candidates: Sequence[Candidate]) -> Ints:
    """A number for each answer, in the order of first appearance; -1 for none."""
    known: dict[str, int] = {}
    return np.array(
        [
            -1 if c.answer is None else known.setdefault(c.answer.key, len(known))
            for c in candidates
        ],
        dtype=np.int64,
    )


def highest(ballots: Ballots, worth: Floats, among: Bools | None = None) -> Picks:
    """The earliest of those worth most that have an answer; those of unknown worth come last."""
    able = ballots.answer >= 0 if among is None else among & (ballots.answer >= 0)
    value = np.where(able & np.isfinite(worth), worth, -np.inf)
    best = able & (value == value.max(axis=1, initial=-np.inf, keepdims=True))
    return _picked(ballots, np.where(best.any(axis=1), _first(best), -1))


def vote(ballots: Ballots, weights: Floats, voters: Bools | None = None) -> Picks:
    """The earliest candidate with the answer whose votes add up highest, and that one's share."""
    answer = ballots.answer
    able = answer >= 0 if voters is None else voters & (answer >= 0)
    totals, first = tally(answer, weights, able)
    n = answer.shape[1]
    if not n:
        return _picked(ballots, np.full(len(answer), -1))
    votes = np.where(first < n, totals, -np.inf)
    tied = votes == votes.max(axis=1, keepdims=True)
    at = np.where(tied, first, n).min(axis=1)
    cast = np.cumsum(totals, axis=1)[:, -1]
    with np.errstate(invalid="ignore", divide="ignore"):
        share = np.where(cast > 0, np.where(first < n, votes, 0.0).max(axis=1) / cast, np.nan)
    return _picked(ballots, np.where(at < n, at, -1), share)


def weighed(ballots: Ballots, weight: Floats) -> Picks:
    """A vote in which each counts by `weight` times its own. NaN does not vote; where a row has
    nothing else, all of it have the same."""
    known = np.isfinite(weight)
    some = (known & (ballots.answer >= 0)).any(axis=1, keepdims=True)
    weights = np.where(some, np.where(known, weight, 0.0), 1.0) * ballots.weight
    return vote(ballots, weights, known | ~some)


def tally(answer: Ints, weights: Floats, voters: Bools) -> tuple[Floats, Ints]:
    """The votes for each answer, and where it first stands in the row (n for nowhere), both
    [rows, answers]."""
    rows, n = (int(size) for size in answer.shape)
    kinds = int(answer.max(initial=-1)) + 1 or 1
    spots = (np.arange(rows)[:, None] * kinds + answer)[voters]
    totals = np.bincount(spots, weights[voters], rows * kinds).astype(np.float64)
    first: Ints = np.full(rows * kinds, n)
    at = np.broadcast_to(np.arange(n), answer.shape)[voters]
    first[spots[::-1]] = at[::-1]  # the last that is written stays
    return totals.reshape(rows, kinds), first.reshape(rows, kinds)


def _first(found: Bools) -> Ints:
    return found.argmax(axis=1) if found.shape[1] else np.zeros(len(found), dtype=np.int64)


def _picked(ballots: Ballots, at: Ints, share: Floats | None = None) -> Picks:
    """Picks of where in each row the chosen one stands, -1 for none."""
    none = np.full(len(at), np.nan)
    if not ballots.places.shape[1]:
        return Picks(at, none)
    places = np.take_along_axis(ballots.places, np.maximum(at, 0)[:, None], axis=1)[:, 0]
    chosen = np.where(at < 0, -1, places)
    return Picks(chosen, none if share is None else np.where(at < 0, np.nan, share))
