"""Problems are conversations that end with a question."""

from __future__ import annotations

from dataclasses import replace

import pytest

from reasoning.problem import Message, Problem

TURNS = (
    Message("system", "Be brief."),
    Message("user", "2 + 2?"),
    Message("assistant", "4"),
    Message("user", "3 + 4?"),
)


def test_a_question_is_a_conversation_of_one_message() -> None:
    assert Problem("p", "3 + 4?").messages == (Message("user", "3 + 4?"),)
    wrapped = Problem("p", "3 + 4?", prompt="Solve: 3 + 4?", system="Be brief.")
    assert wrapped.messages == (TURNS[0], Message("user", "Solve: 3 + 4?"))
    assert wrapped.opening == TURNS[:1]


def test_a_conversation_tells_prompt_and_system() -> None:
    problem = Problem("p", "3 + 4?", messages=TURNS)
    assert (problem.prompt, problem.system) == ("3 + 4?", "Be brief.")
    with pytest.raises(ValueError, match="ends with the user's"):
        Problem("p", "q", messages=TURNS[:3])


def test_what_is_replaced_is_replaced_in_the_conversation() -> None:
    problem = Problem("p", "3 + 4?", messages=TURNS)
    again = replace(problem, prompt="5 + 6?", system="Be long.")
    expected = (Message("system", "Be long."), *TURNS[1:3], Message("user", "5 + 6?"))
    assert again.messages == expected
    assert (again.prompt, again.system) == ("5 + 6?", "Be long.")
    assert replace(problem, gold="7").messages == TURNS
    plain = replace(Problem("p", "q"), prompt="other")
    assert plain.messages == (Message("user", "other"),)


@pytest.mark.parametrize("wrong", [{}, {"role": "tool", "content": "x"}, {"role": "user"}])
def test_what_is_no_message_is_refused(wrong: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="is no message"):
        Message.from_json(wrong)
    assert Message.from_json(TURNS[0].to_json()) == TURNS[0]
