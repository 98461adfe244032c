"""Strategies over stored samples: what each would have answered, and what it would have paid.

The answers come from the very aggregators, applied to candidates made of what is stored, and the
stops from the very rules of the searchers (`searchers.kernels.stopping`). What stands here is the
bookkeeping alone: which samples a searcher would have drawn in an order, and what they cost. Tests
hold it to the searchers themselves. Everything is worked out for all orders and budgets at once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np

from evals.statistics.intervals import Floats
from reasoning.aggregators import Candidate, Pure
from reasoning.aggregators.ballots import Ballots, Ints, Picks
from reasoning.chain import Stage, decide
from reasoning.errors import RecipeError
from reasoning.runs.names import bind_aggregator
from reasoning.verify import Reduction
from searchers.kernels.policy import Policy, facts_of, signals_of
from searchers.kernels.stopping import lead_is_safe, unanimous

Need: TypeAlias = Literal["tokens", "score", "logprob", "confidence"]


class Outcome(NamedTuple):
    """What came of each order, arrays [orders].

    `chosen` is the number of the chosen sample, -1 for no answer. `samples` were started, `tokens`
    paid for, cancelled ones included; `serial` tokens passed one after another until the answer was
    there, if what runs side by side is equally fast.
    """

    chosen: Ints
    samples: Floats
    tokens: Floats
    serial: Floats


@dataclass(frozen=True, slots=True)
class Orders:
    """The samples of one problem, as candidates, in several orders.

    `places` [orders, n] says which comes when; `tokens` [n] are those generated and `keys` [n]
    number the answers, -1 for none.
    """

    candidates: Sequence[Candidate]
    places: Ints
    tokens: Floats
    keys: Ints

    @property
    def costs(self) -> Floats:
        """Tokens [orders, n] in each order."""
        return np.asarray(self.tokens[self.places])

    @property
    def finished(self) -> Ints:
        """Whether each [n] ended by itself, with an answer."""
        ended = [c.answer is not None and bool(c.node and c.node.finished) for c in self.candidates]
        return np.array(ended)

    def drawing(self, used: Ints, tokens: Floats, serial: Floats) -> Drawing:
        """The first `used` [budgets, orders] of each order, which cost so much."""
        n = self.places.shape[1]
        drawn = np.arange(n) < used[:, :, None]
        places = np.where(drawn, self.places, -1).reshape(-1, n)
        emitted = Ballots(self.candidates, places, np.ones(places.shape), self.keys)
        return Drawing(emitted, used.astype(float), tokens, serial)


class Drawing(NamedTuple):
    """What a searcher would have emitted, a row for each budget and order, and what it would have
    started and paid, arrays [budgets, orders]."""

    emitted: Ballots
    samples: Floats
    tokens: Floats
    serial: Floats


Draw: TypeAlias = Callable[..., Drawing]


def everything(orders: Orders, budgets: Sequence[int]) -> Drawing:
    """All n samples side by side to their end."""
    costs = orders.costs
    used = _used(budgets, np.full(len(costs), costs.shape[1]))
    last = np.array(budgets) - 1
    paid, longest = np.cumsum(costs, axis=1), np.maximum.accumulate(costs, axis=1)
    return orders.drawing(used, paid[:, last].T, longest[:, last].T)


def adaptive_consistency(
    orders: Orders, budgets: Sequence[int], *, confidence: float, window: int
) -> Drawing:
    """Windows until the leading answer is a safe majority."""
    keys = orders.keys[orders.places]
    n = keys.shape[1]
    ends = np.minimum(np.arange(window, n + window, window), n)
    said = keys[:, :, None] == np.arange(max(2, keys.max(initial=-1) + 1))
    top = np.sort(np.cumsum(said, axis=1)[:, ends - 1], axis=2)[:, :, :-3:-1]
    leads, which = np.unique(top.reshape(-1, 2), axis=0, return_inverse=True)
    safe = np.array([lead_is_safe(lead, confidence) for lead in leads.tolist()])
    settled = safe[which.reshape(top.shape[:2])]
    stop = np.where(settled.any(axis=1), ends[settled.argmax(axis=1)], n)
    return _sequential(orders, _used(budgets, stop), window)


def esc(orders: Orders, budgets: Sequence[int], *, window: int) -> Drawing:
    """Windows until all samples of one agree; those before it have no vote then."""
    keys = orders.keys[orders.places]
    n = keys.shape[1]
    agreed = np.array([_agreed(row, window) for row in keys.tolist()])
    used = _used(budgets, agreed + window)
    drawing = _sequential(orders, used, window)
    ended = (agreed + window <= np.array(budgets)[:, None])[:, :, None]
    early = ended & (np.arange(n) < agreed[:, None])
    emitted = drawing.emitted
    weight = np.where(early.reshape(emitted.weight.shape), 0.0, emitted.weight)
    return drawing._replace(emitted=replace(emitted, weight=weight))


def _agreed(keys: Sequence[int], window: int) -> int:
    """Where the first window begins whose answers are one."""
    said = [None if key < 0 else key for key in keys]
    starts = range(0, len(said) - window + 1, window)
    return next((i for i in starts if unanimous(said[i : i + window])), len(said))


def race(orders: Orders, budgets: Sequence[int], *, m: int = 1) -> Drawing:
    """The first m that end, by their length; whoever still runs then is cancelled."""
    costs, n = orders.costs, orders.places.shape[1]
    started = (np.arange(n) < np.array(budgets)[:, None])[:, None]
    ends = np.where(started & orders.finished[orders.places], costs, np.inf)
    first = np.argsort(ends, axis=2, kind="stable")[:, :, :m]
    at = np.take_along_axis(ends, first, axis=2)
    end = at[:, :, -1:] if first.shape[2] == m else np.full((*ends.shape[:2], 1), np.inf)
    paid = np.where(started, np.minimum(costs, end), 0.0)
    ranked = np.take_along_axis(np.broadcast_to(orders.places, ends.shape), first, axis=2)
    places = np.where(np.isfinite(at), ranked, -1).reshape(-1, first.shape[2])
    emitted = Ballots(orders.candidates, places, np.ones(places.shape), orders.keys)
    used = _used(budgets, np.full(len(costs), n))
    return Drawing(emitted, used.astype(float), paid.sum(axis=2), paid.max(axis=2))


def adaptive(
    orders: Orders,
    budgets: Sequence[int],
    *,
    policy: Policy,
    abstain: float = 0.0,
    tokens: float | None = None,
    abreast: int = 1,
) -> Drawing:
    """As many as a policy says of what it sees, the budget at most; it chooses, too.

    A replay has no purse that problems share: each follows the policy for `tokens`.
    """
    del abreast
    if policy.first is not None:
        raise RecipeError("a policy with presets samples otherwise, and nothing like it is stored")
    policy = policy if tokens is None else policy.at(tokens)
    costs, at = orders.costs, np.arange(orders.places.shape[1])
    used = np.zeros((len(budgets), len(costs)), np.int64)
    serial = np.zeros(used.shape)
    for row, most in enumerate(budgets):
        have, wanted = np.zeros((2, len(costs)), np.int64)
        wanted[:] = policy.start
        while (wanted := np.minimum(wanted, most))[wanted > have].size:
            wave = (at >= have[:, None]) & (at < wanted[:, None])
            serial[row] += np.where(wave, costs, 0.0).max(axis=1)
            have, wanted = wanted, wanted.copy()
            for n in np.unique(have).tolist():
                wanted[have == n] = policy.more(n, looked(orders, n))[have == n]
        used[row] = have
    paid = np.where(at < used[:, :, None], costs, 0.0).sum(axis=2)
    drawing = orders.drawing(used, paid, serial)
    chosen = picked(drawing.emitted, (bind_aggregator(policy.chooser),))
    if abstain and policy.sure is not None:
        for row, n in enumerate(used.ravel().tolist()):
            sure = policy.sure(looked(orders, n))[0, row % len(costs)]
            chosen[row] = chosen[row] if sure >= abstain else -1
    one = Ballots(orders.candidates, chosen[:, None], np.ones((len(chosen), 1)), orders.keys)
    return drawing._replace(emitted=one)


def looked(orders: Orders, size: int) -> dict[str, Floats]:
    """What a policy sees [orders] of the first `size` samples of each order."""
    return signals_of(*facts_of(orders.candidates, orders.keys, orders.places[:, :size]))


def _used(budgets: Sequence[int], most: Ints) -> Ints:
    """The samples [budgets, orders] that are drawn where an order stops after `most` [orders]."""
    return np.asarray(np.minimum(np.array(budgets)[:, None], most), np.int64)


def _sequential(orders: Orders, used: Ints, window: int) -> Drawing:
    """The first `used` samples, one window after another."""
    costs, n = orders.costs, orders.places.shape[1]
    paid = np.where(np.arange(n) < used[:, :, None], costs, 0.0)
    waited = np.maximum.reduceat(paid, np.arange(0, n, window), axis=2).sum(axis=2)
    return orders.drawing(used, paid.sum(axis=2), waited)


DRAWS: Mapping[str, Draw] = {
    "sample": everything,
    "self_consistency": everything,
    "best_of_n": everything,
    "adaptive_consistency": adaptive_consistency,
    "esc": esc,
    "first_finish": race,
    "short_m_at_k": race,
    "adaptive": adaptive,
}
"""How the searchers draw that draw whole solutions."""

SIZES = {"short_m_at_k": "k", "sample": None, "adaptive": None}
"""The parameter that the budget stands for, n if it is not here."""


# ------------------------------------------------------------------------------------- naming


class Offline(NamedTuple):
    """A strategy: searcher and aggregator (the searcher's own where None), what it needs of every
    sample, the parameter that n may not be less than, and the most samples it draws."""

    searcher: str
    aggregator: str | None = None
    needs: tuple[Need, ...] = ()
    least: str | None = None
    most: int | None = None


STRATEGIES: Mapping[str, Offline] = {
    "sample": Offline("sample", most=1),
    "self_consistency": Offline("self_consistency"),
    "adaptive_consistency": Offline("adaptive_consistency"),
    "esc": Offline("esc", least="window"),
    "best_of_n": Offline("best_of_n", needs=("score",)),
    "weighted_majority": Offline("best_of_n", "weighted_majority", ("score",)),
    "best_of_majority": Offline("best_of_n", "best_of_majority", ("score",)),
    "first_finish": Offline("first_finish", needs=("tokens",)),
    "short_m_at_k": Offline("short_m_at_k", needs=("tokens",), least="m"),
    "long_m_at_k": Offline("self_consistency", "long_m_at_k", ("tokens",), least="m"),
    "perplexity": Offline("self_consistency", "perplexity", ("logprob",)),
    "cisc": Offline("self_consistency", "cisc", ("logprob",)),
    "rpc": Offline("self_consistency", "rpc", ("logprob",)),
    "deepconf": Offline("self_consistency", "deepconf_filter", ("confidence",)),
}
"""By the name it is asked for; any other aggregator is asked for by its own."""

FITTED: Mapping[str, Offline] = {"adaptive": Offline("adaptive")}
"""Those that need a file, so nobody replays them unasked."""


class Ordered:
    """The samples of one problem in several orders, by the reduction of their step scores."""

    def __init__(self, make: Callable[[Reduction], Orders]) -> None:
        self._make = make
        self._made: dict[Reduction, Orders] = {}

    def __call__(self, reduction: Reduction) -> Orders:
        if reduction not in self._made:
            self._made[reduction] = self._make(reduction)
        return self._made[reduction]


@dataclass(frozen=True, slots=True)
class Chosen:
    """A strategy with its parameters, under the label it was asked for by.

    `draw` has the searcher's parameters bound, `choose` are the aggregators, one after another.
    """

    label: str
    name: str
    offline: Offline
    params: Mapping[str, Any]
    draw: Draw = field(repr=False)
    choose: tuple[Pure, ...] = field(repr=False)

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
        if not budgets:
            return []
        orders = samples(self.params.get("reduction", "last"))
        drawing = self.draw(orders, budgets)
        chosen = picked(drawing.emitted, self.choose).reshape(drawing.samples.shape)
        return [Outcome(*rows) for rows in zip(chosen, *drawing[1:], strict=True)]


def picked(ballots: Ballots, choose: Sequence[Pure]) -> Ints:
    """The candidate that aggregators, one after another, choose in each row, -1 for none."""
    for number, aggregator in enumerate(choose):
        rule = Stage("aggregator", aggregator).says("rule")
        if rule is None:
            return one_by_one(ballots, choose[number:])
        found = rule(ballots, **Stage("aggregator", aggregator).given)
        if isinstance(found, Picks):
            return found.place
        ballots = found
    return one_by_one(ballots, choose)


def one_by_one(ballots: Ballots, choose: Sequence[Pure]) -> Ints:
    """With aggregators that have no rule for many rows."""
    found = np.full(len(ballots.places), -1)
    for number, places in enumerate(ballots.places.tolist()):
        # The place in the row is the path, so that the earliest is the earliest here, too.
        there = [at for at, place in enumerate(places) if place >= 0]
        given = zip(there, ballots.row(number), strict=True)
        row = [replace(c, path=(at,)) for at, c in given]
        chosen = decide(row, *choose).candidate
        if chosen is not None:
            found[number] = places[chosen.path[0]]
    return found


def bound(draw: Draw, params: Mapping[str, Any]) -> Draw:
    """`draw` with the searcher's parameters."""
    return partial(draw, **params) if params else draw
