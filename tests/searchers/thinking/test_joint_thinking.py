"""With and without a thought, and once more if they differ."""

from __future__ import annotations

from typing import Any

from reasoning import Result, solve
from reasoning.backends.scripted import Scripted
from reasoning.generate import Prompt
from reasoning.problem import Problem


def model(thought: str, plain: str, last: str = "\\boxed{3}") -> Any:
    def script(prompt: Prompt, seed: int) -> str:
        if prompt.turn is not None:
            assert prompt.messages[-1].content.count("boxed") == 2
            return last
        return plain if prompt.text else f"hm</think>{thought}"

    return Scripted(script)


def answer(*said: str) -> Result:
    return solve(Problem("p", "q"), searcher="joint_thinking", generator=model(*said))


def test_what_both_say_is_the_answer() -> None:
    result = answer("\\boxed{1/2}", "\\boxed{0.5}")
    assert (result.answer, result.usage.calls) == ("1/2", 2)


def test_where_they_differ_a_third_decides() -> None:
    result = answer("\\boxed{1}", "\\boxed{2}")
    assert (result.answer, result.usage.calls) == ("3", 3)
    [last] = [n for n in result.tree if n.turn is not None]
    assert len(last.sources) == 2


def test_a_third_without_an_answer_leaves_it_to_the_first_two() -> None:
    assert answer("\\boxed{1}", "\\boxed{2}", "hm").answer == "1"


def test_two_without_an_answer_do_not_agree() -> None:
    def script(prompt: Prompt, seed: int) -> str:
        return "\\boxed{4}" if prompt.turn else "hm"

    result = solve(Problem("p", "q"), searcher="joint_thinking", generator=Scripted(script))
    assert (result.answer, result.usage.calls) == ("4", 3)
