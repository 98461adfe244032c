"""Answers that programs print: who is asked again, with what, and what is answered in the end."""

from __future__ import annotations

import asyncio
import shutil
from typing import Any

import pytest

from reasoning.backends.scripted import Scripted
from reasoning.budget import Budget
from reasoning.errors import RecipeError
from reasoning.generate import Prompt
from reasoning.problem import Problem
from reasoning.search import Search
from searchers.programs.program_of_thoughts import program_of_thoughts


class Coder(Scripted):
    """Writes these texts one after another in a conversation; "5" to the plain question."""

    def __init__(self, *texts: str) -> None:
        self.heard: list[str] = []
        self.texts = texts
        super().__init__(self.say)

    def say(self, prompt: Prompt, seed: int) -> str:
        self.heard.append(prompt.messages[-1].content)
        if self.heard[-1] == "q":
            return "\\boxed{5}"
        return self.texts[len(prompt.messages) // 2]


def python(code: str) -> str:
    return f"Here:\n```python\n{code}\n```\n"


def run(model: Scripted, limit: int | None = None, **params: Any) -> Search:
    s = Search(Problem("p", "q"), model, budget=Budget(limit))
    asyncio.run(program_of_thoughts(s, **params))
    return s


def answers(s: Search) -> list[str]:
    return [c.answer.text for c in s.candidates if c.answer]


def test_what_is_printed_last_is_the_answer() -> None:
    s = run(Coder(python("print('so')\nprint(6 * 7)")), n=2)
    assert answers(s) == ["42", "42"]
    assert (s.usage.calls, s.usage.tool_calls) == (2, 2)


def test_errors_are_read_and_the_program_is_asked_for_again() -> None:
    coder = Coder(python("print(1)\n1 / 0"), "no program", python("pass"), python("print(3)"))
    s = run(coder, retries=3)
    assert answers(s) == ["3"]
    assert (s.usage.calls, s.usage.tool_calls) == (4, 3)
    said = [heard.partition("It said:\n\n")[2].partition("\n\nWrite")[0] for heard in coder.heard]
    assert said[1:] == [
        "1\nZeroDivisionError: division by zero",
        "There is no block fenced as ```python in it.",
        "(nothing)",
    ]


@pytest.mark.parametrize(("plain", "found", "calls"), [(True, ["5"], 3), (False, [], 2)])
def test_after_the_last_try_a_plain_solution_stands_in(
    plain: bool, found: list[str], calls: int
) -> None:
    s = run(Coder("none", "none"), retries=1, plain=plain)
    assert (answers(s), s.usage.calls, s.usage.tool_calls) == (found, calls, 0)


@pytest.mark.parametrize("limit", [0, 2, 5])
def test_a_limit_is_kept(limit: int) -> None:
    s = run(Coder(*[python("1 / 0")] * 9), limit, retries=5)
    assert s.usage.generated_tokens <= limit


def test_prolog_needs_its_interpreter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    model = Coder("none")
    with pytest.raises(RecipeError, match="swipl"):
        run(model, language="prolog")
    assert model.calls == 0


needs_prolog = pytest.mark.skipif(
    shutil.which("swipl") is None, reason="needs SWI-Prolog on the PATH"
)


@needs_prolog
def test_programs_in_prolog() -> None:
    good = "has(ann, 2).\nhas(bob, 3).\nmain :- has(ann, X), has(bob, Y), Z is X * Y, print(Z), nl."
    coder = Coder("```prolog\nmain :- X is 1 / 0, print(X).\n```", f"```prolog\n{good}\n```")
    s = run(coder, language="prolog")
    assert answers(s) == ["6"]
    assert "zero" in coder.heard[1]
    assert "main/0" in coder.heard[0]


@needs_prolog
def test_fractions_of_constraints_are_printed_as_such() -> None:
    program = ":- use_module(library(clpq)).\nmain :- {2 * X = 7}, print(X), nl."
    s = run(Coder(f"```prolog\n{program}\n```"), language="prolog")
    assert answers(s) == ["7/2"]


@needs_prolog
def test_a_program_that_is_killed_says_by_what() -> None:
    program = "main :- shell('kill -KILL $PPID'), print(1)."  # as at the limit of its seconds
    coder = Coder(f"```prolog\n{program}\n```", "```prolog\nmain :- print(3).\n```")
    s = run(coder, language="prolog")
    assert answers(s) == ["3"]
    assert "the program was ended by SIGKILL" in coder.heard[1]
