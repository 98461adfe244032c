"""Strategies over stored samples: what each would have answered, and what it would have paid.

One idea a function: it takes the samples of one problem in several orders at once, as arrays
[orders, n], and the budgets (numbers of samples), and returns an `Outcome` for each budget. The
rules are those of the searchers and aggregators of the same name, and tests hold them to that.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from evals.statistics.intervals import Floats
from reasoning.aggregators.rpc import pruned
from reasoning.verify import Reduction
from searchers.kernels.stopping import majority_probability

Ints: TypeAlias = NDArray[np.int64]
Need: TypeAlias = Literal["tokens", "score", "logprob", "confidence"]


@dataclass(frozen=True, slots=True)
class Ordered:
    """The samples of one problem in several orders; every array is [orders, n].

    `keys` number the answers from 0, -1 is none. `finished` tells who ended by itself, so may win a
    race. `features` hold numbers such as `score.last` or `logprob` (nats a token), NaN where a
    sample has none; `tokens` are generated tokens.
    """

    keys: Ints
    finished: NDArray[np.bool_]
    tokens: Floats
    features: Mapping[str, Floats]

    def first(self, n: int) -> Ordered:
        """The first n of each order."""
        features = {name: x[:, :n] for name, x in self.features.items()}
        return Ordered(self.keys[:, :n], self.finished[:, :n], self.tokens[:, :n], features)


class Outcome(NamedTuple):
    """What came of each order, arrays [orders].

    `chosen` is the place of a sample with the winning answer, -1 for no answer. `samples` were
    started, `tokens` paid for, cancelled ones included; `serial` tokens passed one after another
    until the answer was there, if what runs side by side is equally fast.
    """

    chosen: Ints
    samples: Floats
    tokens: Floats
    serial: Floats


Rule: TypeAlias = Callable[..., list[Outcome]]

Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[int, Field(ge=1)]


def sample(samples: Ordered, budgets: Sequence[int]) -> list[Outcome]:
    """One sample: the baseline."""
    return [_paid(part, _earliest(part.keys >= 0)) for part in map(samples.first, budgets)]


def self_consistency(samples: Ordered, budgets: Sequence[int]) -> list[Outcome]:
    """The most frequent answer of n (Wang et al., 2022, arXiv:2203.11171)."""
    return [_paid(part, vote(part.keys)) for part in map(samples.first, budgets)]


def best_of_n(
    samples: Ordered, budgets: Sequence[int], *, reduction: Reduction = "last"
) -> list[Outcome]:
    """The answer of the best scored of n (Cobbe et al., 2021, arXiv:2110.14168)."""
    parts = map(samples.first, budgets)
    return [_paid(p, best(p.keys, p.features[f"score.{reduction}"])) for p in parts]


def weighted_majority(
    samples: Ordered, budgets: Sequence[int], *, reduction: Reduction = "last"
) -> list[Outcome]:
    """The answer of n whose scores add up highest: weighted best-of-n (arXiv:2206.02336)."""
    parts = map(samples.first, budgets)
    return [_paid(p, vote(p.keys, p.features[f"score.{reduction}"])) for p in parts]


def best_of_majority(
    samples: Ordered,
    budgets: Sequence[int],
    *,
    alpha: Share = 0.1,
    reduction: Reduction = "last",
) -> list[Outcome]:
    """The best scored sample whose answer has a share of at least alpha (arXiv:2510.03199).

    If no answer has, the most frequent one. 0 is best-of-n; the paper's 0.005 to 0.015 is for
    thousands of samples and the same as 0 below 1/alpha of them.
    """
    found = []
    for part in map(samples.first, budgets):
        n = part.keys.shape[1]
        share = np.take_along_axis(_counts(part.keys), np.maximum(part.keys, 0), axis=1) / n
        common = np.where(share >= alpha - 1e-12, part.keys, -1)
        chosen = best(common, part.features[f"score.{reduction}"])
        found.append(_paid(part, np.where(chosen < 0, vote(part.keys), chosen)))
    return found


def first_finish(samples: Ordered, budgets: Sequence[int]) -> list[Outcome]:
    """The answer of the first of n to end; the others are cancelled (arXiv:2505.18149)."""
    return short_m_at_k(samples, budgets, m=1)


def short_m_at_k(samples: Ordered, budgets: Sequence[int], *, m: Positive = 3) -> list[Outcome]:
    """The most frequent answer of the first m of n to end, the others cancelled (2505.17813)."""
    return [_race(part, m) for part in map(samples.first, budgets)]


def long_m_at_k(samples: Ordered, budgets: Sequence[int], *, m: Positive = 3) -> list[Outcome]:
    """The most frequent answer of the m longest of n that ended: the mirror image of short-m@k.

    All run to their end. A model that is right when it is brief loses by this (arXiv:2512.02008).
    """
    found = []
    for part in map(samples.first, budgets):
        length = np.where(part.finished & (part.keys >= 0), part.tokens, -np.inf)
        order = np.argsort(-length, axis=1, kind="stable")[:, :m]
        ended = np.isfinite(np.take_along_axis(length, order, axis=1))
        place = vote(np.where(ended, np.take_along_axis(part.keys, order, axis=1), -1))
        chosen = np.take_along_axis(order, np.maximum(place, 0)[:, None], axis=1)[:, 0]
        found.append(_paid(part, np.where(place < 0, -1, chosen)))
    return found


def adaptive_consistency(
    samples: Ordered,
    budgets: Sequence[int],
    *,
    confidence: Annotated[float, Field(gt=0.5, lt=1)] = 0.95,
    window: Positive = 1,
) -> list[Outcome]:
    """Draw until the leading answer is a safe majority, n at most (arXiv:2305.11860)."""
    orders, n = samples.keys.shape
    counts = np.cumsum(_onehot(samples.keys), axis=1, dtype=np.int64)
    counts = np.concatenate([counts, np.zeros((orders, n, 2), np.int64)], axis=2)
    second, first = np.moveaxis(np.partition(counts, -2, axis=2)[..., -2:], 2, 0)
    safe = _majority_table(n)[first, second] >= confidence
    drawn = np.arange(1, n + 1)
    found = []
    for budget in budgets:
        looked = (drawn % window == 0) | (drawn == budget)
        stop = _earliest((safe & looked)[:, :budget])
        used = np.where(stop < 0, budget, stop + 1)
        part = samples.first(budget)
        chosen = vote(np.where(drawn[:budget] <= used[:, None], part.keys, -1))
        found.append(_sequential(part, chosen, used, window))
    return found


def esc(
    samples: Ordered, budgets: Sequence[int], *, window: Annotated[int, Field(ge=2)] = 5
) -> list[Outcome]:
    """Draw windows until all samples of one agree, n samples at most (arXiv:2401.10480)."""
    found = []
    for budget in budgets:
        part = samples.first(budget)
        whole = budget // window
        blocks = part.keys[:, : whole * window].reshape(len(part.keys), whole, window)
        agree = (blocks == blocks[..., :1]).all(axis=2) & (blocks[..., 0] >= 0)
        stop = _earliest(agree) if whole else np.full(len(part.keys), -1)
        used = np.where(stop < 0, budget, (stop + 1) * window)
        chosen = np.where(stop < 0, vote(part.keys), stop * window)
        found.append(_sequential(part, chosen, used, window))
    return found


def perplexity(samples: Ordered, budgets: Sequence[int]) -> list[Outcome]:
    """The answer of the sample of n with the highest mean log-probability a token."""
    parts = map(samples.first, budgets)
    return [_paid(part, best(part.keys, part.features["logprob"])) for part in parts]


def cisc(
    samples: Ordered,
    budgets: Sequence[int],
    *,
    temperature: Annotated[float, Field(gt=0)] = 0.1,
) -> list[Outcome]:
    """Confidence-informed self-consistency with the response probability (arXiv:2502.06233).

    Votes weigh softmax(c / T) within the question, c = exp(mean log-probability a token). The paper
    tunes T for every model; towards infinity it is self-consistency, towards 0 the likeliest wins.
    """
    found = []
    for part in map(samples.first, budgets):
        c = np.exp(part.features["logprob"]) / temperature
        top = np.max(c, axis=1, keepdims=True, initial=-np.inf, where=~np.isnan(c))
        found.append(_paid(part, vote(part.keys, np.exp(c - np.where(np.isfinite(top), top, 0)))))
    return found


def rpc(samples: Ordered, budgets: Sequence[int]) -> list[Outcome]:
    """Reasoning-pruned perplexity consistency (arXiv:2502.00511).

    Votes weigh c = exp(mean log-probability a token), less the samples that `pruned` leaves out.
    Those alike in answer, length and c are one text, which counts once. Ties go to the earliest
    answer (the released code shares them).
    """
    left_out = cache(lambda order: pruned(np.frombuffer(order)))  # by what was drawn, not when
    found = []
    for part in map(samples.first, budgets):
        weights = np.exp(part.features["logprob"])
        for keys, tokens, c in zip(part.keys, part.tokens, weights, strict=True):
            known = c[~np.isnan(c)]
            out = np.isin(c, left_out(np.sort(known).tobytes()))
            _, first = np.unique([keys, tokens, c], axis=1, return_index=True)
            again = np.isin(np.arange(len(c)), first, invert=True)
            c[(out | again) & ~np.isnan(c)] = 0.0
        found.append(_paid(part, vote(part.keys, weights)))
    return found


def deepconf(
    samples: Ordered,
    budgets: Sequence[int],
    *,
    measure: Literal["mean", "tail", "bottom", "least"] = "tail",
    keep: Annotated[float, Field(gt=0, le=1)] = 0.1,
) -> list[Outcome]:
    """DeepConf offline: the most confident share `keep` votes by confidence (arXiv:2508.15260)."""
    found = []
    for part in map(samples.first, budgets):
        c = np.where(part.keys >= 0, part.features[f"confidence.{measure}"], np.nan)
        kept = np.where(c >= _quantile(c, 1 - keep)[:, None], part.keys, -1)
        found.append(_paid(part, vote(kept, c)))
    return found


# ------------------------------------------------------------------------------------ choosing


def vote(keys: Ints, weights: Floats | None = None) -> Ints:
    """The place of the earliest sample with the winning answer in every row; -1 for no answer.

    Without weights the most frequent answer, else the one whose weights add up highest; the
    earliest sample wins a tie. Samples with weight NaN do not vote, unless all are such.
    """
    voting = keys >= 0
    if weights is not None:
        known = voting & ~np.isnan(weights)
        some = known.any(axis=1, keepdims=True)
        weights = np.where(some, np.nan_to_num(weights), 1.0)
        voting = np.where(some, known, voting)
    votes = np.where(voting, keys, -1)
    totals = _counts(votes, weights)
    rows, n = keys.shape
    first = np.full(totals.shape, n)
    np.minimum.at(first, (np.arange(rows)[:, None], votes), np.arange(n))
    first = first[:, :-1]
    totals = np.where(first < n, totals[:, :-1], -np.inf)
    tied = totals == totals.max(axis=1, keepdims=True, initial=-np.inf)
    winner = np.where(tied, first, n).min(axis=1, initial=n)
    return np.where(winner < n, winner, -1)


def best(keys: Ints, scores: Floats) -> Ints:
    """The place of the best scored sample with an answer in every row; unscored ones come last."""
    known = np.where(np.isnan(scores), -np.finfo(float).max, scores)
    value = np.where(keys >= 0, known, -np.inf)
    place = value.argmax(axis=1)
    return np.where((keys >= 0).any(axis=1), place, -1)


def _counts(keys: Ints, weights: Floats | None = None) -> Floats:
    """Votes [orders, answers + 1] for every answer, those of -1 in the last column."""
    rows, answers = len(keys), int(keys.max(initial=-1)) + 2
    flat = np.where(keys < 0, answers - 1, keys) + answers * np.arange(rows)[:, None]
    each = None if weights is None else weights.ravel()
    return np.bincount(flat.ravel(), each, rows * answers).reshape(rows, answers).astype(float)


def _onehot(keys: Ints) -> NDArray[np.bool_]:
    return np.equal(keys[:, :, None], np.arange(int(keys.max(initial=-1)) + 1))


def _earliest(flags: NDArray[np.bool_]) -> Ints:
    """The first true place of every row, -1 if there is none."""
    return np.where(flags.any(axis=1), flags.argmax(axis=1), -1)


@cache
def _majority_table(n: int) -> Floats:
    """`majority_probability` for all counts of up to n votes."""
    table = np.zeros((n + 1, n + 1))
    for first in range(n + 1):
        for second in range(min(first, n - first) + 1):
            table[first, second] = majority_probability(first, second)
    return table


def _quantile(values: Floats, q: float) -> Floats:
    """The q-quantile of every row, linear between values, NaN left out."""
    ordered = np.sort(values, axis=1)
    count = (~np.isnan(values)).sum(axis=1)
    place = np.maximum(count - 1, 0) * q
    low = np.floor(place).astype(int)
    high = np.minimum(low + 1, np.maximum(count - 1, 0))
    rows = np.arange(len(values))
    part = place - low
    return np.asarray(ordered[rows, low] * (1 - part) + ordered[rows, high] * part, dtype=float)


# ------------------------------------------------------------------------------------- paying


def _paid(part: Ordered, chosen: Ints) -> Outcome:
    """All samples run side by side to their end."""
    return Outcome(
        chosen,
        np.full(len(part.keys), float(part.keys.shape[1])),
        part.tokens.sum(axis=1),
        part.tokens.max(axis=1),
    )


def _sequential(part: Ordered, chosen: Ints, used: Ints, window: int) -> Outcome:
    """The first `used` samples, one window after another."""
    n = part.keys.shape[1]
    paid = np.where(np.arange(n) < used[:, None], part.tokens, 0.0)
    starts = np.arange(0, n, window)
    serial = np.maximum.reduceat(paid, starts, axis=1).sum(axis=1)
    return Outcome(chosen, used.astype(float), paid.sum(axis=1), serial)


def _race(part: Ordered, m: int) -> Outcome:
    """The first m that end vote, in order of arrival; whoever still runs then is cancelled."""
    arrival = np.where(part.finished & (part.keys >= 0), part.tokens, np.inf)
    order = np.argsort(arrival, axis=1, kind="stable")[:, :m]
    landed = np.take_along_axis(arrival, order, axis=1)
    keys = np.where(np.isfinite(landed), np.take_along_axis(part.keys, order, axis=1), -1)
    place = vote(keys)
    chosen = np.take_along_axis(order, np.maximum(place, 0)[:, None], axis=1)[:, 0]
    end = landed[:, -1] if m <= part.keys.shape[1] else np.full(len(keys), np.inf)
    paid = np.minimum(part.tokens, end[:, None])
    return Outcome(
        np.where(place < 0, -1, chosen),
        np.full(len(keys), float(part.keys.shape[1])),
        paid.sum(axis=1),
        paid.max(axis=1),
    )


# ------------------------------------------------------------------------------------- naming


class Offline(NamedTuple):
    """A strategy, what it needs of every sample, and the parameter that n may not be less than."""

    rule: Rule
    needs: tuple[Need, ...] = ()
    least: str | None = None
    most: int | None = None


STRATEGIES: Mapping[str, Offline] = {
    "sample": Offline(sample, most=1),
    "self_consistency": Offline(self_consistency),
    "adaptive_consistency": Offline(adaptive_consistency),
    "esc": Offline(esc, least="window"),
    "best_of_n": Offline(best_of_n, ("score",)),
    "weighted_majority": Offline(weighted_majority, ("score",)),
    "best_of_majority": Offline(best_of_majority, ("score",)),
    "first_finish": Offline(first_finish, ("tokens",)),
    "short_m_at_k": Offline(short_m_at_k, ("tokens",), least="m"),
    "long_m_at_k": Offline(long_m_at_k, ("tokens",), least="m"),
    "perplexity": Offline(perplexity, ("logprob",)),
    "cisc": Offline(cisc, ("logprob",)),
    "rpc": Offline(rpc, ("logprob",)),
    "deepconf": Offline(deepconf, ("confidence",)),
}


@dataclass(frozen=True, slots=True)
class Chosen:
    """A strategy with its parameters, under the label it was asked for by."""

    label: str
    name: str
    offline: Offline
    params: Mapping[str, Any]

    def span(self, most: int) -> str:
        """The budgets it has where there are `most` samples a problem, in words."""
        least = int(self.params.get(self.offline.least or "", 1))
        most = min(most, self.offline.most or most)
        return f"{least}" if least == most else f"{least} to {most}"

    def budgets(self, budgets: Sequence[int]) -> list[int]:
        """Those of `budgets` that mean something for this strategy."""
        least = int(self.params.get(self.offline.least or "", 1))
        most = self.offline.most
        return [n for n in budgets if n >= least and (most is None or n <= most)]

    def __call__(self, samples: Ordered, budgets: Sequence[int]) -> list[Outcome]:
        return self.offline.rule(samples, budgets, **self.params)
