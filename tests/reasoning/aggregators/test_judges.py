"""Aggregators that ask a model: whom they choose, what they ask, and what it costs."""

from __future__ import annotations

import asyncio
import itertools
import math
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reasoning.aggregators import Candidate, Choice
from reasoning.aggregators.chops import chops
from reasoning.aggregators.cross_perplexity import cross_perplexity
from reasoning.aggregators.genselect import genselect
from reasoning.aggregators.judging import named, place_bias, share_of
from reasoning.aggregators.majority import majority
from reasoning.aggregators.marginal import marginal, shares_of
from reasoning.aggregators.mbr import mbr
from reasoning.aggregators.permutation import permutation, ranking_in
from reasoning.aggregators.ranking import borda, copeland, disagreements, kemeny
from reasoning.aggregators.tournament import tournament
from reasoning.backends.scripted import Scripted
from reasoning.budget import Budget
from reasoning.errors import RecipeError
from reasoning.generate import Prompt, Sampling
from reasoning.problem import Problem
from reasoning.search import Search
from reasoning.tree import Node, Sample, TopLogprobs

PROBLEM = Problem("p", "Which {number}?")


def numbers(prompt: Prompt) -> list[int]:
    """The answers that a judge is shown, in their places."""
    return [int(x) for x in re.findall(r"boxed\{(\d+)\}", prompt.messages[-1].content)]


def fond_of(best: Callable[[list[int]], int]) -> Callable[[Prompt, int], str]:
    """A model that answers with its slot, and as a judge prefers the place that `best` names."""

    def script(prompt: Prompt, seed: int) -> str:
        if prompt.turn is None:
            return f"<think>8</think>It is \\boxed{{{prompt.slot}}}"
        shown = numbers(prompt)
        place = best(shown)
        asked = prompt.messages[-1].content
        if "Better:" in asked:
            return f"Hm. Better: {'AB'[place]}"
        if "Ranking:" in asked:
            order = sorted(range(len(shown)), key=lambda i: (i != place, i))
            return "Ranking: " + " > ".join(str(i + 1) for i in order)
        return f"Best: {place + 1}"

    return script


def largest(shown: list[int]) -> int:
    return shown.index(max(shown))


def always_first(shown: list[int]) -> int:
    return 0


def choose(
    aggregator: Callable[..., Any],
    script: Any,
    n: int,
    *,
    seed: int = 0,
    tokens: int | None = None,
    **options: Any,
) -> tuple[Candidate | None, Search, int]:
    """The choice among n samples, the search, and the calls that choosing took."""

    async def run() -> tuple[Candidate | None, Search, int]:
        search = Search(PROBLEM, Scripted(script), seed=seed, budget=Budget(tokens))
        await search.draws(search.root, n, until="end", land=search.emit)
        given = await search.agreed(search.candidates)
        before = search.usage.calls
        chosen = await aggregator(given, search, **options)
        choice = chosen.candidate if isinstance(chosen, Choice) else chosen
        return choice, search, search.usage.calls - before

    return asyncio.run(run())


def text(candidate: Candidate | None) -> str | None:
    return None if candidate is None or candidate.answer is None else candidate.answer.text


@pytest.mark.parametrize(
    ("aggregator", "options", "n", "calls"),
    [
        (genselect, {}, 1, 0),
        (genselect, {}, 8, 1),
        (genselect, {"window": 4}, 16, 5),
        (genselect, {"window": 2}, 5, 4),
        (chops, {}, 1, 0),
        (chops, {}, 12, 1),
        (permutation, {"m": 3}, 6, 3),
        (tournament, {"both": False}, 8, 7),
        (tournament, {}, 8, 14),
        (tournament, {"form": "round_robin", "both": False}, 8, 28),
        (tournament, {"form": "pivots", "pivots": 2, "both": False}, 8, None),
        (tournament, {"both": False, "criteria": ("rigour", "clarity")}, 4, 6),
        (mbr, {"utility": "judge"}, 5, 20),
        (mbr, {"utility": "judge", "evidence": 3}, 5, None),
    ],
)
def test_a_good_judge_is_followed(
    aggregator: Callable[..., Any], options: dict[str, Any], n: int, calls: int | None
) -> None:
    chosen, search, made = choose(aggregator, fond_of(largest), n, **options)
    assert text(chosen) == str(n - 1)
    if calls is not None:
        assert made == calls
    if options.get("form") == "pivots":
        assert made <= 8 + 2 * 6 + 1
    for node in search.tree:
        if node.turn is not None and not options.get("evidence"):
            assert node.sources, "what the judge has read is not told"
            assert "<think>" not in node.turn.messages[0].content
            assert "{number}" in node.turn.messages[0].content


def test_equal_answers_cost_nothing() -> None:
    for aggregator in (genselect, permutation, tournament):
        chosen, _, calls = choose(aggregator, ["\\boxed{4}"], 5)
        assert chosen is not None
        assert (chosen.path, calls) == ((0,), 0)


@pytest.mark.parametrize("aggregator", [genselect, chops, permutation, tournament])
def test_a_verdict_that_cannot_be_read_decides_nothing(aggregator: Callable[..., Any]) -> None:
    def mute(prompt: Prompt, seed: int) -> str:
        return "no idea" if prompt.turn else f"\\boxed{{{(1, 2, 2)[prompt.slot]}}}"

    chosen, search, _ = choose(aggregator, mute, 3)
    assert text(chosen) == ("2" if aggregator is genselect else "1")
    verdicts = [n.sample.info for n in search.tree if n.turn is not None]
    assert verdicts
    assert all(info and info["verdict"] is None for info in verdicts)


@pytest.mark.parametrize("aggregator", [genselect, chops, permutation, tournament, mbr])
@pytest.mark.parametrize("tokens", [10, 14, 30])
def test_limits_hold_and_somebody_is_chosen(aggregator: Callable[..., Any], tokens: int) -> None:
    chosen, search, _ = choose(aggregator, fond_of(largest), 3, tokens=tokens)
    assert chosen is not None
    assert search.usage.generated_tokens <= tokens


def test_a_judge_that_favours_a_place_favours_nobody() -> None:
    for aggregator in (genselect, chops):
        won = [text(choose(aggregator, fond_of(always_first), 4, seed=s)[0]) for s in range(80)]
        counts = [won.count(str(i)) for i in range(4)]
        assert min(counts) > 8, counts  # 20 each; a fair one is under 9 once in 1,000
    chosen, search, _ = choose(tournament, fond_of(always_first), 4)
    assert text(chosen) is not None
    assert place_bias(search.tree) == (0.5, 6)
    assert place_bias([]) is None


def test_places_cancel_in_both_orders() -> None:
    """With a judge that always says A every pair is a tie, and the earliest goes on."""
    for form in ("knockout", "round_robin", "pivots"):
        chosen, _, _ = choose(tournament, fond_of(always_first), 6, form=form)
        assert text(chosen) == "0"


def test_a_judge_in_circles_has_a_copeland_winner() -> None:
    """0 beats 1, 1 beats 2, 2 beats 0, and all three beat 3."""

    def circle(shown: list[int]) -> int:
        a, b = shown
        if 3 in shown:
            return shown.index(min(shown))
        return 0 if (a + 1) % 3 == b else 1

    chosen, _, _ = choose(tournament, fond_of(circle), 4, form="round_robin")
    assert text(chosen) == "0"


def test_grades_are_probabilities_of_letters() -> None:
    def script(prompt: Prompt, seed: int) -> Sample | str:
        if prompt.turn is None:
            return f"\\boxed{{{prompt.slot}}}"
        a, b = numbers(prompt)
        p = 0.8 if a > b else 0.3  # a bias for the first place, less than the difference
        table = np.log(np.array([[p * 0.9, (1 - p) * 0.9]], dtype=np.float32))
        return Sample(
            "A", finish="end", generated_tokens=1, top_logprobs=TopLogprobs((("A", " B"),), table)
        )

    chosen, search, calls = choose(tournament, script, 4, graded=True)
    assert (text(chosen), calls) == ("3", 6)
    bias = place_bias(search.tree)
    assert bias is not None
    assert bias == (pytest.approx(0.05, abs=1e-6), 6)


def test_share_of_two_words() -> None:
    logs = {"A": math.log(0.3), " A": math.log(0.3), "B": math.log(0.2), "AB": math.log(0.1)}
    assert share_of("A", "B", logs) == pytest.approx(0.75)
    assert share_of("A", "B", {"no": 0.0}) is None


@pytest.mark.parametrize(
    ("told", "place"),
    [
        ("Best: 2", 1),
        ("**Best: Solution 3**", 2),
        ("Best: 1\nNo: best: 2", 1),
        ("<think>Best: 1</think>Best: 3", 2),
        ("2", 1),
        (" [2]. ", 1),
        ("Best: 4", None),
        ("Best: 0", None),
        ("Best: " + "9" * 50, None),
        ("Of 3 solutions none", None),
        ("", None),
    ],
)
def test_verdicts_are_read(told: str, place: int | None) -> None:
    assert named(told, "best", 3) == place


def test_checks_decide_where_nobody_is_named() -> None:
    def script(prompt: Prompt, seed: int) -> str:
        if prompt.turn is None:
            return f"\\boxed{{{prompt.slot}}}"
        lines = [f"{i}: {5 if x == 1 else 2}" for i, x in enumerate(numbers(prompt), start=1)]
        return "Checklist: short.\n" + "\n".join(lines)

    assert text(choose(chops, script, 3)[0]) == "1"


@settings(max_examples=25)
@given(st.lists(st.sampled_from("abc"), min_size=1, max_size=7), st.integers(0, 3))
def test_equal_utility_is_the_vote(said: list[str], seed: int) -> None:
    codes = [f"\\boxed{{{ord(x)}}}" for x in said]
    by_mbr = choose(mbr, codes, len(said), seed=seed)[0]
    assert by_mbr is not None

    async def vote(candidates: list[Candidate], search: Search) -> Choice | None:
        return majority(candidates)

    by_vote = choose(vote, codes, len(said), seed=seed)[0]
    assert by_vote is not None
    assert by_mbr.path == by_vote.path


def test_evidence_speaks_and_is_not_chosen() -> None:
    def script(prompt: Prompt, seed: int) -> str:
        return "\\boxed{2}" if prompt.turn else f"\\boxed{{{(1, 1, 2)[prompt.slot]}}}"

    assert text(choose(mbr, script, 3)[0]) == "1"  # 2, 2, 1
    chosen, search, _ = choose(mbr, script, 3, evidence=3, prompt="Auf Deutsch: {question}")
    assert text(chosen) == "2"  # 2, 2, 4
    assert len(search.candidates) == 3
    with pytest.raises(RecipeError, match=r"has no \{question\}"):
        choose(mbr, script, 3, prompt="Hallo")


def test_rankings_are_read() -> None:
    assert ranking_in("Ranking: 2 > 1 > 3", 3) == [1, 0, 2]
    assert ranking_in("Ranking: 2 > 1\nRanking: **3 > 3 > 9 > 1**", 3) == [2, 0]
    assert ranking_in("2 > 1 > 3", 3) == []


def test_kemeny_and_borda() -> None:
    told = [[1, 2, 0, 3], [1, 2, 3, 0], [1, 2, 0, 3]]
    assert kemeny(told, 4) == [1, 2, 0, 3]
    assert tau(told, kemeny(told, 4)) == 1
    split = [[0, 1, 2]] * 3 + [[1, 2, 0]] * 2
    assert (kemeny(split, 3), tau(split, kemeny(split, 3))) == ([0, 1, 2], 4)
    assert borda(split, 3) == [1, 0, 2]
    assert kemeny([[2, 0, 1]], 3) == [2, 0, 1]
    assert kemeny([], 2) == [0, 1]


def tau(rankings: list[list[int]], order: list[int]) -> int:
    table = disagreements(rankings, len(order))
    return int(sum(table[a, b] for a, b in itertools.combinations(order, 2)))


@given(st.lists(st.permutations(range(5)).map(lambda r: r[:4]), min_size=1, max_size=4))
def test_kemeny_is_the_best_of_all_orders(rankings: list[list[int]]) -> None:
    least = min(tau(rankings, list(order)) for order in itertools.permutations(range(5)))
    assert tau(rankings, kemeny(rankings, 5)) == least


def test_many_items_are_ranked_by_swaps() -> None:
    rankings = [list(range(25)), list(range(25)), [*range(24, -1, -1)]]
    assert kemeny(rankings, 25) == list(range(25))


def test_copeland_counts_a_tie_as_half() -> None:
    wins = np.array([[0.5, 0.9, 0.5], [0.1, 0.5, 0.6], [0.5, 0.4, 0.5]])
    assert copeland(wins) == [1.5, 1.0, 0.5]


# ------------------------------------------------------------------------------- likelihoods


def test_marginal_averages_before_it_chooses() -> None:
    """p(A) = .55, .55, .05: the vote of the likeliest says A 2:1, the mean of them B."""
    shares = [0.55, 0.55, 0.05]

    def script(prompt: Prompt, seed: int) -> Sample | str:
        if not prompt.suffix:
            return ["\\boxed{A}", "\\boxed{A}", "\\boxed{B}"][prompt.slot]
        p = shares[prompt.parent.slot] * 0.5  # half of it goes elsewhere
        table = np.log(np.array([[p, 0.5 - p, 0.5]], dtype=np.float32))
        tops = TopLogprobs(((" A", " B", " hm"),), table)
        return Sample(" A", finish="length", generated_tokens=1, top_logprobs=tops)

    async def confident(candidates: list[Candidate], search: Search) -> Candidate | None:
        choice = await marginal(candidates, search)
        assert choice is not None
        assert choice.confidence == pytest.approx(1 - 1.15 / 3)
        return choice.candidate

    chosen, _, calls = choose(confident, script, 3)
    assert (text(chosen), calls) == ("B", 3)


def test_marginal_without_probabilities_is_the_vote() -> None:
    said = ["\\boxed{A}", "\\boxed{B}", "\\boxed{B}"]
    assert text(choose(marginal, said, 3)[0]) == "B"
    assert choose(marginal, ["\\boxed{A}"], 3)[2] == 0


def test_a_token_that_fits_several_answers_speaks_for_none() -> None:
    logs = {"1": math.log(0.5), "12": math.log(0.3), "2": math.log(0.1)}
    found = shares_of({"a": "12", "b": "13", "c": "2"}, logs)
    assert found == pytest.approx({"a": 0.75, "b": 0.0, "c": 0.25})
    assert shares_of({"a": "x"}, logs) == {}


def test_perplexity_under_another_model_reads_text_alone() -> None:
    read: list[tuple[bool, tuple[int, ...] | None]] = []

    class Reader(Scripted):
        async def score_text(
            self, prompt: Prompt, sample: Sample, *, question: bool, meter: Any
        ) -> Any:
            read.append((question, sample.token_ids))
            meter(7)
            return np.full(3, -float("acb".index(sample.text[0])), np.float32)

    async def run() -> tuple[Candidate | None, int]:
        script = ["c \\boxed{1}", "a \\boxed{2}", "b \\boxed{3}"]
        search = Search(PROBLEM, Scripted(script), models={"base": Reader([])})
        await search.draws(search.root, 3, until="end", land=search.emit)
        return await cross_perplexity(search.candidates, search, model="base"), (
            search.usage.prompt_tokens
        )

    chosen, tokens = asyncio.run(run())
    assert text(chosen) == "2"
    assert read == [(False, None)] * 3  # tokens of one model mean nothing to another
    assert tokens >= 21


def test_by_the_generator_itself_it_is_perplexity() -> None:
    from reasoning.aggregators.perplexity import perplexity

    said = ["one \\boxed{1}", "two three \\boxed{2}", "four \\boxed{3}"]
    chosen, search, _ = choose(cross_perplexity, said, 3, model="", question=True)
    assert chosen == perplexity(search.candidates)


def test_unfinished_solutions_meet_only_if_there_are_no_others() -> None:
    def script(prompt: Prompt, seed: int) -> Sample | str:
        if prompt.turn is not None:
            return fond_of(largest)(prompt, seed)
        finish: Any = "length" if prompt.slot == 2 else "end"
        return Sample(f"\\boxed{{{prompt.slot}}}", finish=finish, generated_tokens=1)

    assert text(choose(genselect, script, 3)[0]) == "1"


def nodes_of(search: Search) -> list[Node]:
    return list(search.tree)


def test_the_judge_may_be_another_model() -> None:
    async def run() -> tuple[Candidate | None, set[str]]:
        search = Search(
            PROBLEM,
            Scripted(fond_of(always_first)),
            models={"wise": Scripted(fond_of(largest))},
            sampling=Sampling(max_tokens=64),
        )
        await search.draws(search.root, 4, until="end", land=search.emit)
        chosen = await genselect(search.candidates, search, model="wise")
        return chosen, {n.sample.model for n in nodes_of(search) if n.turn is not None}

    chosen, models = asyncio.run(run())
    assert (text(chosen), models) == ("3", {"wise"})
