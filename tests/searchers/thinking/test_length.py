"""Searchers that make thoughts shorter or longer: end_bias, tip, concise_hint."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from reasoning import solve
from reasoning.backends.scripted import Scripted
from reasoning.generate import Prompt, Sampling
from reasoning.problem import Problem
from reasoning.runs.stages import entry
from reasoning.search import Search
from reasoning.testing import ToyGenerator, random_tree
from reasoning.tree import Sample
from searchers.thinking.concise_hint import HINT, concise_hint
from searchers.thinking.end_bias import end_bias
from searchers.thinking.tip import tip

MODEL = random_tree(5, depth=4)


class Biased(Scripted):
    """A fake that takes a bias, and keeps the sampling of every call."""

    def __init__(self, script: Any) -> None:
        super().__init__(script)
        self.asked: list[Sampling] = []

    @property
    def honours(self) -> frozenset[str]:
        return super().honours | {"logit_bias"}

    def reply(self, prompt: Prompt, params: Sampling, seed: int) -> Sample:
        self.asked.append(params)
        return super().reply(prompt, params, seed)


def run(searcher: Any, script: Any, sampling: Sampling | None = None, **params: Any) -> Any:
    generator = Biased(script)
    search = Search(Problem("p", "q"), generator, sampling=sampling)
    asyncio.run(searcher(search, **params))
    return search, generator.asked


@pytest.mark.parametrize(
    ("searcher", "neutral"),
    [("end_bias", {"bias": 0}), ("tip", {"alpha": 0}), ("concise_hint", {"base": 10_000})],
)
def test_neutral_values_are_self_consistency(searcher: str, neutral: dict[str, Any]) -> None:
    def answers(name: str, **params: Any) -> Any:
        found = solve(MODEL.problem, searcher=name, generator=ToyGenerator(MODEL), **params)
        return [c.answer for c in found.candidates], found.usage.generated_tokens

    assert answers(searcher, n=4, **neutral) == answers("self_consistency", n=4)


def test_the_end_is_biased_only_while_it_thinks() -> None:
    def script(prompt: Prompt, seed: int) -> str:
        return "so \\boxed{2}" if "</think>" in prompt.text else "hm hm </think> never seen"

    search, asked = run(end_bias, script, Sampling(64, temperature=0.5), bias=2.0)
    assert [p.logit_bias for p in asked] == [{"</think>": 1.0}, {}]  # nats times the temperature
    [best] = [c for c in search.candidates if c.weight]
    assert best.answer.text == "2"
    assert best.node.text == "hm hm </think>so \\boxed{2}"


def test_a_solution_that_never_thinks_is_whole() -> None:
    search, asked = run(end_bias, ["\\boxed{3}"], bias=-5.0)
    assert len(asked) == 1
    assert [c.answer.text for c in search.candidates] == ["3"]


def test_young_thoughts_are_not_left() -> None:
    """beta = 4: the penalty holds for 4 tokens, and again behind each switch."""

    def script(prompt: Prompt, seed: int) -> str:
        whole = "a b c d e f alternatively g h alternatively i \\boxed{1}"
        return whole.removeprefix(prompt.text)

    search, asked = run(tip, script, alpha=2.5, beta=4, switches=("alternatively",))
    penalty = {"alternatively": -2.5}
    assert [p.logit_bias for p in asked] == [penalty, {}, penalty, penalty]
    assert [c.node.text for c in search.candidates] == [
        script(Prompt(Problem("p", "q"), search.root, 0), 0)
    ]
    assert asked[0].max_tokens == 4


def test_hints_grow_rare() -> None:
    def script(prompt: Prompt, seed: int) -> str:
        said = len(prompt.text.split()) - prompt.text.count(HINT) * len(HINT.split())
        more = [f" w{i}" for i in range(said, 20)]
        return "".join(more) + "</think> it is \\boxed{7}"

    search, asked = run(concise_hint, script, base=4, growth=0.5, most=8)
    # l = 0, 4, 10, 18: chunks of 4, 6, 8, 8 tokens
    assert [p.max_tokens for p in asked] == [4, 6, 8, 8]
    [only] = search.candidates
    assert only.node.text.count(HINT) == 3
    assert only.answer.text == "7"
    written = [n for n in search.tree if n.sample.finish == "written"]
    assert all(n.sample.generated_tokens == 0 for n in written)


def test_behind_the_thought_there_is_no_hint() -> None:
    def script(prompt: Prompt, seed: int) -> str:
        return "</think> one two three four five \\boxed{7}".removeprefix(prompt.text)

    search, asked = run(concise_hint, script, base=2)
    assert [c.node.text.count(HINT) for c in search.candidates] == [0]
    assert len(asked) == 2


def test_switches_are_one_list_in_a_recipe() -> None:
    """And no sweep over words."""
    [only] = entry({"searcher": "tip", "switches": ["Wait", "No"], "alpha": 2}).expanded()
    assert only.stage().run.keywords == {"switches": ("Wait", "No"), "alpha": 2.0}
