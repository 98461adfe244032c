"""Strategies over stored samples: what each would have answered, and what it would have paid.

The answers come from the very aggregators, applied to candidates made of what is stored, and the
stops from the very rules of the searchers (`searchers.kernels.stopping`). What stands here is the
bookkeeping alone: which samples a searcher would have drawn in an order, and what they cost. Tests
hold it to the searchers themselves.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import accumulate
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from evals.statistics.intervals import Floats
from reasoning.aggregators import Candidate, Pure
from reasoning.chain import decide
from reasoning.verify import Reduction
from searchers.kernels.stopping import lead_is_safe, unanimous

Ints: TypeAlias = NDArray[np.int64]
Need: TypeAlias = Literal["tokens", "score", "logprob", "confidence"]


class Outcome(NamedTuple):
    """What came of each order, arrays [orders].

    `chosen` is the place of the chosen sample, -1 for no answer. `samples` were started, `tokens`
    paid for, cancelled ones included; `serial` tokens passed one after another until the answer was
    there, if what runs side by side is equally fast.
    """

    chosen: Ints
    samples: Floats
    tokens: Floats
    serial: Floats


class Order:
    """The samples of one problem in one order, as candidates whose path is their place in it.

    `tokens` are generated tokens, `cost` [n + 1] what the first so many cost together and `longest`
    [n + 1] the longest of them. A candidate that did not end by itself cannot win a race.
    """

    def __init__(self, candidates: Sequence[Candidate], tokens: Sequence[float]) -> None:
        self.candidates = list(candidates)
        self._finished = [
            c.answer is not None and c.node is not None and c.node.finished for c in candidates
        ]
        self.tokens = list(tokens)
        self.cost = list(accumulate(self.tokens, initial=0.0))
        self.longest = list(accumulate(self.tokens, max, initial=0.0))

    def keys(self) -> list[str | None]:
        return [c.answer.key if c.answer else None for c in self.candidates]

    def finished(self, place: int) -> bool:
        """Whether the sample ended by itself, with an answer."""
        return self._finished[place]


class Drawing(NamedTuple):
    """What a searcher would have emitted, and paid, with one budget in one order."""

    emitted: Sequence[Candidate]
    samples: int
    tokens: float
    serial: float


Draw: TypeAlias = Callable[..., list[Drawing]]


def everything(order: Order, budgets: Sequence[int]) -> list[Drawing]:
    """All n samples side by side to their end."""
    return [Drawing(order.candidates[:n], n, order.cost[n], order.longest[n]) for n in budgets]


def adaptive_consistency(
    order: Order, budgets: Sequence[int], *, confidence: float, window: int
) -> list[Drawing]:
    """Windows until the leading answer is a safe majority."""
    votes: Counter[str] = Counter()
    keys = order.keys()
    stop = len(keys)
    for start in range(0, len(keys), window):
        votes.update(key for key in keys[start : start + window] if key is not None)
        if lead_is_safe(votes.values(), confidence):
            stop = min(start + window, len(keys))
            break
    return [_sequential(order, min(stop, n), window) for n in budgets]


def esc(order: Order, budgets: Sequence[int], *, window: int) -> list[Drawing]:
    """Windows until all samples of one agree; those before it have no vote then."""
    keys = order.keys()
    starts = range(0, len(keys) - window + 1, window)
    agreed = next((i for i in starts if unanimous(keys[i : i + window])), len(keys))
    found = []
    for n in budgets:
        used = min(agreed + window, n)
        drawing = _sequential(order, used, window)
        if agreed + window <= n:
            earlier = [_changed(c, 0.0, c.rank) for c in drawing.emitted[:agreed]]
            drawing = drawing._replace(emitted=[*earlier, *drawing.emitted[agreed:]])
        found.append(drawing)
    return found


def race(order: Order, budgets: Sequence[int], *, m: int = 1) -> list[Drawing]:
    """The first m that end, ranked by their length; whoever still runs then is cancelled."""
    found = []
    for n in budgets:
        ended = sorted((order.tokens[i], i) for i in range(n) if order.finished(i))[:m]
        end = ended[-1][0] if len(ended) == m else np.inf
        paid = [min(tokens, end) for tokens in order.tokens[:n]]
        chosen = [(order.candidates[i], tokens) for tokens, i in ended]
        winners = [_changed(c, c.weight, tokens) for c, tokens in chosen]
        found.append(Drawing(winners, n, sum(paid), max(paid)))
    return found


def _changed(c: Candidate, weight: float, rank: float) -> Candidate:
    """What `dataclasses.replace` makes, in a fifth of its time."""
    return Candidate(c.path, c.answer, weight, rank, c.steps, c.score, c.node, c.facts)


def _sequential(order: Order, used: int, window: int) -> Drawing:
    """The first `used` samples, one window after another."""
    tokens = order.tokens[:used]
    serial = sum(max(tokens[i : i + window]) for i in range(0, used, window))
    return Drawing(order.candidates[:used], used, order.cost[used], serial)


DRAWS: Mapping[str, Draw] = {
    "sample": everything,
    "self_consistency": everything,
    "best_of_n": everything,
    "adaptive_consistency": adaptive_consistency,
    "esc": esc,
    "first_finish": race,
    "short_m_at_k": race,
}
"""How the searchers draw that draw whole solutions."""

SIZES = {"short_m_at_k": "k", "sample": None}
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


class Ordered:
    """The samples of one problem in several orders, by the reduction of their step scores."""

    def __init__(self, make: Callable[[Reduction], list[Order]]) -> None:
        self._make = make
        self._made: dict[Reduction, list[Order]] = {}

    def __call__(self, reduction: Reduction) -> list[Order]:
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
        orders = samples(self.params.get("reduction", "last"))
        rows = [[self._row(d) for d in self.draw(order, budgets)] for order in orders]
        table = np.array(rows, dtype=float).reshape(len(orders), len(budgets), 4)
        return [
            Outcome(part[:, 0].astype(np.int64), *part[:, 1:].T) for part in table.swapaxes(0, 1)
        ]

    def _row(self, drawing: Drawing) -> tuple[int, int, float, float]:
        chosen = decide(drawing.emitted, *self.choose).candidate
        place = -1 if chosen is None else chosen.path[0]
        return place, drawing.samples, drawing.tokens, drawing.serial


def bound(draw: Draw, params: Mapping[str, Any]) -> Draw:
    """`draw` with the searcher's parameters."""
    return partial(draw, **params) if params else draw
