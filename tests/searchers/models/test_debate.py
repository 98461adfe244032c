"""Debate: who reads what, and which answers vote."""

from __future__ import annotations

import asyncio
import re

import pytest

from reasoning import Result, solve
from reasoning.backends.scripted import Scripted
from reasoning.generate import Prompt
from reasoning.problem import Problem
from reasoning.search import Search
from reasoning.testing import ToyGenerator, random_tree
from searchers.models.debate import debate, stated

MODEL = random_tree(3, depth=5)
PROBLEM = Problem("p", "question")


def talk(prompt: Prompt, seed: int) -> str:
    """Says its place at first, then the largest of all it has heard or said."""
    heard = re.findall(r"boxed\{(\d)", " ".join(m.content for m in prompt.messages))
    mine = max([*map(int, heard), prompt.slot if prompt.turn is None else 0])
    return f"hm</think>I say \\boxed{{{mine}}}"


def search(generator: Scripted, **settings: Scripted) -> Search:
    return Search(PROBLEM, generator, models=settings)


@pytest.mark.parametrize("seats", [2, 4])
def test_without_a_debate_it_is_self_consistency(seats: int) -> None:
    def run(searcher: str, **params: object) -> Result:
        generator = ToyGenerator(MODEL)
        return solve(MODEL.problem, searcher=searcher, generator=generator, **params)

    talked, plain = run("debate", seats=[""] * seats, rounds=0), run("self_consistency", n=seats)
    assert talked.tree.to_jsonl() == plain.tree.to_jsonl()
    assert (talked.answer, talked.usage) == (plain.answer, plain.usage)


@pytest.mark.parametrize("rounds", [1, 2])
def test_the_latest_answers_vote(rounds: int) -> None:
    s = search(Scripted(talk))
    asyncio.run(debate(s, seats=("", "", ""), rounds=rounds))
    votes = [(c.path, c.answer.text, c.weight) for c in s.candidates if c.answer]
    assert [v[1] for v in votes if v[2]] == ["2"] * 3
    assert [len(v[0]) for v in votes if v[2]] == [rounds + 1] * 3
    assert [v[1] for v in votes if len(v[0]) == 1] == ["0", "1", "2"]
    assert all(not v[2] for v in votes if len(v[0]) <= rounds)


def test_a_seat_goes_on_with_its_own_conversation_and_reads_the_others() -> None:
    seen: list[list[str]] = []

    def script(prompt: Prompt, seed: int) -> str:
        seen.append([m.content for m in prompt.messages])
        return talk(prompt, seed)

    s = search(Scripted(script), other=Scripted(script))
    asyncio.run(debate(s, seats=("", "other"), rounds=1))
    _, _, first, second = seen
    assert first[:2] == ["question", "hm</think>I say \\boxed{0}"]
    assert "One agent's solution:\nI say \\boxed{1}" in first[2]  # without its thought
    assert "boxed{0}" not in first[2]
    assert "One agent's solution:\nI say \\boxed{0}" in second[2]
    assert s.tree[(0, 0)].sources == ((1,),)
    assert s.tree[(1, 0)].sources == ((0,),)
    assert [node.sample.model for node in s.tree] == ["", "", "other", "other"]
    assert s.usage.models["other"].calls == 2


def test_a_seat_that_failed_begins_anew() -> None:
    """It has nothing to talk about yet; the others go on without it."""
    tried: list[int] = []

    def script(prompt: Prompt, seed: int) -> str | Exception:
        if prompt.slot == 1 and prompt.turn is None:
            return RuntimeError("no")
        tried.append(len(prompt.messages))
        return talk(prompt, seed)

    s = search(Scripted(script))
    asyncio.run(debate(s, rounds=1))
    assert tried == [1, 3, 1]
    assert [c.weight for c in s.candidates] == [0.0, 1.0, 1.0]


def test_a_bet_changes_nothing_but_what_it_costs() -> None:
    def script(prompt: Prompt, seed: int) -> str:
        if prompt.turn is not None and prompt.turn.messages[-1].content == "How sure?":
            return f"{10 * len(prompt.messages)} %"
        return talk(prompt, seed)

    plain, asked = search(Scripted(script)), search(Scripted(script))
    asyncio.run(debate(plain, seats=("", ""), rounds=1))
    asyncio.run(debate(asked, seats=("", ""), rounds=1, bet="How sure?"))
    votes = [(c.path, c.answer, c.weight) for c in plain.candidates]
    assert [(c.path, c.answer, c.weight) for c in asked.candidates] == votes
    told = [(n.path, n.sample.info) for n in asked.tree if n.sample.info]
    assert [info for _, info in sorted(told)] == [
        {"bet": share, "seat": seat, "round": number}
        for seat in (0, 1)
        for number, share in ((1, 0.5), (0, 0.3))
    ]
    assert len(asked.tree) == len(plain.tree) + 4


@pytest.mark.parametrize(
    ("text", "share"),
    [
        ("80", 0.8), ("I bet 72.5 % of it.", 0.725), ("between 60 and 70", 0.7), ("Yes.", 1),
        ("no", 0), ("1000", None), ("hm</think>perhaps", None), ("90</think>20", 0.2),
    ],
)  # fmt: skip
def test_what_a_bet_states(text: str, share: float | None) -> None:
    assert stated(text) == share
