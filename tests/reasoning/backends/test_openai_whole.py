"""Answers that nobody looks at before their end come in one piece."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reasoning.backends.openai import OpenAI
from reasoning.backends.openai.pace import Pace
from reasoning.budget import Budget
from reasoning.events import Event
from reasoning.generate import Sampling
from reasoning.problem import Problem
from reasoning.result import Result, run_search
from reasoning.runs.stages import chained
from reasoning.search import Retry, Search
from reasoning.testing.http_server import PLAIN_CHAT, Call, Flavour, Served, serving

PROBLEM = Problem("p", "What is 3 * 5?")


def solved(
    server: Served,
    searcher: str = "self_consistency",
    *,
    seconds: float | None = None,
    budget: Budget | None = None,
    watch: bool = False,
    **params: Any,
) -> Result:
    async def main() -> Result:
        generator = OpenAI([server.url])
        sampling = Sampling(max_tokens=32)
        retry = Retry(pause=0.001)
        search = Search(PROBLEM, generator, sampling=sampling, budget=budget, retry=retry)
        if watch:
            search.watch, search.pieces = lambda event: heard.append(event), True
        try:
            return await run_search(search, chained(searcher, (), None, params), seconds)
        finally:
            await generator.aclose()

    heard: list[Event] = []
    return asyncio.run(asyncio.wait_for(main(), 60))


def streamed(server: Served) -> set[bool]:
    """How answers were asked for; questions about what the server can do are not among them."""
    return {bool(call.body.get("stream")) for call in server.seen}


def test_a_strategy_that_waits_for_all_gets_the_same_answers_in_one_piece() -> None:
    with serving() as server:
        whole = solved(server, n=4)
        assert streamed(server) == {False}
        server.seen.clear()
        parts = solved(server, n=4, watch=True)
        assert streamed(server) == {True}
    told = [[(n.text, n.sample.token_ids, n.sample.finish) for n in r.tree] for r in (whole, parts)]
    assert told[0] == told[1]
    assert whole.usage.generated_tokens == parts.usage.generated_tokens > 0


def test_a_deadline_that_answers_surely_keep_is_none() -> None:
    with serving() as server:
        solved(server, n=2, seconds=1000.0)
        assert streamed(server) == {False}
        server.seen.clear()
        solved(server, n=2, seconds=5.0)  # 32 tokens at a tenth of a second each, twice over
        assert streamed(server) == {True}


@pytest.mark.parametrize(
    "how",
    [
        {"searcher": "short_m_at_k", "m": 1, "k": 2},  # whoever loses is left
        {"searcher": "adaptive_consistency", "n": 3},  # may end earlier
        {"n": 2, "budget": Budget(tokens=64)},  # what a broken call has spent must be known
        {"n": 2, "watch": True},  # somebody listens
    ],
)
def test_whoever_may_look_earlier_gets_a_stream(how: dict[str, Any]) -> None:
    with serving() as server:
        solved(server, **how)
        assert streamed(server) == {True}


def test_where_stop_strings_are_cut_here_answers_are_streamed() -> None:
    with serving(PLAIN_CHAT) as server:

        async def main() -> None:
            generator = OpenAI([server.url])
            sampling = Sampling(max_tokens=32, stop=("o",))
            search = Search(PROBLEM, generator, sampling=sampling)
            await run_search(search, chained("self_consistency", (), None, {"n": 2}))
            await generator.aclose()

        asyncio.run(main())
        assert streamed(server) == {True}


@pytest.mark.parametrize("flavour", [Flavour(), PLAIN_CHAT])
def test_an_answer_that_breaks_is_asked_for_again_and_paid_twice(flavour: Flavour) -> None:
    def fault(call: Call) -> Any:
        return "half" if call.number == 0 else None

    with serving(flavour) as server:
        undisturbed = solved(server, n=1)
        server.counts.clear()
        server.fault = fault
        result = solved(server, n=1)
    assert result.usage.retried_calls == 1
    assert result.usage.failed_calls == 0
    assert [n.text for n in result.tree] == [n.text for n in undisturbed.tree]
    assert result.usage.generated_tokens - result.usage.wasted_tokens == (
        undisturbed.usage.generated_tokens
    )


@given(
    st.lists(st.tuples(st.integers(1, 10_000), st.floats(0, 1000)), max_size=20),
    st.integers(1, 100_000),
    st.floats(0, 10_000),
)
def test_what_was_given_up_does_not_fit_again(
    met: list[tuple[int, float]], most: int, took: float
) -> None:
    pace = Pace()
    for tokens, seconds in met:
        pace.met(tokens, seconds)
    assert 0 <= pace.given_up(took, most) <= most
    assert not (took and pace.within(took, most))


def test_a_pace_follows_the_server() -> None:
    pace = Pace()
    assert pace.within(600.0, 2048)
    assert not pace.within(600.0, 32_768)
    for _ in range(100):
        pace.met(1000, 5.0)
    assert pace.seconds == pytest.approx(0.005, rel=1e-3)
    assert pace.within(600.0, 32_768)
    assert pace.given_up(1.0, 500) == pytest.approx(200, abs=1)
