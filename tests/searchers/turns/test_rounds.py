"""PDR, RSA and PaCoRe: who has read whom, what it costs, and whose answers count."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest

from reasoning import solve
from reasoning.backends.scripted import Scripted
from reasoning.budget import Budget
from reasoning.generate import Prompt
from reasoning.problem import Problem
from reasoning.search import Search
from reasoning.testing import ToyGenerator, random_tree
from reasoning.tree import Node
from reasoning.verify import Verifier
from searchers.turns.pacore import pacore
from searchers.turns.pdr import pdr
from searchers.turns.rsa import rsa

MODEL = random_tree(3, depth=5)


def script(prompt: Prompt, seed: int) -> str:
    """Drafts say their slot; who reads sums up, or says one more than the largest it has read."""
    if prompt.turn is None:
        return f"<think>99</think>Draft \\boxed{{{prompt.slot}}}"
    told = prompt.turn.messages[0].content
    seen = [int(x) for x in re.findall(r"boxed\{(\d+)\}", told)]
    if "Sum up" in told:
        return "note " + " ".join(f"\\boxed{{{x}}}" for x in seen)
    return f"<think>98</think>So \\boxed{{{max(seen) + 1}}}"


class Slots(Verifier):
    """The score of a draft is its slot, the last one's unknown."""

    name, text_only = "slots", True

    async def score(self, problem: Problem, node: Node, *, meter: Any) -> tuple[float, ...]:
        del problem, meter
        if node.slot == 3:
            raise ValueError("no score")
        return (node.slot / 10,)


def run(searcher: Any, *, said: Any = script, limit: int | None = None, **params: Any) -> Search:
    models = {"other": Scripted(said)}
    budget = Budget(limit)
    s = Search(Problem("p", "q"), Scripted(said), models=models, verifier=Slots(), budget=budget)
    asyncio.run(searcher(s, **params))
    return s


def votes(s: Search) -> list[str]:
    return [c.answer.text for c in s.candidates if c.answer and c.weight]


def reads(s: Search) -> list[tuple[tuple[int, ...], ...]]:
    return [node.sources for node in s.tree if node.turn is not None]


@pytest.mark.parametrize(
    ("searcher", "params"),
    [("pdr", {"drafts": [4]}), ("rsa", {"n": 4, "rounds": 0}), ("pacore", {"widths": [4]})],
)
def test_one_round_is_self_consistency(searcher: str, params: dict[str, Any]) -> None:
    one = solve(MODEL.problem, searcher=searcher, generator=ToyGenerator(MODEL), **params)
    plain = solve(MODEL.problem, searcher="self_consistency", n=4, generator=ToyGenerator(MODEL))
    assert one.tree.to_jsonl() == plain.tree.to_jsonl()
    assert (one.answer, one.usage) == (plain.answer, plain.usage)


def test_a_round_reads_only_the_summary_of_the_one_before() -> None:
    s = run(pdr, drafts=(4, 2, 1), distiller="other")
    assert votes(s) == ["5"]
    assert s.usage.calls == 4 + 1 + 2 + 1 + 1
    assert s.usage.models["other"].calls == 2
    note, second, second_too, other_note, last = reads(s)
    assert note == ((0,), (1,), (2,), (3,))
    assert second == second_too == ((4,),)
    assert other_note == ((5,), (6,))
    assert last == ((7,),)
    assert not [n for n in s.tree if n.turn and "98" in n.turn.messages[0].content]


def test_a_summary_is_as_long_as_the_workspace() -> None:
    s = run(pdr, drafts=(4, 1), workspace=2)
    assert [n.sample.text for n in s.tree if n.sample.text.startswith("note")] == [
        "note \\boxed{0}"
    ]
    assert votes(s) == ["1"]


def test_the_best_drafts_are_passed_on_behind_their_thoughts() -> None:
    s = run(pdr, drafts=(4, 1), distil="best", k=2)
    assert reads(s) == [((1,), (2,))]  # the unscored one comes last
    assert votes(s) == ["3"]
    assert s.usage.calls == 5
    assert "99" not in s.tree[(4,)].turn.messages[0].content  # type: ignore[union-attr]


def test_drafts_are_passed_on_by_lot() -> None:
    (read,) = reads(run(pdr, drafts=(4, 1), distil="random", k=3))
    assert len(set(read)) == 3
    assert list(read) == sorted(read)


def test_sequential_refinement_is_one_draft_a_round() -> None:
    s = run(pdr, drafts=(1, 1, 1), distil="best", k=1)
    assert votes(s) == ["2"]
    assert reads(s) == [((0,),), ((1,),)]


def test_each_reads_k_different_ones_of_the_last_round() -> None:
    s = run(rsa, n=5, k=3, rounds=2)
    first, second = reads(s)[:5], reads(s)[5:]
    assert all(len(set(read)) == 3 and set(read) <= {(i,) for i in range(5)} for read in first)
    assert all(len(set(read)) == 3 and set(read) <= {(i,) for i in range(5, 10)} for read in second)
    assert len(set(first)) > 1
    assert len(votes(s)) == 5
    assert s.usage.calls == 15


def test_everybody_reads_all_conclusions() -> None:
    s = run(pacore, widths=(5, 3, 1))
    *second, last = reads(s)
    assert [sorted(read) for read in second] == [[(i,) for i in range(5)]] * 3
    assert len(set(second)) == 3
    assert sorted(last) == [(5,), (6,), (7,)]
    assert votes(s) == ["6"]
    assert "98" not in s.tree[(8,)].turn.messages[0].content  # type: ignore[union-attr]


@pytest.mark.parametrize("searcher", [rsa, pacore])
def test_a_round_without_an_answer_leaves_the_vote_to_the_one_before(searcher: Any) -> None:
    def mute(prompt: Prompt, seed: int) -> str:
        return "hm" if prompt.turn else script(prompt, seed)

    s = run(searcher, said=mute, **({"n": 2, "rounds": 1} if searcher is rsa else {"widths": (2,)}))
    assert votes(s) == ["0", "1"]


@pytest.mark.parametrize("limit", [0, 1, 4, 5])
def test_a_limit_keeps_what_was_there(limit: int) -> None:
    """Two drafts of two tokens, then a summary of three."""
    s = run(pdr, limit=limit, drafts=(2, 1))
    assert s.usage.generated_tokens <= limit
    assert len(votes(s)) == {0: 0, 1: 0, 4: 2, 5: 2}[limit]
