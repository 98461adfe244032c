"""The embedded model that thinks: it thinks, is cut short, judges and revises."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterator

import pytest

from evals.tasks import nano_think as task
from evals.tasks.nano_think import answer_of, first_error, problems
from reasoning.backends.nano import THINKER, Nano, nano
from reasoning.generate import Sampling
from reasoning.problem import Problem
from reasoning.runs import names
from reasoning.search import Search
from reasoning.session import solve
from reasoning.thinking import Thinking
from reasoning.tree import Node
from searchers.thinking.budget_forcing import budget_forcing
from searchers.thinking.truncated_answer import truncated_answer

ITEMS = list(problems(12))


@pytest.fixture(scope="module")
def model() -> Iterator[Nano]:
    generator = nano(model="nano_think")
    yield generator
    generator.close()


def search_of(model: Nano, item: task.Program) -> Search:
    problem = Problem(item.id, item.question, gold=item.answer)
    return Search(problem, model, sampling=Sampling(512))


async def attempt(search: Search) -> Node:
    (node,) = await search.draws(search.root, 1, until="end")
    return node


def test_it_is_small() -> None:
    assert sum(file.stat().st_size for file in THINKER.iterdir()) < 8 << 20


def test_it_thinks_and_then_answers(model: Nano) -> None:
    for item in ITEMS:
        node = asyncio.run(attempt(search_of(model, item)))
        thought, mark, answer = node.text.partition(f"\n{task.END}\n\n")
        assert thought.startswith(f"{task.BEGIN}\n")
        assert mark
        assert answer == rf"The answer is \boxed{{{answer_of(node.text)}}}."
        assert node.sample.finish == "end"


@pytest.mark.parametrize("tokens", [0, 1, 7, 20])
def test_it_answers_from_a_thought_that_is_cut(model: Nano, tokens: int) -> None:
    search = search_of(model, ITEMS[0])
    asyncio.run(truncated_answer(search, tokens=tokens))
    (found,) = search.candidates
    assert answer_of(found.node.text) is not None
    assert found.node.generated_tokens <= tokens + 12


@pytest.mark.parametrize("begun", ["<think>\n\n</think>\n\n", "</think>\n\n"], ids=["both", "end"])
def test_it_answers_without_a_thought(model: Nano, begun: str) -> None:
    search = search_of(model, ITEMS[0])

    async def answer() -> Node | None:
        return await search.draw(search.write(search.root, begun), until="end")

    node = asyncio.run(answer())
    assert node is not None
    assert node.sample.text == rf"The answer is \boxed{{{answer_of(node.text)}}}."


def test_waiting_makes_it_check(model: Nano) -> None:
    search = search_of(model, ITEMS[0])
    asyncio.run(budget_forcing(search, waits=1))
    (found,) = search.candidates
    assert f"Wait, {ITEMS[0].lines[0].name}=" in found.node.text
    assert answer_of(found.node.text) is not None


def test_its_thinking_is_bounded_by_the_generator() -> None:
    generator = nano(model="nano_think", thinking_tokens=9)
    assert generator.thinking == Thinking(9)
    result = solve(ITEMS[-1].question, searcher="sample", generator=generator)
    assert any(node.sample.finish == "written" for node in result.tree)
    assert result.answer is not None


def test_it_puts_right_what_is_named(model: Nano) -> None:
    """A wrong digit in the last step of a right solution."""
    mended = 0
    for item in ITEMS:
        good, bad = solutions(item)
        error = first_error(item, bad)
        assert first_error(item, good) is None
        assert error is not None
        search = search_of(model, item)
        wrong, ask = search.write(search.root, bad), task.NAMED_TURN.format(step=error)
        mended += answer_of(asyncio.run(said(search, wrong, ask))) == item.answer
    assert mended >= 8


def test_its_verdicts_are_yes_or_no(model: Nano) -> None:
    search = search_of(model, ITEMS[0])
    node = search.write(search.root, solutions(ITEMS[0])[0])
    assert 0.95 < sum(said_as(search, node, word) for word in ("Yes", "No")) <= 1.0001


def test_it_criticises_in_so_many_words(model: Nano) -> None:
    search = search_of(model, ITEMS[0])
    wrong = search.write(search.root, solutions(ITEMS[0])[1])
    critique = asyncio.run(said(search, wrong, task.CRITIQUE_TURN))
    assert critique == "None." or task.steps_of(critique)


def solutions(item: task.Program) -> tuple[str, str]:
    """A right solution, and one whose last step has a wrong value."""
    values = item.values()
    steps = []
    for line in item.lines:
        left, right = task.operands(line, values)
        steps.append(f"{line}={left}{line.op}{right}={values[line.name]}.")
    good = (
        "<think>\n" + "\n\n".join(steps) + f"\n</think>\n\nThe answer is \\boxed{{{item.answer}}}."
    )
    other = str((int(item.answer) + 1) % 10)
    bad = good.replace(f"={item.answer}.\n</think>", f"={other}.\n</think>")
    return good, bad.replace(f"{{{item.answer}}}", f"{{{other}}}")


async def said(search: Search, node: Node, turn: str) -> str:
    found = await search.draw(node, until="end", turn=turn, temperature=0.0)
    assert found is not None
    return found.sample.text


def said_as(search: Search, node: Node, word: str) -> float:
    """The probability of a word in answer to the judging turn."""
    found = asyncio.run(search.likelihood(search.write(node, word, turn=task.JUDGE_TURN)))
    assert found is not None
    return math.exp(float(found.sum()))


def test_it_is_a_judge_in_recipes(model: Nano) -> None:
    spec = {"name": "nano", "model": "nano_think"}
    judge = names.build(
        "verifier", {"name": "judge", "generator": spec, "prompt": task.JUDGE_PROMPT, "both": True}
    )
    result = solve(ITEMS[0].question, searcher="best_of_n", n=3, generator=model, verifier=judge)
    scores = [score for node in result.tree for score in node.scored("judge") or ()]
    assert len(scores) == 3
    assert all(0 <= score <= 1 for score in scores)
