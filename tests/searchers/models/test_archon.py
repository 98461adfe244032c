"""Archon's layers as stages: who is drawn, criticised, ranked, verified and fused."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest

from reasoning import solve
from reasoning.aggregators.rank_filter import rank_filter
from reasoning.aggregators.verify_filter import verify_filter
from reasoning.backends.scripted import Scripted
from reasoning.generate import Prompt
from reasoning.problem import Problem
from reasoning.search import Search
from reasoning.testing import ToyGenerator, random_tree
from searchers.models.ensemble import ensemble

MODEL = random_tree(3, depth=5)
PROBLEM = Problem("p", "Which?")


class Layers(Scripted):
    """Says its slot; as a judge prefers large numbers, finds what is in `wrong` wrong, and as a
    fuser adds up what it reads."""

    def __init__(self, wrong: str = "", ranking: str | None = None) -> None:
        self.wrong, self.ranking = wrong, ranking
        self.prompts: list[str] = []
        super().__init__(self.say)

    def say(self, prompt: Prompt, seed: int) -> str:
        if prompt.turn is None:
            return f"<think>99</think>\\boxed{{{prompt.slot}}}"
        told = prompt.messages[-1].content
        self.prompts.append(told)
        seen = [int(x) for x in re.findall(r"boxed\{(\d+)\}", told)]
        if "Ranking:" in told:
            order = sorted(range(len(seen)), key=lambda i: -seen[i])
            best = " > ".join(f"[{i + 1}]" for i in order)
            return f"Ranking: {best}" if self.ranking is None else self.ranking
        if "Verdict:" in told:
            return f"Verdict: {'wrong' if str(seen[0]) in self.wrong else 'right'}"
        if told.startswith("Say what is strong"):
            return f"weak at {prompt.parent.slot}"
        return f"\\boxed{{{sum(seen)}}}"


def filtered(aggregator: Any, model: Scripted, n: int, **params: Any) -> tuple[list[str], int]:
    async def go() -> tuple[list[str], int]:
        s = Search(PROBLEM, model)
        await s.draws(s.root, n, until="end", land=s.emit)
        before = s.usage.calls
        kept = await aggregator(await s.agreed(s.candidates), s, **params)
        return [c.answer.text for c in kept], s.usage.calls - before

    return asyncio.run(go())


def test_every_member_draws_its_samples() -> None:
    models = {"other": Layers()}
    s = Search(PROBLEM, Layers(), models=models)
    asyncio.run(ensemble(s, members=("", "other"), n=2))
    assert [n.sample.model for n in s.tree] == ["", "", "other", "other"]
    assert len(s.candidates) == 4


def test_one_member_is_self_consistency() -> None:
    trees = []
    for searcher, params in (
        ("ensemble", {"members": [""], "n": 3}),
        ("self_consistency", {"n": 3}),
    ):
        result = solve(MODEL.problem, searcher=searcher, generator=ToyGenerator(MODEL), **params)
        trees.append((result.tree.to_jsonl(), result.answer, result.usage))
    assert trees[0] == trees[1]


@pytest.mark.parametrize(
    ("n", "top", "kept", "calls"),
    [(2, 2, ["0", "1"], 0), (5, 2, ["3", "4"], 1), (5, 1, ["4"], 1), (0, 1, [], 0)],
)
def test_the_best_of_a_ranking_stay(n: int, top: int, kept: list[str], calls: int) -> None:
    assert filtered(rank_filter, Layers(), n, top=top) == (kept, calls)


def test_a_ranking_that_names_some_is_filled_up_and_one_that_names_none_keeps_all() -> None:
    kept, _ = filtered(rank_filter, Layers(ranking="Ranking: 2 > 2 > 9"), 4, top=2)
    assert len(kept) == 2
    assert len(filtered(rank_filter, Layers(ranking="Well."), 4, top=2)[0]) == 4


@pytest.mark.parametrize(("wrong", "kept"), [("13", ["0", "2"]), ("", list("0123"))])
def test_what_is_found_wrong_goes(wrong: str, kept: list[str]) -> None:
    assert filtered(verify_filter, Layers(wrong), 4) == (kept, 4)


def test_all_stay_if_all_are_found_wrong() -> None:
    assert filtered(verify_filter, Layers("0123"), 4) == (list("0123"), 4)


def test_a_chain_of_layers() -> None:
    """Five are drawn; 4 is found wrong; 3, 2 and 1 rank best; they are criticised, then fused."""
    model, stages = Layers("4"), [
        ("ensemble", {"members": [""], "n": 5}),
        ("verify_filter", {}),
        ("rank_filter", {"top": 3}),
        ("critique", {}),
        ("gensynthesis", {}),
    ]  # fmt: skip
    result = solve(PROBLEM, stages=stages, generator=model)  # type: ignore[arg-type]
    assert result.answer == "6"
    assert result.usage.calls == 5 + 5 + 1 + 3 + 1
    fused = model.prompts[-1]
    assert sorted(re.findall(r"Critique:\nweak at (\d)", fused)) == ["1", "2", "3"]
    assert all(f"\\boxed{{{x}}}\n\nCritique:\nweak at {x}" in fused for x in (1, 2, 3))
    assert "99" not in fused
    (last,) = [n for n in result.tree if len(n.sources) > 1 and n.depth == 1][-1:]
    assert sorted(last.sources) == [(1,), (1, 0), (2,), (2, 0), (3,), (3, 0)]


def test_a_critique_by_itself_changes_no_answer() -> None:
    result = solve(PROBLEM, searcher="critique", drafts=2, generator=Layers())
    assert (result.answer, result.usage.calls) == ("0", 4)
