from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reasoning.backends.journal import Journal
from reasoning.backends.loop_guard import Ear, LoopGuard, loop_at_end
from reasoning.backends.scripted import Scripted, words
from reasoning.errors import GenerationError
from reasoning.generate import Generator, Meter, Prompt, Sampling
from reasoning.problem import Problem
from reasoning.search import Search
from reasoning.session import solve
from reasoning.tree import Sample

ROUND = "so we begin anew, and "
SAYS = ["It is \\boxed{4}.", "First " + ROUND * 400 + "\\boxed{5}"]


class Talker(Scripted):
    """Tells every word as it comes."""

    async def generate(
        self, prompt: Prompt, params: Sampling, *, seed: int, meter: Meter
    ) -> Sample:
        sample = self.reply(prompt, params, seed)
        for word in words(sample.text):
            meter(1)
            if prompt.hear is not None:
                prompt.hear(word)
            await asyncio.sleep(0)
        return sample


def guarded(generator: Generator, least: int = 100, repeats: int = 3) -> LoopGuard:
    return LoopGuard(generator, least, repeats, 8192)


@pytest.fixture(params=[Talker, Scripted], ids=["in pieces", "whole"])
def make(request: pytest.FixtureRequest) -> Callable[..., Generator]:
    return request.param  # type: ignore[no-any-return]


def test_a_loop_is_cut_lost_and_paid_for(make: Callable[..., Generator]) -> None:
    generator = guarded(make(SAYS))
    result = solve(
        "2 + 2?", generator=generator, searcher="self_consistency", n=4, aggregator="majority"
    )
    assert result.answer == "4"
    assert len(result.candidates) == 2
    lost = [n for n in result.tree if n.sample.finish == "loop"]
    assert len(lost) == 2
    usage = result.usage
    assert usage.wasted_tokens == sum(n.sample.generated_tokens for n in lost)
    assert usage.generated_tokens == usage.wasted_tokens + 6
    assert usage.failed_calls == 0
    for node in lost:
        assert node.sample.info == {"period": len(ROUND)}
        assert "boxed" not in node.text
        assert len(node.text) < 250


def test_in_pieces_it_saves_tokens_and_keeps_the_same_text() -> None:
    texts, tokens = [], []
    for kind in (Talker, Scripted):
        result = solve("?", generator=guarded(kind([SAYS[1]])), searcher="sample")
        (node,) = result.tree
        texts.append(node.text)
        tokens.append(node.sample.generated_tokens)
        assert result.answer is None
    assert texts[0] == texts[1]
    assert tokens[0] < 50 < 1000 < tokens[1]


def test_without_loops_nothing_changes(make: Callable[..., Generator]) -> None:
    plain, behind = make(SAYS[:1]), guarded(make(SAYS[:1]))
    runs = [solve("?", generator=g, searcher="self_consistency", n=3) for g in (plain, behind)]
    assert runs[0].tree.to_jsonl() == runs[1].tree.to_jsonl()


def test_a_loop_over_steps_is_one(make: Callable[..., Generator]) -> None:
    """Each step says nothing twice; the path does."""
    search = Search(
        Problem("p", "?"),
        guarded(make(["the same again, and\n\n"]), least=60),
        sampling=Sampling(max_tokens=1000),
    )

    async def walk() -> int:
        node: Any = search.root
        depth = 0
        while node is not None and depth < 50:
            node, depth = await search.draw(node), depth + 1
        return depth

    assert asyncio.run(walk()) < 8


def test_races_are_not_won_by_loops() -> None:
    result = solve("?", generator=guarded(Talker(SAYS[::-1])), searcher="first_finish", n=2)
    assert result.answer == "4"


def test_what_the_journal_kept_is_a_loop_again() -> None:
    journal = Journal(guarded(Talker(SAYS)))
    runs = [solve("?", generator=journal, searcher="self_consistency", n=4) for _ in range(2)]
    assert journal.paid_calls == 4
    assert runs[0].tree.to_jsonl() == runs[1].tree.to_jsonl()
    assert runs[0].usage.wasted_tokens == runs[1].usage.wasted_tokens


def test_errors_come_through_as_they_are() -> None:
    generator = guarded(Scripted([GenerationError("told to")]))
    result = solve("?", generator=generator, searcher="sample")
    assert result.failures == ["generating (0,): GenerationError: told to"]


@pytest.mark.parametrize(
    ("text", "period"),
    [
        ("x" * 40, 1),
        ("x" * 39, None),
        ("a loop " * 6, 7),
        ("begin " + "a loop " * 6, 7),
        ("a loop " * 6 + "and out of it", None),
        ("0123456789abcdefghij" * 3, 20),
        ("0123456789abcdefghij" * 2, None),
        ("", None),
        ("short", None),
        (f"{'long ' * 3}unit. " * 3, 21),
    ],
)
def test_loops(text: str, period: int | None) -> None:
    assert loop_at_end(text, 40, 3) == period


@given(st.text("ab", min_size=1, max_size=12), st.text("abc", max_size=30), st.integers(3, 12))
def test_a_repeated_piece_is_found(piece: str, before: str, times: int) -> None:
    text = before + piece * times
    if len(piece) * times >= 40:
        found = loop_at_end(text, 40, 3)
        assert found is not None
        span = max(40, 3 * found)
        assert all(text[-i] == text[-i - found] for i in range(1, span - found + 1))


@given(st.lists(st.text("ab ", max_size=30), max_size=12), st.text("ab ", max_size=50))
def test_the_pieces_do_not_matter(pieces: list[str], before: str) -> None:
    one, many = Ear(before, 40, 3, 200), Ear(before, 40, 3, 200)
    one.hears("".join(pieces))
    for piece in pieces:
        many.hears(piece)
    assert (one.said, one.found) == (many.said, many.found)
