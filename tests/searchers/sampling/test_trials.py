"""Searchers that draw again, or drop, by what they see: cntp, self_evaluation, seat,
token_set_cover."""

from __future__ import annotations

import asyncio
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reasoning.backends.scripted import Scripted
from reasoning.generate import Prompt, Sampling
from reasoning.problem import Problem
from reasoning.search import Search
from reasoning.tree import Sample, TopLogprobs
from searchers.sampling.cntp import cntp, entropy, tries
from searchers.sampling.seat import seat
from searchers.sampling.self_evaluation import self_evaluation
from searchers.sampling.token_set_cover import covering, token_set_cover

PROBLEM = Problem("p", "q")


def run(searcher: Any, script: Any, sampling: Sampling | None = None, **params: Any) -> Search:
    search = Search(PROBLEM, Scripted(script), sampling=sampling)
    asyncio.run(searcher(search, **params))
    return search


def answers(search: Search) -> list[str]:
    return [c.answer.text for c in search.candidates if c.answer and c.weight]


def tops(p: dict[str, float]) -> TopLogprobs:
    return TopLogprobs((tuple(p),), np.log(np.array([list(p.values())])).astype(np.float32))


# ------------------------------------------------------------------------------------- cntp


def test_tries_grow_with_entropy() -> None:
    got = [tries(h, 10, 0.01, 1.5) for h in (0.0, 0.01, 0.2, 0.755, 1.5, 9.0)]
    assert got == [1, 1, 2, 5, 10, 10]
    assert entropy(tops({"a": 0.5, "b": 0.5})) == pytest.approx(math.log(2))
    assert entropy(tops({"a": 0.2, "b": 0.2})) == pytest.approx(math.log(2))  # renormalised
    assert entropy(None) == 0


def test_the_likeliest_of_several_segments_goes_on() -> None:
    def script(prompt: Prompt, seed: int) -> Sample:
        if prompt.suffix == "" and prompt.slot == 0:  # the probe of this place
            unsure = prompt.text == ""
            p = {"x": 0.5, "y": 0.5} if unsure else {"x": 1.0}
            return Sample("x", finish="length", generated_tokens=1, top_logprobs=tops(p))
        nats = np.array([-1.0 / prompt.slot], np.float32)
        if prompt.text == "":
            text = f"try {prompt.slot}."
            return Sample(text, finish="stop", generated_tokens=1, logprobs=nats)
        return Sample("\\boxed{1}", finish="end", generated_tokens=1, logprobs=nats)

    search = run(cntp, script, trials=4, low=0.0, high=math.log(2))
    [only] = search.candidates
    assert only.node is not None
    assert only.node.text == "try 4.\\boxed{1}"
    assert search.usage.calls == 2 + 4 + 1


def test_one_trial_asks_for_no_probabilities() -> None:
    search = run(cntp, ["a, b. \\boxed{3}"], trials=1)
    assert search.usage.probe_tokens == 0


# -------------------------------------------------------------------------- self_evaluation


def fickle(no: list[float]) -> Any:
    """Answers with its slot among the solutions, each of which it finds as good as `no` says."""

    def script(prompt: Prompt, seed: int) -> Sample | str:
        if prompt.suffix:
            slot = prompt.parent.lineage()[0].slot
            p = {"No": no[slot], " Yes": 1 - no[slot]}
            return Sample("No", finish="length", generated_tokens=1, top_logprobs=tops(p))
        slot = prompt.parent.lineage()[0].slot if prompt.text else prompt.slot
        return f"a b c d \\boxed{{{slot}}}".removeprefix(prompt.text)

    return script


@pytest.mark.parametrize(
    ("threshold", "drawn", "first"),
    [(0.0, 1, 0), (0.5, 2, 1), (0.9, 4, 3), (1.1, 5, 3)],
)
def test_it_stops_when_it_would_not_start_over(threshold: float, drawn: int, first: int) -> None:
    search = run(self_evaluation, fickle([0.2, 0.6, 0.4, 0.95, 0.1]), n=5, threshold=threshold)
    assert len(search.candidates) == drawn
    assert min(search.candidates, key=lambda c: (c.rank, c.path)).path == (first,)


def test_beginnings_are_pruned() -> None:
    search = run(self_evaluation, fickle([0.2, 0.6, 0.4, 0.95]), n=4, prune_at=2, keep=0.5)
    assert sorted(answers(search)) == ["1", "3"]
    assert min(search.candidates, key=lambda c: c.rank).path[0] == 3
    everybody = run(self_evaluation, fickle([0.2, 0.6, 0.4, 0.95]), n=4, prune_at=2, keep=1.0)
    assert len(answers(everybody)) == 4


# ------------------------------------------------------------------------------------- seat


def rounds(*said: str) -> Any:
    """In round i, sample j says letter j of said[i]; a dot is none."""

    def script(prompt: Prompt, seed: int) -> str:
        i, j = divmod(prompt.slot, len(said[0]))
        assert (prompt.turn is None) == (i == 0)
        letter = said[i][j]
        return "hm" if letter == "." else f"\\boxed{{{letter}}}"

    return script


@pytest.mark.parametrize(
    ("said", "threshold", "used"),
    [
        (("1234", "1123", "1111", "2222"), 0.0, 3),
        (("1111", "2222"), 0.0, 1),
        (("1234", "1122", "1112"), math.log(2), 2),
        (("1122", "1234", "1112", "1111"), None, 3),  # the first below the one that is watched
        (("1111", "1112", "1122", "3333"), None, 4),  # none is lower: the last
        (("....", "1111"), 0.0, 2),
    ],
)
def test_rounds_end(said: tuple[str, ...], threshold: float | None, used: int) -> None:
    search = run(seat, rounds(*said), m=4, rounds=len(said), threshold=threshold)
    assert search.usage.calls == 4 * used
    assert answers(search) == [c for c in said[used - 1] if c != "."]
    read = [node.sources for node in search.tree if node.turn is not None]
    assert all(len(sources) == 4 for sources in read)


# -------------------------------------------------------------------------- token_set_cover


def test_cover_is_greedy_by_new_words_and_weight() -> None:
    sets = [{"a", "b", "c"}, {"a", "b"}, {"d"}, {"a", "b", "c"}]
    assert covering(sets, [1, 1, 1, 1], 1.0, 1) == [0, 2]
    assert covering(sets, [0.5, 1, 1, 0.9], 1.0, 1) == [2, 3]
    assert covering(sets, [1, 1, 1, 1], 0.7, 1) == [0]
    assert covering(sets, [1, 1, 1, 1], 0.7, 3) == [0, 1, 2]
    assert covering([], [], 1.0, 2) == []


words = st.lists(st.sets(st.sampled_from("abcdef")), max_size=6)


@given(words, st.floats(0.1, 1.0), st.floats(0.1, 1.0))
def test_less_cover_keeps_no_more(sets: list[set[str]], a: float, b: float) -> None:
    ones = [1.0] * len(sets)
    few, many = covering(sets, ones, min(a, b), 1), covering(sets, ones, max(a, b), 1)
    assert set(few) <= set(many)


def test_who_says_nothing_new_is_dropped() -> None:
    def script(prompt: Prompt, seed: int) -> str:
        slot = prompt.parent.lineage()[0].slot if prompt.text else prompt.slot
        kind = "same" if slot < 3 else "new"
        return f"{kind} {kind} {kind} {kind} \\boxed{{{slot}}}".removeprefix(prompt.text)

    search = run(token_set_cover, script, n=4, cover=1.0, every=2, least=1)
    assert answers(search) == ["0", "3"]
    assert search.usage.generated_tokens == 4 * 2 + 2 * 3
    whole = run(token_set_cover, script, n=4, every=2, least=4)
    assert answers(whole) == ["0", "1", "2", "3"]
