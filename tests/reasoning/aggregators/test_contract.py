"""Every aggregator keeps the promises, and the suite notices those that do not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from reasoning.aggregators import Candidate, Choice
from reasoning.aggregators.voting import in_order
from reasoning.answers import Answer
from reasoning.runs import names
from reasoning.search import Search
from reasoning.testing.contracts import AGGREGATOR_CHECKS, AggregatorCase, check_aggregator


async def asking(candidates: Sequence[Candidate], search: Search) -> Choice | None:
    """As many questions as there are candidates, one after another; then the earliest."""
    for _ in candidates:
        await search.draw(search.root, until="end")
    found = in_order(candidates)
    return Choice(found[0], 0.5) if found else None


PARAMS: dict[str, dict[str, Any]] = {
    "best_of_majority": {"alpha": 0.4},
    "cisc": {"temperature": 0.3},
    "complexity": {"m": 2},
    "cross_perplexity": {"model": ""},
    "genselect": {"window": 2},
    "deepconf_filter": {"keep": 0.5},
    "long_m_at_k": {"m": 2},
    "mbr": {"utility": "judge", "evidence": 1},
    "permutation": {"m": 2},
    "rank_filter": {"top": 2},
    "tournament": {"form": "pivots", "criteria": ["rigour", "style"]},
    "weighted_majority": {"scale": "minmax"},
}
ROWS: list[tuple[Callable[..., Any], dict[str, Any]]] = [
    *((names.find("aggregator", n), PARAMS.get(n, {})) for n in names.known("aggregator")),
    (asking, {}),
]


@pytest.mark.parametrize("check", AGGREGATOR_CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize(("aggregator", "params"), ROWS, ids=lambda x: getattr(x, "__name__", ""))
def test_contract(
    check: Callable[[AggregatorCase], None], aggregator: Any, params: dict[str, Any]
) -> None:
    check(AggregatorCase(aggregator=aggregator, params=params))


def by_list(candidates: Sequence[Candidate]) -> Candidate | None:
    return next((c for c in candidates if c.answer), None)


def latest(candidates: Sequence[Candidate]) -> Candidate | None:
    return max(in_order(candidates), key=lambda c: c.path, default=None)


def mute(candidates: Sequence[Candidate]) -> Candidate | None:
    return next(iter(candidates), None)


def greedy(candidates: Sequence[Candidate]) -> Candidate:
    return candidates[0] if candidates else Candidate((9,), Answer("a", "a"))


def too_sure(candidates: Sequence[Candidate]) -> Choice | None:
    found = in_order(candidates)
    return Choice(found[0], 2.0) if found else None


@pytest.mark.parametrize(
    ("aggregator", "word"),
    [
        (by_list, "the list's order counts"),
        (latest, "won a tie"),
        (mute, "without an answer won"),
        (greedy, "chose from nothing"),
        (too_sure, "is no share"),
    ],
)
def test_broken_promises_are_noticed(aggregator: Callable[..., Any], word: str) -> None:
    with pytest.raises(AssertionError, match=word):
        check_aggregator(aggregator)
