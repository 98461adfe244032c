"""Synthesis: who is read, and whose answer counts."""

from __future__ import annotations

import re
from typing import Any

from reasoning import solve
from reasoning.backends.scripted import Scripted
from reasoning.generate import Prompt
from reasoning.problem import Problem
from reasoning.tree import Sample


def script(prompt: Prompt, seed: int) -> str:
    """Drafts say 1, 2, 3, ...; who reads them says their sum."""
    if prompt.turn is None:
        return f"<think>99</think>\\boxed{{{prompt.slot + 1}}}"
    seen = map(int, re.findall(r"boxed\{(\d+)\}", prompt.messages[-1].content))
    return f"\\boxed{{{sum(seen)}}}"


def solved(said: Any = script, **params: Any) -> Any:
    return solve(Problem("p", "q"), searcher="gensynthesis", generator=Scripted(said), **params)


def test_the_new_solution_is_the_answer() -> None:
    result = solved(drafts=4)
    assert result.answer == "10"
    assert [c.weight for c in result.candidates] == [0, 0, 0, 0, 1]
    [node] = [n for n in result.tree if n.turn is not None]
    assert sorted(node.sources) == [(0,), (1,), (2,), (3,)]
    assert "99" not in node.turn.messages[0].content


def test_a_window_shows_some_of_them() -> None:
    result = solved(drafts=6, window=2, n=3)
    read = [n.sources for n in result.tree if n.turn is not None]
    assert [len(sources) for sources in read] == [2, 2, 2]
    assert len(set(read)) > 1


def test_it_goes_on_from_the_stage_before() -> None:
    stages: Any = [("self_consistency", {"n": 3}), ("gensynthesis", {"n": 2})]
    result = solve(Problem("p", "q"), stages=stages, generator=Scripted(script))
    assert result.answer == "6"
    assert result.usage.calls == 5


def test_without_a_new_answer_the_drafts_vote() -> None:
    def mute(prompt: Prompt, seed: int) -> Sample | str:
        return "hm" if prompt.turn else f"\\boxed{{{(1, 2, 2)[prompt.slot]}}}"

    assert solved(mute, drafts=3).answer == "2"
    stages: Any = [("self_consistency", {"n": 3}), ("gensynthesis", {})]
    assert solve(Problem("p", "q"), stages=stages, generator=Scripted(mute)).answer == "2"
