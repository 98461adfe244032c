"""Aggregators: one policy for ties, and an answer that could not be parsed never wins."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reasoning.aggregators import Candidate, Choice
from reasoning.aggregators.best import best
from reasoning.aggregators.best_of_majority import best_of_majority
from reasoning.aggregators.certainty import mean_logprob
from reasoning.aggregators.cisc import cisc
from reasoning.aggregators.complexity import complexity
from reasoning.aggregators.deepconf_filter import deepconf_filter
from reasoning.aggregators.first import first
from reasoning.aggregators.logprob import logprob
from reasoning.aggregators.long_m_at_k import long_m_at_k
from reasoning.aggregators.majority import majority, rule
from reasoning.aggregators.marker_vote import marker_vote
from reasoning.aggregators.perplexity import perplexity
from reasoning.aggregators.rpc import rpc
from reasoning.aggregators.voting import ruled
from reasoning.aggregators.weighted_majority import weighted_majority
from reasoning.answers import Answer
from reasoning.errors import ChoiceError, RecipeError
from reasoning.tree import RolloutTree, Sample
from reasoning.verify import reduce_steps

REDUCTIONS = ("last", "min", "prod", "mean")
AGGREGATORS: list[Callable[..., Any]] = [
    first, majority, best, weighted_majority, best_of_majority, perplexity, cisc, rpc,
]  # fmt: skip


def candidates(*rows: tuple[object, ...], ranks: tuple[float, ...] = ()) -> list[Candidate]:
    """From (answer or None, score, weight), in path order."""
    found = []
    for i, (text, *rest) in enumerate(rows):
        score: Any = rest[0] if rest else None
        weight: Any = rest[1] if len(rest) > 1 else 1.0
        answer = None if text is None else Answer(f"{text}!", str(text))
        rank = ranks[i] if ranks else 0.0
        found.append(Candidate((i,), answer, weight, rank, score=score))
    return found


def winner(chosen: Choice | Candidate | None) -> Candidate | None:
    return chosen.candidate if isinstance(chosen, Choice) else chosen


def key(chosen: Choice | Candidate | None) -> str | None:
    candidate = winner(chosen)
    return candidate.answer.key if candidate and candidate.answer else None


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
        (majority, [("a", None, 1.0), ("b", None, 0.6), ("b", None, 0.6)], "b"),
        (majority, [("a", None, 0.0), ("b", None, 0.0)], "a"),
        (best, [("a", 0.1), ("b", 0.9), ("c", 0.9)], "b"),
        (best, [(None, 1.0), ("b", 0.1)], "b"),
        (best, [("a",), ("b", -5.0)], "b"),  # any score beats none
        (best, [("a",), ("b",)], "a"),
        (best, [("a", -2.0), ("b", -1.0)], "b"),
        (weighted_majority, [("a", 0.9), ("b", 0.5), ("b", 0.5)], "b"),
        (weighted_majority, [("a", 0.9), ("b", 0.45), ("b", 0.45)], "a"),
        (weighted_majority, [("a",), ("b", 0.1)], "b"),  # without a score no vote
        (weighted_majority, [("b",), ("a",), ("a",)], "a"),  # nobody scored: majority
        (weighted_majority, [("a", 0.5, 1.0), ("b", 0.5, 3.0)], "b"),
        (weighted_majority, [("a", 0.0), ("b", 0.0)], "a"),
        (weighted_majority, [(None, 1.0), ("b", 0.0)], "b"),
    ],
)
def test_vectors(
    aggregator: Callable[..., Any], rows: list[tuple[object, ...]], expected: str | None
) -> None:
    assert key(aggregator(candidates(*rows))) == expected


def test_negative_scores_fail_the_search_where_they_would_favour_rare_answers() -> None:
    with pytest.raises(ChoiceError, match=r"candidate \(1,\) has -0.5.*best"):
        weighted_majority(candidates(("a", 0.5), ("b", -0.5)))


def test_a_score_that_is_no_number_never_wins() -> None:
    for odd in (math.nan, math.inf, -math.inf):
        rows = candidates(("a", odd), ("b", 0.1))
        assert key(best(rows)) == "b"
        assert key(best_of_majority(rows)) == "b"
        if odd != -math.inf:
            assert key(weighted_majority(rows)) == "b"


def test_the_winner_is_told_in_its_earliest_words() -> None:
    rows = [
        Candidate((0,), Answer("a", "a")),
        Candidate((1,), Answer("1/2", "half")),
        Candidate((2,), Answer("0.5", "half")),
    ]
    choice = majority(rows)
    assert choice == Choice(rows[1], 2 / 3)


@pytest.mark.parametrize("aggregator", [first, majority, best])
def test_rank_comes_before_path(aggregator: Callable[..., Any]) -> None:
    assert key(aggregator(candidates(("a",), ("b",), ranks=(2, 1)))) == "b"


scores = st.sampled_from([None, 0.0, 0.25, 0.5, 1.0])
rows = st.lists(
    st.tuples(st.sampled_from(["a", "b", "c", None]), scores, st.sampled_from([0.0, 1.0, 2.0])),
    max_size=7,
).map(lambda rows: candidates(*rows))


@given(rows)
def test_laws(rows: list[Candidate]) -> None:
    parsed = [c for c in rows if c.answer]
    for aggregator in AGGREGATORS:
        chosen = winner(aggregator(rows))
        if aggregator is not best_of_majority:  # shares are those of all candidates
            assert chosen == winner(aggregator(parsed)), "the unparsed changed the outcome"
        assert (chosen is None) == (not parsed)
        assert chosen is None or chosen in parsed
        assert chosen == winner(aggregator(rows[::-1])), "the list's order counts, not the path's"


@given(rows)
def test_majority_is_a_brute_force_count(rows: list[Candidate]) -> None:
    totals = {
        name: sum(c.weight for c in rows if c.answer and c.answer.key == name)
        for name in dict.fromkeys(c.answer.key for c in rows if c.answer)
    }
    top = max(totals.values(), default=0.0)
    expected = next((name for name, total in totals.items() if total == top), None)
    assert key(majority(rows)) == expected


@given(rows)
def test_one_vote_counts_as_the_arrays_of_many_do(rows: list[Candidate]) -> None:
    assert majority(rows) == ruled(rule, rows)


@given(rows)
def test_best_is_the_earliest_of_the_highest(rows: list[Candidate]) -> None:
    def worth(c: Candidate) -> float:
        return -math.inf if c.score is None else c.score

    parsed = [c for c in rows if c.answer]
    top = max(map(worth, parsed), default=None)
    assert best(rows) == next((c for c in parsed if worth(c) == top), None)


def test_equal_scores_make_weighted_majority_majority() -> None:
    for letters in itertools.product("abc", repeat=4):
        rows = candidates(*((letter, 0.5) for letter in letters))
        assert weighted_majority(rows) == majority(rows)


@pytest.mark.parametrize("aggregator", AGGREGATORS)
def test_aggregators_change_nothing(aggregator: Callable[..., object]) -> None:
    rows = candidates(("b", 0.5), ("a", 0.25), ranks=(2, 1))
    before = list(rows)
    aggregator(rows)
    assert rows == before


# ------------------------------------------------------------------- what reads the solutions


def solutions(*rows: tuple[str | None, int], **arrays: list[list[float]]) -> list[Candidate]:
    """From (answer or None, tokens) and the arrays of each sample; negative tokens: cut off."""
    tree = RolloutTree("p")
    found = []
    for i, (text, tokens) in enumerate(rows):
        facts: dict[str, Any] = {n: np.array(x[i], np.float32) for n, x in arrays.items()}
        finish: Any = "end" if tokens > 0 else "length"
        sample = Sample("text", finish=finish, generated_tokens=abs(tokens), **facts)
        node = tree.add(tree.root, i, sample)
        found.append(Candidate((i,), None if text is None else Answer.of(text), node=node))
    return found


def test_long_m_at_k_is_a_vote_of_the_longest_that_ended() -> None:
    rows = [("a", 9), ("b", 3), ("b", 4), ("b", 5), ("c", 8), (None, 99)]
    assert key(long_m_at_k(solutions(*rows), m=1)) == "a"
    assert key(long_m_at_k(solutions(*rows), m=2)) == "a", "the longest wins a tie"
    assert key(long_m_at_k(solutions(*rows), m=5)) == "b"
    rows[0] = ("a", -9)
    assert key(long_m_at_k(solutions(*rows), m=1)) == "c", "who was cut off has not ended"
    assert long_m_at_k(candidates(("a",))) is None, "without nodes nobody has ended"


def test_the_likeliest_wins_by_perplexity_and_by_cisc_near_zero() -> None:
    rows = solutions(
        ("b", 2), ("a", 1), ("b", 2), (None, 1), logprobs=[[-1, 0.0], [-0.1], [-0.6, -0.6], [0.0]]
    )
    assert key(perplexity(rows)) == "a"
    assert key(cisc(rows, temperature=0.001)) == "a"
    assert key(cisc(rows, temperature=1e6)) == "b"
    assert rows[0].facts["logprob"] == pytest.approx(-0.5), "worked out once"


def test_steps_of_a_path_are_one_solution_and_written_text_says_nothing() -> None:
    tree = RolloutTree("p")
    one = Sample("x", generated_tokens=1, logprobs=np.array([-1.0], np.float32), finish="stop")
    last = Sample("z", generated_tokens=1, logprobs=np.array([-3.0], np.float32), finish="end")
    node = tree.add(tree.root, 0, one)
    hint = tree.add(node, 0, Sample("Wait", finish="written"))
    end = tree.add(hint, 0, last)
    assert mean_logprob(Candidate(end.path, None, node=end)) == -2.0
    blind = tree.add(hint, 1, Sample("z", generated_tokens=1, finish="end"))
    assert mean_logprob(Candidate(blind.path, None, node=blind)) is None


def test_deepconf_filter_keeps_the_confident_with_their_confidence() -> None:
    rows = solutions(
        ("a", 1), ("b", 1), ("b", 1), ("b", 1), (None, 1), confidence=[[9], [3], [4], [5], [99]]
    )
    kept = deepconf_filter(rows)
    assert [(c.path, c.weight) for c in kept] == [((0,), 9.0)]
    assert key(majority(deepconf_filter(rows, keep=1))) == "b", "3 + 4 + 5 > 9"
    assert [c.path for c in deepconf_filter(rows, keep=0.5)] == [(0,), (3,)]
    assert deepconf_filter(candidates(("a",), (None,))) == candidates(("a",))


# ------------------------------------------------------------------- scales, length and wording


def scored(*rows: tuple[str, float]) -> list[Candidate]:
    return candidates(*rows)


def test_minmax_lets_scores_of_any_sign_vote() -> None:
    """(-3, -1, -1, 2) weigh (0, .4, .4, 1): a has 1, b .8, and the better a is chosen."""
    rows = scored(("a", -3.0), ("b", -1.0), ("b", -1.0), ("a", 2.0))
    choice = weighted_majority(rows, scale="minmax")
    assert choice is not None
    assert (choice.candidate, choice.confidence) == (rows[3], pytest.approx(1 / 1.8))
    assert (
        winner(weighted_majority(scored(("a", 1.0), ("b", 3.0)), scale="minmax"))
        == (scored(("a", 1.0), ("b", 3.0))[1])
    )
    equal = scored(("a", -1.0), ("b", -1.0), ("b", -1.0))
    assert key(weighted_majority(equal, scale="minmax")) == "b"


scored_rows = st.lists(
    st.tuples(st.sampled_from(["a", "b", "c", None]), st.sampled_from([-3.0, 0.0, 0.5, 2.0])),
    max_size=8,
)


@given(scored_rows)
def test_softmax_lies_between_the_vote_and_the_best(rows: list[tuple[str | None, float]]) -> None:
    given = candidates(*rows)
    hot = weighted_majority(given, scale="softmax", temperature=1e9)
    votes = sorted(Counter(text for text, _ in rows if text).values())
    if len(votes) < 2 or votes[-1] > votes[-2]:
        assert key(hot) == key(majority(given))
    top = [r for r in rows if r[0] is not None]
    if top and [s for _, s in top].count(max(s for _, s in top)) == 1:
        cold = weighted_majority(given, scale="softmax", temperature=1e-3)
        assert key(cold) == key(best(given))


def written(*rows: tuple[str, str, int]) -> list[Candidate]:
    """From (answer, text, tokens), in path order."""
    tree = RolloutTree("w")
    found = []
    for slot, (answer, text, tokens) in enumerate(rows):
        node = tree.add(tree.root, slot, Sample(text, finish="end", generated_tokens=tokens))
        found.append(Candidate(node.path, Answer(answer, answer), node=node))
    return found


def test_complexity_votes_among_those_with_most_steps() -> None:
    rows = written(("a", "1\n2\n3", 9), ("b", "1", 9), ("b", "1\n\n", 9), ("a", "1\n2", 9))
    assert key(complexity(rows, m=2)) == "a"
    assert key(complexity(rows, m=2, keep="shortest")) == "b"
    assert key(complexity(rows, m=1)) == "a"
    assert complexity(rows, m=4) == majority(rows)
    assert complexity(rows, m=2, step=";") == majority(rows[:2])  # ties in length by order drawn
    assert complexity([], m=2) is None


def test_marker_vote_has_known_ends() -> None:
    rows = written(
        ("a", "Wait. Hmm. Maybe a.", 900), ("a", "Perhaps, alternatively a.", 800),
        ("b", "So, therefore b.", 100),
    )  # fmt: skip
    assert marker_vote(rows, betas=(0, 0, 0, 0)) == majority(rows)
    assert key(marker_vote(rows)) == "b"
    assert key(marker_vote(rows, betas=(-50, 0, 0, 0))) == "b"  # the shortest
    assert key(marker_vote(rows, betas=(0, 0, 50, 0))) == "a"
    assert key(marker_vote(rows, betas=(0, 0, 50, 0), thinking=("therefore",))) == "b"
    assert marker_vote([]) is None


def test_logprob_weighs_by_probability() -> None:
    tree = RolloutTree("l")
    rows = []
    for slot, (answer, nats) in enumerate([("a", -2.0), ("a", -2.0), ("b", -0.5)]):
        sample = Sample(
            "x", finish="end", generated_tokens=1, logprobs=np.array([nats], np.float32)
        )
        node = tree.add(tree.root, slot, sample)
        rows.append(Candidate(node.path, Answer(answer, answer), node=node))
    choice = logprob(rows)
    assert choice is not None
    p, q = 2 * math.exp(-2), math.exp(-0.5)
    assert (key(choice), choice.confidence) == ("b", pytest.approx(q / (p + q)))
    assert logprob(candidates(("a",), ("b",), ("b",))) == majority(
        candidates(("a",), ("b",), ("b",))
    )
