"""Thinking within a budget, over the scripted generator: words are tokens."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from reasoning.answers import FALLBACKS
from reasoning.answers.math import Math
from reasoning.backends.recorded import recorded
from reasoning.backends.scripted import Scripted
from reasoning.budget import Budget
from reasoning.errors import GenerationError, RecipeError
from reasoning.generate import Prompt, Sampling
from reasoning.problem import Problem
from reasoning.search import Search, Step
from reasoning.testing.contracts import check_accounts
from reasoning.thinking import Thinking, drawn
from reasoning.tree import Node
from reasoning.wrapping import Wrapping
from searchers.sampling.self_consistency import self_consistency
from verifiers.logprob import Logprob
from verifiers.oracle import Oracle

PROBLEM = Problem("p", "question")
THOUGHT = "a b c d e f </think> the answer is \\boxed{7}"
MARK = "\n</think>\n\n"


class Model(Scripted):
    """Goes on with `text` from wherever the path is in it; a word is a token."""

    def __init__(self, text: str, tokens: int, end: str = "</think>", **more: Any) -> None:
        super().__init__(self._rest, **more)
        self.words = text.split(" ")
        self.prompts: list[str] = []
        self._budget = Thinking(tokens, end)

    @property
    def thinking(self) -> Thinking:
        return self._budget

    def _rest(self, prompt: Prompt, seed: int) -> str:
        self.prompts.append(prompt.text)
        head, end, tail = prompt.text.partition("</think>")
        if end:  # it answers, whether it had finished its thoughts or not
            said = len(tail.split())
            return " " + " ".join(self.words[self.words.index("</think>") + 1 + said :])
        said = len(head.split())
        return (" " if said else "") + " ".join(self.words[said:])


def a_search(model: Scripted, most: int = 100, **more: Any) -> Search:
    return Search(PROBLEM, model, sampling=Sampling(max_tokens=most), **more)


def draw(search: Search, **options: Any) -> Node | None:
    node = asyncio.run(search.draw(search.root, until="end", **options))
    check_accounts(search)
    return node


def test_thinking_that_ends_in_time_is_left_alone() -> None:
    search = a_search(Model(THOUGHT, 7))
    node = draw(search)
    assert node is not None
    assert (node.text, node.sample.finish, node.path) == (THOUGHT, "end", (0, 0))
    assert [n.sample.text for n in search.tree] == [
        "a b c d e f </think>",
        " the answer is \\boxed{7}",
    ]
    assert search.usage.generated_tokens == len(THOUGHT.split())
    assert search.usage.calls == 2


def test_thinking_that_takes_too_long_is_cut_and_answered() -> None:
    search = a_search(Model(THOUGHT, 4))
    node = draw(search)
    assert node is not None
    assert node.text == f"a b c d{MARK} the answer is \\boxed{{7}}"
    assert (node.path, node.finished) == ((0, 0, 0), True)
    thought, mark, answer = search.tree
    assert (thought.sample.finish, thought.sample.generated_tokens) == ("length", 4)
    assert (mark.sample.text, mark.sample.finish) == (MARK, "written")
    assert mark.sample.info == {"thinking_cut": True}
    assert answer is node
    # The mark is nobody's: it was written, and is read as part of the answer's prompt.
    assert search.usage.generated_tokens == node.generated_tokens == 4 + 4


@pytest.mark.parametrize(
    ("most", "text"),
    [
        (3, "a b c"),  # the call's limit comes first
        (4, "a b c d"),  # none is left for the answer
        (5, f"a b c d{MARK} the"),
        (7, f"a b c d{MARK} the answer is"),
    ],
)
@pytest.mark.parametrize("by", ["path", "call"])
def test_the_limit_of_the_call_holds(most: int, text: str, by: str) -> None:
    model = Model(THOUGHT, 4)
    search = a_search(model, most) if by == "path" else a_search(model)
    node = draw(search) if by == "path" else draw(search, max_tokens=most)
    assert node is not None
    assert (node.text, node.sample.finish) == (text, "length")
    assert search.usage.generated_tokens == most


@pytest.mark.parametrize(("tokens", "text"), [(3, "a b c"), (4, "a b c d"), (6, "the answer")])
def test_the_limit_of_the_search_holds(tokens: int, text: str) -> None:
    search = a_search(Model(THOUGHT, 4), budget=Budget(tokens))
    node = draw(search)
    assert node is not None
    assert node.text.endswith(text)
    assert search.usage.generated_tokens == tokens


def test_a_model_that_does_not_think_is_left_alone() -> None:
    node = draw(a_search(Model("so 7", 7)))
    assert node is not None
    assert (node.text, node.sample.finish, node.depth) == ("so 7", "end", 1)


def test_an_answer_that_fails_leaves_the_thought() -> None:
    """It is paid for, unfinished, and may be gone on from."""

    def failure(prompt: Prompt, seed: int) -> Exception | None:
        return GenerationError("odd") if "</think>" in prompt.text else None

    search = a_search(Model(THOUGHT, 4, failure=failure))
    node = draw(search)
    assert node is not None
    assert (node.text, node.sample.finish) == ("a b c d", "length")
    assert len(search.failures) == 1


def test_steps_are_thought_one_after_the_other_within_one_budget() -> None:
    text = "a b\n\nc d\n\ne f\n\ng h </think> so 7\n\nand 8".replace("\n\n", "\n\n ")
    search = a_search(Model(text, 7), 40, step=Step(max_tokens=20))

    async def work() -> list[str]:
        texts, node = [], search.root
        while not node.finished:
            child = await search.draw(node)
            assert child is not None
            texts.append(child.text[len(node.text) :])
            node = child
        return texts

    texts = asyncio.run(work())
    check_accounts(search)
    assert texts == ["a b\n\n", " c d\n\n", f" e{MARK} so 7\n\n", " and 8"]


def test_a_budget_that_a_step_has_just_used_up_ends_the_thinking_at_the_next() -> None:
    search = a_search(Model("a b c d </think> so 7", 2), 40, step=Step(("b",)))

    async def work() -> Node | None:
        first = await search.draw(search.root)
        assert first is not None
        return await search.draw(first)

    node = asyncio.run(work())
    assert node is not None
    assert node.text.rstrip() == f"a b{MARK} so 7"
    assert node.path == (0, 0, 0)  # the mark stands in the slot that was drawn


def test_a_step_holds_no_more_tokens_than_a_step() -> None:
    search = a_search(Model(THOUGHT, 4), step=Step(max_tokens=6))
    node = asyncio.run(search.draw(search.root))
    assert node is not None
    assert node.text == f"a b c d{MARK} the answer"
    assert node.sample.finish == "length"


def test_a_turn_is_thought_about_anew() -> None:
    model = Model(THOUGHT, 4)
    search = a_search(model, 40)

    async def work() -> None:
        node = await search.draw(search.root, until="end")
        assert node is not None
        again = await search.draw(node, until="end", turn="look again")
        assert again is not None
        assert again.text == node.text

    asyncio.run(work())
    assert model.prompts == ["", f"a b c d{MARK}"] * 2
    check_accounts(search)


def test_each_draw_of_a_whole_solution_is_one_candidate() -> None:
    search = a_search(Wrapping(Model(THOUGHT, 4)))  # as a journal is
    asyncio.run(self_consistency(search, n=3))
    assert [c.path for c in search.candidates] == [(i, 0, 0) for i in range(3)]
    assert {c.answer.text for c in search.candidates if c.answer} == {"7"}


@pytest.mark.parametrize(("tokens", "size"), [(4, 8), (7, 11)])
def test_certainty_is_of_the_thinking_and_the_answer(tokens: int, size: int) -> None:
    search = a_search(Model(THOUGHT, tokens))
    node = draw(search)
    assert node is not None
    values = drawn(node, "logprobs")
    assert values is not None
    assert len(values) == size == node.generated_tokens
    assert drawn(node, "confidence") is None
    score = asyncio.run(Logprob("min").score(PROBLEM, node, meter=lambda _: None))
    assert score == (pytest.approx(np.exp(values.min())),)


def test_a_probe_is_no_thought() -> None:
    search = a_search(Model(THOUGHT, 4))
    node = asyncio.run(search.probe(search.root, "x", top=0))
    assert node is not None
    assert len(search.tree) == 1


GUESS = r"perhaps \boxed{17} or"


@pytest.mark.parametrize("end", ["</think>", "<END>", "Final Answer:"])
@pytest.mark.parametrize("tokens", [None, 50])
def test_no_thought_is_an_answer_whatever_it_ends_with(end: str, tokens: int | None) -> None:
    class Thinker(Scripted):
        thinking = Thinking(tokens, end)

    verifier = Oracle()
    search = Search(
        Problem("p", "?", answers=Math("89", FALLBACKS["stated"])),
        Thinker([f"{GUESS} {end} The result is 89."]),
        sampling=Sampling(max_tokens=100),
        verifier=verifier,
    )
    node = draw(search)
    assert node is not None
    answer = search.answer(node)
    assert answer is not None
    assert answer.text == "89"
    asyncio.run(search.score(node))
    assert search.reward(node) == 1


@pytest.mark.parametrize("tokens", [None, 50])
def test_a_guess_in_a_thought_that_was_cut_off_does_not_vote(tokens: int | None) -> None:
    class Thinker(Scripted):
        thinking = Thinking(tokens, "<END>")

    for model, voted in ((Thinker([f"{GUESS} more"]), None), (Scripted([f"{GUESS} more"]), "17")):
        search = a_search(model, most=3)
        node = asyncio.run(search.draw(search.root, until="end"))
        assert node is not None
        assert not node.finished
        answer = search.answer(node)
        assert (answer and answer.text) == voted


def test_recorded_thoughts_end_as_the_recipe_says(tmp_path: Path) -> None:
    sample = {"text": rf"{GUESS} <END> The answer is 89.", "n_tokens": 9}
    row = {"id": "p", "question": "?", "answer": "89", "samples": [sample]}
    (tmp_path / "samples.jsonl").write_text(json.dumps(row))
    model = recorded(path=str(tmp_path / "samples.jsonl"), thinking_end="<END>")
    search = Search(Problem("p", "?", answers=Math("89", FALLBACKS["stated"])), model)
    node = asyncio.run(search.draw(search.root, until="end"))
    assert node is not None
    answer = search.answer(node)
    assert answer is not None
    assert answer.text == "89"


@pytest.mark.parametrize(("tokens", "end"), [(0, "</think>"), (5, "")])
def test_mistakes(tokens: int, end: str) -> None:
    with pytest.raises(RecipeError, match="thinking_tokens"):
        Thinking(tokens, end)
