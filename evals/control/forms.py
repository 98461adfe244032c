"""Forms of policies: each fits looks to what training problems showed, at a price of a token.

The price, in accuracy a token, is the same for all problems; `fit.py` finds the one that spends the
budget. `worth` is accuracy less price times tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np

from evals.control.walk import Walk
from evals.statistics.allocation import fit as fit_law
from reasoning.aggregators.ballots import Floats, Ints
from searchers.kernels.policy import SIGNALS, Form, Gain, Known, Look, Steps, Weights
from searchers.kernels.saturation import enough, saturating

Looks: TypeAlias = tuple[Look, ...]
RIDGE = 1e-2
"""Of the mean square of standardised signals, so that rare ones cannot have large weights."""
BINS = 5
"""Levels of difficulty, as many as Snell et al. have."""
CHANCES = 60
"""Thresholds that are tried, at most."""
PROBES = (2, 3, 4, 6, 8)
"""Numbers of samples after which a bin is told."""


class Fitted(NamedTuple):
    """What is drawn first, and what is looked at then."""

    start: int
    looks: Looks = ()


Make: TypeAlias = Callable[[float], Fitted]
"""A policy's parts at a price."""


def signals_for(known: set[Known]) -> list[str]:
    """The signals of samples that have what is `known` of them."""
    return [name for name, need in SIGNALS.items() if need is None or need in known]


# --------------------------------------------------------------------------- marginal value


def marginal(walk: Walk, right: Floats, signals: Sequence[str]) -> Make:
    """Goes on where the expected gain of doing so, and stopping best later, is above its price.

    The expectation is a ridge regression on the signals and their squares at each size, fitted from
    the largest size backwards on what later looks then make of it (Longstaff and Schwartz, 2001).
    """
    designs = [_Design(walk.at(size), signals) for size in walk.sizes[:-1]]

    def at(price: float) -> Fitted:
        worth = right - price * walk.tokens
        later, looks = worth[:, :, -1], list[Look]()
        for place in range(len(walk.sizes) - 2, -1, -1):
            now = worth[:, :, place]
            gain = designs[place].fit(later - now)
            signal = walk.at(walk.sizes[place])
            later = np.where(gain(signal) > 0, later, now)
            looks.append(Look(at=walk.sizes[place], rule=Gain(gain=gain, to=walk.sizes[place + 1])))
        return Fitted(walk.sizes[0], tuple(reversed(looks)))

    return at


class _Design:
    """Signals and their squares, standardised; those that never change are left out."""

    def __init__(self, signals: Mapping[str, Floats], names: Sequence[str]) -> None:
        columns = {n: signals[n].ravel() for n in names}
        columns |= {f"{n}^2": x**2 for n, x in columns.items()}
        self._columns = {n: x for n, x in columns.items() if x.std() > 1e-9}
        x = np.stack([np.ones(next(iter(signals.values())).size), *self._columns.values()], axis=1)
        self._mean, self._scale = x.mean(axis=0), x.std(axis=0)
        self._mean[0], self._scale[0] = 0.0, 1.0
        self._x = (x - self._mean) / self._scale
        ridge = RIDGE * len(x) * np.eye(x.shape[1])
        ridge[0, 0] = 0.0
        self._solve = np.linalg.solve(self._x.T @ self._x + ridge, self._x.T)

    def fit(self, values: Floats) -> Weights:
        """The weights of plain signals that come nearest to `values` [problems, orders]."""
        found = (self._solve @ values.ravel()) / self._scale
        weights = dict(zip(self._columns, found[1:].tolist(), strict=True))
        return Weights(intercept=float(found[0] - found[1:] @ self._mean[1:]), weights=weights)


# ------------------------------------------------------------------------------------- bins


def bins(walk: Walk, right: Floats, signals: Sequence[str]) -> Make:
    """After a few samples, so many in all as pay for problems as hard as this one seems.

    Difficulty is told by the bin of one signal, of five that hold as many problems each (Snell et
    al., 2024, arXiv:2408.03314). Of the signals and the numbers of first samples, the pair counts
    that is worth most.
    """
    probes = [_Probe(walk, right, size, name) for size in _probes(walk) for name in signals]

    def at(price: float) -> Fitted:
        found = [(probe, *probe.best(price)) for probe in probes]
        probe, _, levels = max(found, key=lambda item: item[1])
        return probe.fitted([walk.sizes[level] for level in levels])

    return at


def saturated(walk: Walk, right: Floats, signals: Sequence[str]) -> Make:
    """After a few samples, as many as it takes until one more brings less than it costs.

    In each bin accuracy is most (1 - (1 - p)^N), fitted to the bin's (TTSPM, arXiv:2505.20522).
    """
    del signals  # the share of the leading answer tells the bins
    probes = [_Probe(walk, right, size, "agreement") for size in _probes(walk)]
    curves = [[saturating(walk.sizes, value) for value in probe.value] for probe in probes]

    def at(price: float) -> Fitted:
        found = []
        for probe, fits in zip(probes, curves, strict=True):
            each = probe.cost[:, -1] / walk.sizes[-1]
            wanted = [
                enough(*fit, max(price * float(cost), 1e-12))
                for fit, cost in zip(fits, each, strict=True)
            ]
            levels = np.clip(np.searchsorted(walk.sizes, wanted), probe.place, len(walk.sizes) - 1)
            found.append((probe.worth(levels, price), -probe.place, probe, levels))
        _, _, probe, levels = max(found, key=lambda item: item[:2])
        return probe.fitted([walk.sizes[level] for level in levels.tolist()])

    return at


def allocation(walk: Walk, right: Floats, signals: Sequence[str]) -> Make:
    """After a few samples, so many as a law of all bins together says pay for this one.

    logit P = (a + b i) log N + c + d i (arXiv:2410.04343), where i is the share of the leading
    answer in the bin; with a term in i alone, since bins differ with one sample already.
    """
    del signals
    probes = [_Probe(walk, right, size, "agreement") for size in _probes(walk)]
    laws = [_expected(probe, walk.sizes[probe.place :], len(walk.problems)) for probe in probes]

    def at(price: float) -> Fitted:
        found = []
        for probe, expected in zip(probes, laws, strict=True):
            worth = expected - price * probe.cost[:, probe.place :]
            levels = worth.argmax(axis=1) + probe.place
            found.append((probe.worth(levels, price), -probe.place, probe, levels))
        _, _, probe, levels = max(found, key=lambda item: item[:2])
        return probe.fitted([walk.sizes[level] for level in levels.tolist()])

    return at


def _expected(probe: _Probe, sizes: Sequence[int], problems: int) -> Floats:
    """What the law of all bins says of each with so many samples [bins, sizes]."""
    i = np.repeat(probe.mean, len(sizes))
    numbers = np.tile(np.asarray(sizes, dtype=float), len(probe.mean))
    rates = probe.value[:, probe.place :].ravel()
    if len(probe.mean) == 1:  # all bins are one, of which i tells nothing
        return np.asarray(fit_law(numbers[:, None], rates, problems)(numbers[:, None]))[None]
    theta = np.stack([numbers, np.exp(i)], axis=1)  # i is the logarithm of the second
    gains = np.stack([i, np.zeros(len(i))], axis=1)
    law = fit_law(theta, rates, problems * np.repeat(probe.share, len(sizes)), gains)
    return law(theta, gains).reshape(len(probe.mean), -1)


def _probes(walk: Walk) -> list[int]:
    return [n for n in PROBES if n in walk.sizes[:-1]] or [walk.sizes[0]]


class _Probe:
    """A look at so many samples, by one signal, and what each bin's problems make of more.

    `value` and `cost` are [bins, sizes], `share` of all and `mean` of the signal [bins].
    """

    def __init__(self, walk: Walk, right: Floats, size: int, signal: str) -> None:
        self.size, self.signal, self.place = size, signal, walk.sizes.index(size)
        seen = walk.at(size)[signal]
        cuts = np.quantile(seen, np.linspace(0, 1, BINS + 1)[1:-1])
        self.edges = [e for e in np.unique(cuts).tolist() if e > seen.min()]
        where = np.searchsorted(self.edges, seen, side="right").ravel()
        count = np.bincount(where, minlength=len(self.edges) + 1).astype(float)
        self.share = count / count.sum()
        self.mean = np.bincount(where, seen.ravel(), len(count)) / np.maximum(count, 1)
        flat = len(where), len(walk.sizes)
        self.value, self.cost = (
            _sums(where, table.reshape(flat), len(count)) / np.maximum(count, 1)[:, None]
            for table in (right, walk.tokens)
        )

    def worth(self, levels: Ints, price: float) -> float:
        each = np.arange(len(levels))
        return float(self.share @ (self.value[each, levels] - price * self.cost[each, levels]))

    def best(self, price: float) -> tuple[float, list[int]]:
        """The worth of the best size of every bin, and these."""
        worth = (self.value - price * self.cost)[:, self.place :]
        levels = worth.argmax(axis=1) + self.place
        return self.worth(levels, price), levels.tolist()

    def fitted(self, samples: Sequence[int]) -> Fitted:
        rule = Steps(signal=self.signal, edges=tuple(self.edges), samples=tuple(samples))
        return Fitted(self.size, (Look(at=self.size, rule=rule),))


def _sums(where: Ints, table: Floats, n: int) -> Floats:
    found = np.zeros((n, table.shape[1]))
    np.add.at(found, where, table)
    return found


# ---------------------------------------------------------------------------------- cascade


def cascade(walk: Walk, right: Floats, signals: Sequence[str]) -> Make:
    """Looks at every size, and believes what one signal says from a threshold on.

    Thresholds are chosen one after another, twice over, among the signal's twentieths.
    """
    name = "support" if "support" in signals else "agreement"
    seen = walk.signals[name]
    tries = [np.unique(np.quantile(seen[:, :, i], np.linspace(0, 1, 21))) for i in
             range(len(walk.sizes) - 1)]  # fmt: skip

    def at(price: float) -> Fitted:
        worth = right - price * walk.tokens
        levels = [np.inf] * len(tries)
        for place in [*range(len(tries) - 1, -1, -1)] * 2:
            end, before = _ends(seen, levels, place + 1), _ends(seen, levels[:place], 0) < place
            later = np.take_along_axis(worth, end[:, :, None], axis=2)[:, :, 0]
            gain = np.where(before, 0.0, worth[:, :, place] - later)
            able = [np.inf, *tries[place].tolist()]
            gains = [float(gain[seen[:, :, place] >= t].sum()) for t in able]
            levels[place] = able[int(np.argmax(gains))]
        looks = [
            Look(at=size, rule=Steps(signal=name, edges=(t,), samples=(more, 0)))
            if np.isfinite(t)
            else Look(at=size, rule=Steps(signal=name, edges=(), samples=(more,)))
            for size, more, t in zip(walk.sizes, walk.sizes[1:], levels, strict=False)
        ]
        return Fitted(walk.sizes[0], tuple(looks))

    return at


def _ends(seen: Floats, levels: Sequence[float], first: int) -> Ints:
    """The first place from `first` on where the signal reaches its level, else the one behind."""
    reach = np.asarray(levels[first:])
    if not len(reach):
        return np.full(seen.shape[:2], first)
    met = seen[:, :, first : first + len(reach)] >= reach
    return np.where(met.any(axis=2), met.argmax(axis=2), len(reach)) + first


# -------------------------------------------------------------------------------- posterior


def posterior(walk: Walk, right: Floats, signals: Sequence[str]) -> Make:
    """Stops where the leading answer is the majority with a chance of `c` or more.

    That chance is Adaptive-Consistency's (2305.11860); one number, the same wherever it looks, is
    all that is fitted, so that few problems do, and another model's.
    """
    del signals
    seen, last = walk.signals["safe"], len(walk.sizes) - 1
    tries = [*np.unique(seen[:, :, :-1]).tolist(), 2.0]
    if len(tries) > CHANCES:
        tries = [*np.quantile(tries[:-1], np.linspace(0, 1, CHANCES)).tolist(), 2.0]
    ends = [_ends(seen, [c] * last, 0) for c in tries]
    value, cost = (
        np.array([np.take_along_axis(x, end[:, :, None], axis=2).mean() for end in ends])
        for x in (right, walk.tokens)
    )

    def at(price: float) -> Fitted:
        c = tries[int((value - price * cost).argmax())]
        if c <= seen[:, :, 0].min():
            return Fitted(walk.sizes[0])
        looks = [
            Look(at=size, rule=Steps(signal="safe", edges=(c,), samples=(more, 0)))
            for size, more in zip(walk.sizes, walk.sizes[1:], strict=False)
        ]
        return Fitted(walk.sizes[0], tuple(looks))

    return at


# ------------------------------------------------------------------------------------ fixed


def fixed(walk: Walk, right: Floats, signals: Sequence[str]) -> Make:
    """The same number for all problems, the one that is worth most."""
    del signals
    value, cost = right.mean(axis=(0, 1)), walk.tokens.mean(axis=(0, 1))
    return lambda price: Fitted(walk.sizes[int((value - price * cost).argmax())])


FORMS: Mapping[Form, Callable[[Walk, Floats, Sequence[str]], Make]] = {
    "marginal": marginal,
    "bins": bins,
    "saturation": saturated,
    "allocation": allocation,
    "cascade": cascade,
    "posterior": posterior,
    "fixed": fixed,
}
"""In the order in which they are tried."""
