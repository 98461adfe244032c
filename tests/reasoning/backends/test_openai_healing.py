"""Token healing by a server: the last word of a text is said again, and nothing of it is seen."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import replace
from typing import Any, TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reasoning.backends.openai import OpenAI, openai
from reasoning.backends.openai.backing import LONGEST, hearing, taken_back
from reasoning.errors import RecipeError, TransientError
from reasoning.generate import Prompt, Sampling
from reasoning.problem import Problem
from reasoning.testing.http_model import encode
from reasoning.testing.http_server import LLAMA, PLAIN_CHAT, VLLM, serving
from reasoning.tree import Node, RolloutTree, Sample

T = TypeVar("T")
PROBLEM = Problem("p", "What is 3 + 4?")
TEMPLATE = "[user]{prompt}[/][assistant]"


def run(main: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(asyncio.wait_for(main, 120))


def written(text: str) -> tuple[RolloutTree, Node]:
    tree = RolloutTree("p")
    return tree, tree.add(tree.root, 0, Sample(text))


async def draw(generator: OpenAI, node: Node, hear: Any = None, **params: Any) -> Sample:
    sampling = Sampling(**{"max_tokens": 24, **params})
    prompt = Prompt(PROBLEM, node, 1, hear=hear)
    return await generator.generate(prompt, sampling, seed=1, meter=lambda _: None)


@pytest.mark.parametrize("api", ["tokens", "text"])
def test_the_last_word_is_taken_back_and_said_again(api: Any) -> None:
    tree, node = written("Add (one) tw")
    heard: list[str] = []
    with serving() as server:
        template = TEMPLATE if api == "text" else None
        generator = openai(base_url=server.url, heal=True, api=api, template=template)
        sample = run(draw(generator, node, heard.append))
        body = server.seen[-1].body
        assert body["structured_outputs"] == {"regex": " tw(.|\n)*"}
        kept = "Add (one)" if api == "text" else encode("Add (one)")
        assert body["prompt"][-len(kept) :] == kept
        assert sample.info is not None
        assert sample.info["heals"] == " tw"
        assert not sample.text.startswith(" tw")
        assert "".join(heard) == sample.text
        if api == "text":
            assert sample.token_ids is None
            return
        ids = sample.token_ids or ()
        assert list(ids[:3]) == encode(" tw")
        child = tree.add(node, 1, sample)  # who goes on has the very tokens
        assert Prompt(PROBLEM, child, 0).pieces == ["Add (one)", ids]
        run(draw(generator, child))
        assert server.seen[-1].body["prompt"][-len(ids) :] == list(ids)
        assert "structured_outputs" not in server.seen[-1].body


def test_what_is_bound_or_ends_at_tokens_is_left_alone() -> None:
    with serving() as server:
        generator = openai(base_url=server.url, heal=True)
        plain = openai(base_url=server.url)
        _, node = written("Add one")
        for params in ({"regex": "no"}, {"top_logprobs": 2}, {"stop": ("oned",)}):
            healed, same = (run(draw(g, node, **params)) for g in (generator, plain))
            assert (healed.text, healed.token_ids) == (same.text, same.token_ids)
        root = RolloutTree("p").root
        assert run(draw(generator, root)).text == run(draw(plain, root)).text


@pytest.mark.parametrize(
    ("flavour", "why"),
    [
        (PLAIN_CHAT, r"http\S+ is asked for chats, in which a server decides itself"),
        (replace(VLLM, fields=frozenset()), "knows no structured_outputs"),
        (LLAMA, "is asked for chats"),
    ],
    ids=["chat", "fields", "llama.cpp"],
)
def test_who_cannot_is_refused_before_anything_is_drawn(flavour: Any, why: str) -> None:
    with serving(flavour) as server:
        generator = openai(base_url=server.url, heal=True)
        with pytest.raises(RecipeError, match=why) as caught:
            run(generator.astart())
        assert "generator.heal: true has the server say" in str(caught.value)
        assert "Leave heal out, or use a server of vLLM" in str(caught.value)


@pytest.mark.parametrize("params", [{}, {"regex": "Add " + "one two" * 8}])
def test_an_answer_that_breaks_off_is_not_gone_on_with_its_form_is_that_of_the_whole(
    params: dict[str, Any],
) -> None:
    _, node = written("Add one tw")
    with serving() as server:
        generator = openai(base_url=server.url, heal=True)
        run(generator.astart())
        server.fault = lambda call: "half" if call.number == 0 else None
        before = len(server.seen)
        with pytest.raises(TransientError):
            run(draw(generator, node, **params))
        assert len(server.seen) == before + 1  # who searches makes the call again


PLAIN = Sampling(max_tokens=500)


@pytest.mark.parametrize(
    ("text", "rest"),
    [
        ("12 + 3", " 3"),
        ("12 + 34.\n\nE", " 34.\n\nE"),  # a line break may belong to the mark before it
        ("one  two", "one  two"),
        ("one two ", " two "),
        ("word", "word"),
        ("", ""),
        ("x" * (LONGEST + 1), ""),
        ("so " + "x" * LONGEST, ""),
    ],
)
def test_what_is_taken_back(text: str, rest: str) -> None:
    assert taken_back(text, PLAIN) == rest


@pytest.mark.parametrize("stop", ["3", " 3", "3 is", "+ 3", "."])
def test_what_might_be_a_stop_string_is_not_taken_back(stop: str) -> None:
    found = taken_back("12 + 3", replace(PLAIN, stop=(stop,)))
    assert found == (" 3" if stop in ("+ 3", ".") else "")


def test_nor_is_most_of_what_may_be_said() -> None:
    assert taken_back("12 + 3", replace(PLAIN, max_tokens=4)) == " 3"
    assert taken_back("12 + 3", replace(PLAIN, max_tokens=3)) == ""


@given(st.lists(st.text(max_size=5), max_size=8), st.text(max_size=9))
def test_what_is_said_again_is_not_heard(parts: list[str], rest: str) -> None:
    heard: list[str] = []
    prompt = hearing(Prompt(PROBLEM, RolloutTree("p").root, 0, hear=heard.append), rest)
    assert prompt.hear is not None
    for part in parts:
        prompt.hear(part)
    assert "".join(heard) == "".join(parts)[len(rest) :]
