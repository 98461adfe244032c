"""Abstaining by information sufficiency: the numbers, and whom it holds back."""

from __future__ import annotations

import asyncio
import math

import numpy as np
import pytest

from reasoning.aggregators import Choice
from reasoning.aggregators.sufficiency import (
    bits_to_trust,
    divergence,
    most_probable,
    sufficiency,
    weakened,
)
from reasoning.backends.scripted import Scripted
from reasoning.generate import Prompt
from reasoning.problem import Problem
from reasoning.search import Search

QUESTION = "Ann has 3 cups and Bob 14.5 of them. How many?"


def test_vectors() -> None:
    assert bits_to_trust(0.5, 0.05) == pytest.approx(0.4946, abs=1e-4)
    assert bits_to_trust(0.1, 0.05) == pytest.approx(1.9942, abs=1e-4)
    assert bits_to_trust(0.2, 0.1) == pytest.approx(1.1457, abs=1e-4)
    assert bits_to_trust(0.95, 0.05) == bits_to_trust(0.99, 0.05) == 0
    assert most_probable(0.5, 0.5) == pytest.approx(0.9518, abs=1e-4)
    assert most_probable(0.0, 0.3) == pytest.approx(0.3, abs=1e-6)
    assert most_probable(-math.log(0.2), 0.2) == 1
    assert most_probable(1.6, 0.2) < 1
    assert divergence(0.3, 0.3) == 0


def test_evidence_is_hidden() -> None:
    rng = np.random.default_rng(0)
    assert weakened(QUESTION, 0.0, rng) == QUESTION
    assert weakened(QUESTION, 1.0, rng) == (
        "[...] has [...] cups and [...] [...] of them. [...] many?"
    )
    assert weakened(QUESTION, 0.5, np.random.default_rng(1)) == weakened(
        QUESTION, 0.5, np.random.default_rng(1)
    )


def run(blind: str) -> tuple[Choice | None, Search]:
    """With the whole question the model says 7; without its evidence, what `blind` says."""

    def script(prompt: Prompt, seed: int) -> str:
        hidden = "[...]" in prompt.messages[-1].content
        return f"\\boxed{{{blind if hidden else '7'}}}"

    async def choose() -> tuple[Choice | None, Search]:
        search = Search(Problem("p", QUESTION), Scripted(script))
        await search.draws(search.root, 4, until="end", land=search.emit)
        given = await search.agreed(search.candidates)
        return await sufficiency(given, search, strengths=(0.9, 0.95), n=5), search

    return asyncio.run(choose())


def test_what_the_question_tells_is_answered() -> None:
    choice, search = run("0")
    assert choice is not None
    assert choice.candidate is None or choice.candidate.answer is not None
    nats = math.log(7)  # of q = 1 / (5 + 2)
    assert (choice.candidate is not None) == (nats >= bits_to_trust(1 / 7, 0.05) + 0.2)
    assert choice.confidence == pytest.approx(1.0)
    assert search.usage.calls == 4 + 10


def test_what_is_said_without_evidence_is_known() -> None:
    choice, _ = run("7")
    assert choice is not None
    assert choice.candidate is not None


def test_more_draws_of_weak_questions_tell_more() -> None:
    """With q = 1 / 7 there is not enough; a floor of 1 / 22 leaves no doubt."""

    def script(prompt: Prompt, seed: int) -> str:
        return f"\\boxed{{{'0' if '[...]' in prompt.messages[-1].content else '7'}}}"

    async def choose(n: int) -> Choice | None:
        search = Search(Problem("p", QUESTION), Scripted(script))
        await search.draws(search.root, 4, until="end", land=search.emit)
        given = await search.agreed(search.candidates)
        return await sufficiency(given, search, strengths=(0.95,), n=n, margin=0.0)

    for n in (5, 20):
        choice = asyncio.run(choose(n))
        assert choice is not None
        enough = math.log(n + 2) >= bits_to_trust(1 / (n + 2), 0.05)
        assert (choice.candidate is not None) == enough
