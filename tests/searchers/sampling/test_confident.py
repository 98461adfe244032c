"""Searchers that read how sure the model is: cot_decoding, deepconf_online."""

from __future__ import annotations

import asyncio
import math
from typing import Any

import numpy as np
import pytest

from reasoning import solve
from reasoning.backends.scripted import Scripted
from reasoning.generate import Prompt, Sampling
from reasoning.problem import Problem
from reasoning.search import Search
from reasoning.tree import RolloutTree, Sample, TopLogprobs
from searchers.sampling.cot_decoding import cot_decoding, margin
from searchers.sampling.deepconf_online import deepconf_online


def tops(rows: list[dict[str, float]]) -> TopLogprobs:
    table = np.log(np.array([list(r.values()) for r in rows])).astype(np.float32)
    return TopLogprobs(tuple(tuple(r) for r in rows), table)


def said(*tokens: tuple[str, float]) -> Sample:
    """Tokens with their probabilities, the runner-up having the rest."""
    rows = [{text: p, "?": 1 - p} for text, p in tokens]
    text = "".join(t for t, _ in tokens)
    return Sample(text, finish="end", generated_tokens=len(tokens), top_logprobs=tops(rows))


def test_the_margin_is_that_of_the_answers_tokens() -> None:
    tree = RolloutTree("m")
    node = tree.add(
        tree.root, 0, said(("so", 0.5), (" 4", 0.6), (" is", 0.5), (" 4", 0.9), ("2", 0.7))
    )
    assert margin(node, "42") == pytest.approx((0.8 + 0.4) / 2)
    assert margin(node, "4") == pytest.approx(0.8)  # the last of several
    assert margin(node, "7") == pytest.approx(np.mean([0, 0.2, 0, 0.8, 0.4]))
    bare = tree.add(tree.root, 1, Sample("x", finish="end"))
    assert margin(bare, "x") == 0


def branches(prompt: Prompt, seed: int) -> Sample:
    if prompt.suffix == "" and not prompt.text:
        first = {"5": 0.5, "I": 0.2, "We": 0.2, "x": 0.1}
        return Sample("5", finish="length", generated_tokens=1, top_logprobs=tops([first]))
    p = {"5": 0.55, "I": 0.8, "We": 0.9, "x": 0.5}[prompt.text]
    answer = {"5": "5", "I": "8", "We": "8", "x": "9"}[prompt.text]
    return said((" so", 0.5), (" \\boxed{", 0.99), (answer, p), ("}", 0.99))


def test_margins_of_equal_answers_add_up() -> None:
    search = Search(Problem("p", "q"), Scripted(branches))
    asyncio.run(cot_decoding(search, k=4))
    found = {c.answer.text: c.weight for c in search.candidates if c.answer}
    assert found == pytest.approx({"5": 0.1, "8": 0.8, "9": 0.0}, abs=1e-6)
    assert solve("q", searcher="cot_decoding", generator=Scripted(branches), k=4).answer == "8"
    assert len({n.sample.text for n in search.tree if n.sample.finish == "written"}) == 4


def sure(values: list[float], answer: int) -> Sample:
    text = " w" * (len(values) - 1) + f" \\boxed{{{answer}}}"
    ids = tuple(range(len(values)))
    array = np.array(values, np.float32)
    return Sample(
        text, token_ids=ids, finish="end", generated_tokens=len(values), confidence=array,
        logprobs=-array,
    )  # fmt: skip


def run(script: Any, **params: Any) -> Search:
    sampling = Sampling(max_tokens=64, confidence_k=2)
    search = Search(Problem("p", "q"), Scripted(script), sampling=sampling)
    asyncio.run(deepconf_online(search, **params))
    return search


def test_who_is_less_sure_than_the_bar_is_cut() -> None:
    """Warm-up 4, 2, 4: with keep = .5 the bar is their median."""

    def script(prompt: Prompt, seed: int) -> Sample:
        slot = prompt.slot if prompt.parent.depth == 0 else prompt.parent.lineage()[0].slot
        level = [4.0, 2.0, 4.0, 5.0, 1.0][slot]
        return sure([level] * (12 - len(prompt.text.split())), slot)

    search = run(script, n=5, warmup=3, keep=0.5, window=4, check=4, consensus=1.0)
    found = {
        c.path[0]: (c.weight, c.node.generated_tokens if c.node else 0) for c in search.candidates
    }
    assert found == {0: (4.0, 12), 1: (0.0, 12), 2: (4.0, 12), 3: (5.0, 12)}
    assert search.usage.generated_tokens == 12 * 4 + 4  # the last is cut at its first look


def test_the_sum_stops_when_one_answer_has_it() -> None:
    search = run(lambda p, s: sure([3.0] * 5, 7), n=40, warmup=4, window=4, check=8)
    assert search.usage.calls == 4


def test_without_confidences_it_is_refused() -> None:
    from reasoning.errors import RecipeError

    with pytest.raises(RecipeError, match="confidence_k"):
        solve("q", searcher="deepconf_online", n=4, generator="scripted")


def test_all_are_equally_sure() -> None:
    values = [math.e] * 6
    search = run(lambda p, s: sure(values, p.slot), n=3, warmup=3, window=2)
    assert [c.weight for c in search.candidates] == pytest.approx([math.e] * 3)
