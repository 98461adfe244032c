"""A server's own bound on thinking is used where a question has shown that it holds."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from reasoning.backends.openai import OpenAI
from reasoning.backends.openai.request import BUDGET
from reasoning.generate import Sampling
from reasoning.problem import Problem
from reasoning.search import Search
from reasoning.testing.http_server import serving
from reasoning.thinking import Thinking
from reasoning.tree import Node

THOUGHT = [" so", " we", " add", " two", " and", " two", " and", " get", " four"]


def says(bound: int | None, holds: str) -> str:
    """What the model says with the field at this value."""
    kept = THOUGHT if bound is None or holds == "no" else THOUGHT[: bound + 4 * (holds == "late")]
    answer = "" if holds == "silent" and bound is not None else " 4"
    return f"<think>{''.join(kept)}</think>{answer}"


def drawn(holds: str, **options: Any) -> tuple[list[Node], Mapping[str, str], list[int | None]]:
    """The nodes of one draw, what was found out, and the bounds that were asked for."""
    asked: list[int | None] = []

    def answers(path: str, body: Mapping[str, Any]) -> Any:
        if path == "/tokenize" and "add_special_tokens" in body:
            return {"tokens": list(range(len(str(body["prompt"]).split())))}
        if "Start with 7" not in str(body):
            if path.endswith("/completions"):
                asked.append(body.get(BUDGET))
            return None
        if holds == "refused" and BUDGET in body:
            return 400, "thinking_token_budget is set but reasoning_config is not configured"
        text = says(body.get(BUDGET), holds)
        return [{"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": "stop"}]}]

    async def main() -> Mapping[str, str]:
        generator = OpenAI([server.url], thinking=Thinking(3))
        await generator.astart()
        search = Search(Problem("p", "What is 2 + 2?"), generator, sampling=Sampling(max_tokens=24))
        asked.clear()
        await search.draw(search.root, until="end", **options)
        nodes.extend(search.tree)
        await generator.aclose()
        return generator.facts

    nodes: list[Node] = []
    with serving() as server:
        server.answers = answers
        return nodes, asyncio.run(asyncio.wait_for(main(), 60)), asked


def test_a_bound_that_holds_takes_one_call() -> None:
    nodes, facts, asked = drawn("yes")
    assert facts["bound on thinking"] == "the server's"
    assert len(nodes) == 1
    assert asked == [3]


@pytest.mark.parametrize("holds", ["no", "late", "silent", "refused"])
def test_one_that_does_not_is_kept_here(holds: str) -> None:
    nodes, facts, asked = drawn(holds)
    assert facts["bound on thinking"] == "kept here: the end is written"
    assert [node.sample.finish for node in nodes][1] == "written"
    assert set(asked) == {None}


def test_the_field_is_not_set_by_hand() -> None:
    with pytest.raises(Exception, match=r"extra\.thinking_token_budget .*thinking_tokens"):
        OpenAI(["http://localhost:1/v1"], extra={BUDGET: 5})
