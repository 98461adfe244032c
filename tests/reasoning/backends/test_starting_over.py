"""Nodes that start over (refinements), and how likely a text is without its question."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest

from reasoning.backends.journal import Journal
from reasoning.backends.scripted import Scripted
from reasoning.clock import Deadline
from reasoning.errors import EngineError, GenerationError, TransientError
from reasoning.generate import Prompt, Sampling
from reasoning.problem import Problem
from reasoning.search import Search, Step
from reasoning.tree import RolloutTree, Sample, Turn

PROBLEM = Problem("p", "What is it?", system="Be brief.")


class Listener(Scripted):
    """Keeps the prompts it saw."""

    def __init__(self, script: Any, **setting: Any) -> None:
        super().__init__(script, **setting)
        self.seen: list[tuple[str, str | None, str, tuple[int, ...] | None, int]] = []

    def reply(self, prompt: Prompt, params: Sampling, seed: int) -> Sample:
        self.seen.append(
            (
                prompt.messages[-1].content,
                next((m.content for m in prompt.messages if m.role == "system"), None),
                prompt.text,
                prompt.token_ids,
                params.max_tokens,
            )
        )
        return super().reply(prompt, params, seed)


def make(generator: Any, **setting: Any) -> Search:
    setting = {"sampling": Sampling(max_tokens=10), "step": Step(max_tokens=4), **setting}
    setting.setdefault("clock", generator.clock(PROBLEM))
    return Search(PROBLEM, generator, **setting)


def test_a_message_starts_the_text_over() -> None:
    listener = Listener(["one two\n\nthree \\boxed{4}"])
    search = make(listener)

    async def go() -> None:
        step = await search.draw(search.root)
        assert step
        fresh = await search.draw(step, turn=Turn.user("Try again.", afresh=True))
        assert fresh
        assert fresh.turn == Turn.user("Try again.", afresh=True)
        assert (step.turn, step.text) == (None, "one two\n\n")
        assert (fresh.text, fresh.before) == ("one two\n\n", "")
        last = await search.draw(fresh, until="end")
        assert last
        assert last.turn is None
        assert last.before == fresh.text
        assert last.text == "one two\n\none two\n\nthree \\boxed{4}"
        assert last.token_ids == fresh.sample.token_ids + last.sample.token_ids  # type: ignore[operator]
        assert last.generated_tokens == 3 + 3 + 4, "the path's, all attempts together"

    asyncio.run(go())
    prompts = [seen[0] for seen in listener.seen]
    assert prompts == ["What is it?", "Try again.", "Try again."]
    assert {seen[1] for seen in listener.seen} == {"Be brief."}
    assert [seen[2] for seen in listener.seen] == ["", "", "one two\n\n"]
    assert listener.seen[1][3] == ()
    assert [seen[4] for seen in listener.seen] == [4, 4, 7], "room is the attempt's own"
    assert search.usage.critical_tokens == 10


def test_scores_and_answers_are_the_attempts_own() -> None:
    tree = RolloutTree("p")
    first = tree.add(tree.root, 0, Sample("so \\boxed{1}"))
    second = tree.add(first, 0, Sample("no box here"), Turn.user("Again.", afresh=True))
    first.scores["v"], second.scores["v"] = (0.1,), (0.2, 0.3)
    assert second.step_scores("v") == (0.2, 0.3)
    search = make(Scripted([""]))
    assert search.answer(first)
    assert search.answer(second) is None
    assert [node.sample.text for node in second.attempt()] == ["no box here"]
    assert second.lineage() == [first, second]


def test_messages_are_stored() -> None:
    tree = RolloutTree("p", 3)
    first = tree.add(tree.root, 0, Sample("a"))
    tree.add(first, 1, Sample("b"), Turn.user("Again, \u00e9.\n", afresh=True))
    text = tree.to_jsonl()
    assert text.count("messages") == 1
    again = RolloutTree.from_jsonl(text.splitlines())
    assert again[(0, 1)].turn == Turn.user("Again, \u00e9.\n", afresh=True)
    assert again[(0,)].turn is None
    assert again.to_jsonl() == text


def test_a_journal_knows_messages_apart() -> None:
    async def go(journal: Journal, message: str) -> str:
        search = make(journal)
        first = await search.draw(search.root, until="end")
        assert first
        second = await search.draw(first, until="end", turn=Turn.user(message, afresh=True))
        assert second
        return second.text

    listener = Listener(lambda prompt, _: f"about {prompt.messages[-1].content}")
    journal = Journal(listener)
    texts = [asyncio.run(go(journal, message)) for message in ("x", "y", "x")]
    assert texts == ["about x", "about y", "about x"]
    assert len(listener.seen) == 3, "the first answer, x and y"


# ---------------------------------------------------------------------- likelihood


def draw(search: Search) -> Any:
    return asyncio.run(search.draw(search.root))


def test_likelihood_is_paid_in_prompt_tokens_and_not_from_the_budget() -> None:
    search = make(Scripted(["one two three\n\nfour"]))
    node = draw(search)
    before = search.budget.tokens.spent
    asked = asyncio.run(search.likelihood(node))
    assert asked is not None
    assert np.array_equal(asked, node.sample.logprobs)
    assert (search.usage.calls, search.usage.prompt_tokens) == (2, 2 + 3 + 4)
    unasked = asyncio.run(search.likelihood(node, question=False))
    assert unasked is not None
    assert unasked.shape == asked.shape
    assert not np.array_equal(unasked, asked)
    assert (search.usage.calls, search.usage.prompt_tokens) == (3, 9 + 4)
    assert search.budget.tokens.spent == before
    assert search.usage.generated_tokens == 4


def test_likelihood_fails_alone() -> None:
    errors: list[Exception] = [GenerationError("no"), RuntimeError("bug"), TransientError("busy")]
    for error in errors:
        scripted = Scripted(["one two"])
        search = make(scripted)
        node = draw(search)
        scripted.failure = lambda _, __, error=error: error
        assert asyncio.run(search.likelihood(node)) is None
        assert search.usage.failed_calls == 1
        assert "reading (0,)" in search.failures[0]
        assert search.usage.retried_calls == (3 if error is errors[2] else 0)
    scripted.failure = lambda _, __: EngineError("gone")
    with pytest.raises(EngineError):
        asyncio.run(search.likelihood(node))


def test_likelihood_is_tried_again() -> None:
    scripted = Scripted(["one two"])
    search = make(scripted)
    node = draw(search)
    errors: list[Exception | None] = [TransientError("busy", retry_after=3.0), None]
    scripted.failure = lambda _, __: errors.pop(0)
    assert asyncio.run(search.likelihood(node)) is not None
    assert search.clock.now() == 3.0
    assert search.usage.retried_calls == 1


def test_a_cancelled_likelihood_leaves_nothing_behind() -> None:
    scripted = Scripted(["one two"])
    search = make(scripted)
    node = draw(search)
    scripted.delay = lambda _: 5.0

    async def go() -> None:
        with Deadline(search.clock, 1.0):
            await search.likelihood(node)

        with Deadline(search.clock, 1.0):
            await search.clock.sleep(2.0)

    asyncio.run(go())
    assert scripted.live == 0
