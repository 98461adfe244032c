"""The small sibling of nano: its size, that it is of use, and that it and others share a path."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from evals.tasks.nano import nano as task
from reasoning.backends.nano import DRAFT, WEIGHTS, Nano, nano
from reasoning.generate import Sampling
from reasoning.problem import Problem
from reasoning.search import Search
from reasoning.tree import Node


@pytest.fixture(scope="module")
def models() -> Iterator[dict[str, Nano]]:
    names = ("nano", "nano_draft", "nano_think")
    found = {name: nano(model=name) for name in names}  # type: ignore[arg-type]
    yield found
    for model in found.values():
        model.close()


def test_it_is_small_and_reads_what_nano_reads(models: dict[str, Nano]) -> None:
    assert (DRAFT / "model.safetensors").stat().st_size <= 1_000_000
    assert models["nano_draft"].parameters < 0.4 * models["nano"].parameters
    for name in ("tokenizer.json", "tokenizer_config.json", "generation_config.json"):
        assert (DRAFT / name).read_bytes() == (WEIGHTS / name).read_bytes()


def test_it_solves_easy_problems(models: dict[str, Nano]) -> None:
    """Greedily, of 16 with two operations."""

    async def solved(problem: Problem) -> bool:
        search = Search(problem, models["nano_draft"], sampling=Sampling(200, temperature=0.0))
        node = await search.draw(search.root, until="end")
        answer = None if node is None else search.answer(node)
        return answer is not None and answer.text == problem.gold

    async def work() -> int:
        problems = task(n=16, difficulty=2).problems
        return sum([await solved(problem) for problem in problems])

    assert asyncio.run(work()) >= 8


def test_each_reads_what_another_wrote_in_its_own_tokens(models: dict[str, Nano]) -> None:
    """nano and nano_think cut a text into different tokens, and neither is given the other's."""
    named = {"": models["nano"], "draft": models["nano_draft"], "think": models["nano_think"]}
    problem = Problem("p", "What is 12 * 7 + 5?")
    search = Search(problem, named[""], models=named, sampling=Sampling(64))

    async def work() -> Node:
        node = search.root
        for name in ("", "think", "draft", "think", ""):
            more = await search.draw(node, until="end", model=name, max_tokens=6)
            assert more is not None
            node = more
        return node

    path = asyncio.run(work()).attempt()
    text = path[-1].text
    assert named[""].text.encode(text) != named["think"].text.encode(text)
    for i, node in enumerate(path):
        model, before = named[node.sample.model].text, [n.sample for n in path[:i]]
        read = [
            len(s.token_ids or ()) if s.model == node.sample.model else len(model.encode(s.text))
            for s in before
        ]
        chat = len(model.encode_chat(problem.messages))
        assert node.sample.prompt_tokens == chat + sum(read)
