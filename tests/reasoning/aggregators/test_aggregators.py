"""Aggregators: one policy for ties, and an answer that could not be parsed never wins."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reasoning.aggregators import (
    Aggregator,
    Candidate,
    best,
    first,
    majority,
    reduce_steps,
    weighted_majority,
)
from reasoning.answers import Answer
from reasoning.errors import RecipeError

REDUCTIONS = ("last", "min", "prod", "mean")
AGGREGATORS: list[Aggregator] = [
    first,
    majority,
    *(partial(f, reduction=r) for f in (best, weighted_majority) for r in REDUCTIONS),
]


def candidates(*rows: tuple[object, ...], ranks: tuple[float, ...] = ()) -> list[Candidate]:
    """From (answer or None, steps, weight), in path order."""
    found = []
    for i, (text, *rest) in enumerate(rows):
        steps = rest[0] if rest else ()
        weight = rest[1] if len(rest) > 1 else 1.0
        answer = None if text is None else Answer(f"{text}!", str(text))
        rank = ranks[i] if ranks else 0.0
        found.append(Candidate((i,), answer, weight, rank, steps))  # type: ignore[arg-type]
    return found


def key(answer: Answer | None) -> str | None:
    return answer.key if answer else None


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ((0.5, 0.25, 0.75), (0.75, 0.25, 0.09375, 0.5)),
        ((0.5,), (0.5, 0.5, 0.5, 0.5)),
        ((), (None, None, None, None)),
        ((0.0, 1.0), (1.0, 0.0, 0.0, 0.5)),
        ((-2.0, 3.0), (3.0, -2.0, -6.0, 0.5)),
    ],
)
def test_reductions(steps: tuple[float, ...], expected: tuple[float | None, ...]) -> None:
    assert tuple(reduce_steps(steps, r) for r in REDUCTIONS) == expected  # type: ignore[arg-type]


def test_unknown_reduction() -> None:
    with pytest.raises(RecipeError, match="one of last, min, prod, mean, not 'max'"):
        reduce_steps((0.5,), "max")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("aggregator", "rows", "expected"),
    [
        (first, [(None,), ("b",), ("a",)], "b"),
        (first, [(None,)], None),
        (first, [], None),
        (majority, [("a",), ("b",), ("b",)], "b"),
        (majority, [("b",), ("a",), ("a",), ("b",)], "b"),  # a tie goes to the earliest
        (majority, [(None,), (None,), (None,), ("a",)], "a"),  # the unparsed are no party
        (majority, [("a", (), 1.0), ("b", (), 0.6), ("b", (), 0.6)], "b"),
        (majority, [("a", (), 0.0), ("b", (), 0.0)], "a"),
        (best, [("a", (0.1,)), ("b", (0.9,)), ("c", (0.9,))], "b"),
        (best, [(None, (1.0,)), ("b", (0.1,))], "b"),
        (best, [("a",), ("b", (-5.0,))], "b"),  # any score beats none
        (best, [("a",), ("b",)], "a"),
        (best, [("a", (-2.0,)), ("b", (-1.0,))], "b"),
        (weighted_majority, [("a", (0.9,)), ("b", (0.5,)), ("b", (0.5,))], "b"),
        (weighted_majority, [("a", (0.9,)), ("b", (0.45,)), ("b", (0.45,))], "a"),
        (weighted_majority, [("a",), ("b", (0.1,))], "b"),  # without a score no vote
        (weighted_majority, [("b",), ("a",), ("a",)], "a"),  # nobody scored: majority
        (weighted_majority, [("a", (0.5,), 1.0), ("b", (0.5,), 3.0)], "b"),
        (weighted_majority, [("a", (0.0,)), ("b", (0.0,))], "a"),
        (weighted_majority, [(None, (1.0,)), ("b", (0.0,))], "b"),
    ],
)
def test_vectors(
    aggregator: Aggregator, rows: list[tuple[object, ...]], expected: str | None
) -> None:
    assert key(aggregator(candidates(*rows))) == expected


def test_reductions_decide() -> None:
    rows = candidates(("a", (0.1, 0.9)), ("b", (0.6, 0.6)), ("c", (0.6,)))
    winners = {r: key(best(rows, reduction=r)) for r in REDUCTIONS}  # type: ignore[arg-type]
    assert winners == {"last": "a", "min": "b", "prod": "c", "mean": "b"}


def test_negative_scores_are_refused_where_they_would_favour_rare_answers() -> None:
    with pytest.raises(RecipeError, match=r"candidate \(1,\) has -0.5.*best"):
        weighted_majority(candidates(("a", (0.5,)), ("b", (-0.5,))))


def test_the_winner_is_told_in_its_earliest_words() -> None:
    rows = [
        Candidate((0,), Answer("a", "a")),
        Candidate((1,), Answer("1/2", "half")),
        Candidate((2,), Answer("0.5", "half")),
    ]
    winner = majority(rows)
    assert winner is not None
    assert winner.text == "1/2"


@pytest.mark.parametrize("aggregator", [first, majority, best])
def test_rank_comes_before_path(aggregator: Aggregator) -> None:
    assert key(aggregator(candidates(("a",), ("b",), ranks=(2, 1)))) == "b"


scores = st.lists(st.sampled_from([0.0, 0.25, 0.5, 1.0]), max_size=3).map(tuple)
rows = st.lists(
    st.tuples(st.sampled_from(["a", "b", "c", None]), scores, st.sampled_from([0.0, 1.0, 2.0])),
    max_size=7,
).map(lambda rows: candidates(*rows))


@given(rows)
def test_laws(rows: list[Candidate]) -> None:
    parsed = [c for c in rows if c.answer]
    for aggregator in AGGREGATORS:
        winner = aggregator(rows)
        assert winner == aggregator(parsed), "the unparsed changed the outcome"
        assert (winner is None) == (not parsed)
        assert winner is None or winner in [c.answer for c in parsed]
        assert winner == aggregator(rows[::-1]), "the order of the list counts, not the path's"


@given(rows)
def test_majority_is_a_brute_force_count(rows: list[Candidate]) -> None:
    totals = {
        name: sum(c.weight for c in rows if key(c.answer) == name)
        for name in dict.fromkeys(key(c.answer) for c in rows if c.answer)
    }
    top = max(totals.values(), default=0.0)
    expected = next((name for name, total in totals.items() if total == top), None)
    assert key(majority(rows)) == expected


@given(rows, st.sampled_from(REDUCTIONS))
def test_best_is_the_earliest_of_the_highest(rows: list[Candidate], reduction: str) -> None:
    def worth(c: Candidate) -> float:
        score = reduce_steps(c.steps, reduction)  # type: ignore[arg-type]
        return -math.inf if score is None else score

    parsed = [c for c in rows if c.answer]
    top = max(map(worth, parsed), default=None)
    expected = next((c.answer for c in parsed if worth(c) == top), None)
    assert best(rows, reduction=reduction) == expected  # type: ignore[arg-type]


def test_equal_scores_make_weighted_majority_majority() -> None:
    for letters in itertools.product("abc", repeat=4):
        rows = candidates(*((letter, (0.5,)) for letter in letters))
        assert weighted_majority(rows) == majority(rows)


@pytest.mark.parametrize("aggregator", AGGREGATORS)
def test_aggregators_change_nothing(aggregator: Callable[..., object]) -> None:
    rows = candidates(("b", (0.5,)), ("a", (0.25,)), ranks=(2, 1))
    before = list(rows)
    aggregator(rows)
    assert rows == before
