"""Whole answers that are a text alone are read to the same as by those who look at everything."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reasoning.backends.openai import OpenAI
from reasoning.backends.openai.at_once import said
from reasoning.errors import ReasoningError
from reasoning.generate import Prompt, Sampling
from reasoning.http.connection import Reply
from reasoning.http.reading import dumps
from reasoning.problem import Message, Problem
from reasoning.testing.http_server import CHAT, VLLM, Fault, Flavour, Served, serving
from reasoning.tree import RolloutTree

PROBLEM = Problem("p", "What is 3 + 4?", system="Be brief.")
CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
USAGE = {"prompt_tokens": 12, "completion_tokens": 5, "total_tokens": 17}


def whole(
    message: Any = None, *, usage: Any = USAGE, top: Mapping[str, Any] = {}, **more: Any
) -> dict[str, Any]:
    """An answer in one piece; `top` are fields beside its only choice."""
    spoken = {"role": "assistant", **({"content": "It is 7."} if message is None else message)}
    choice = {"index": 0, "message": spoken, "finish_reason": "stop", **more}
    return {"object": "chat.completion", "choices": [choice], "usage": usage, **top}


SAID: Mapping[str, tuple[dict[str, Any], bool]] = {
    "a text": (whole(), True),
    "cut off": (whole(finish_reason="length"), True),
    "letters": (whole({"content": "“é\ud83d\ude00” \x00"}), True),
    "a mark in it": (whole({"content": "<think>Hm</think>7"}), True),
    "as vLLM does": (
        whole(
            {"content": "7", "refusal": None, "tool_calls": [], "reasoning": None},
            logprobs=None, stop_reason=None, token_ids=None,
            top={"system_fingerprint": "b1", "prompt_logprobs": None, "kv_transfer_params": None},
        ),
        True,
    ),
    "a reason by number": (whole(stop_reason=151645), True),
    "cached": (whole(usage={**USAGE, "prompt_tokens_details": {"cached_tokens": 8}}), True),
    "more cached than read": (
        whole(usage={**USAGE, "prompt_tokens_details": {"cached_tokens": 80}}), True
    ),
    "cached by no number": (
        whole(usage={**USAGE, "prompt_tokens_details": {"cached_tokens": "8"}}), True
    ),
    "no thoughts": (
        whole(usage={**USAGE, "completion_tokens_details": {"reasoning_tokens": 0}}), True
    ),
    "thoughts": (whole({"content": "7", "reasoning_content": "Hm"}), False),
    "thoughts counted": (
        whole(usage={**USAGE, "completion_tokens_details": {"reasoning_tokens": 2}}), False
    ),
    "a call": (whole({"content": None, "tool_calls": [CALL]}, finish_reason="tool_calls"), False),
    "a text and a call": (whole({"content": "7", "tool_calls": [CALL]}), False),
    "parts": (whole({"content": [{"type": "text", "text": "7"}]}), False),
    "nothing": (whole({"content": ""}), False),
    "null": (whole({"content": None}), False),
    "no usage": (whole(usage=None), False),
    "no tokens": (whole(usage={**USAGE, "completion_tokens": 0}), False),
    "no prompt": (whole(usage={"completion_tokens": 5}), False),
    "tokens by no number": (whole(usage={**USAGE, "completion_tokens": True}), False),
    "more than asked for": (whole(usage={**USAGE, "completion_tokens": 500}), False),
    "log-probabilities": (
        whole(logprobs={"content": [{"token": "7", "logprob": -0.5, "top_logprobs": []}]}), False
    ),
    "another end": (whole(finish_reason="eos"), False),
    "no end": (whole(finish_reason=None), False),
    "aborted": (whole(finish_reason="abort"), False),
    "an end of its own": (whole(finish_reason="bored"), False),
    "an error": ({"error": {"message": "no"}}, False),
    "an error beside it": (whole(top={"error": {"message": "no"}}), False),
    "no choice": ({"choices": [], "usage": USAGE}, False),
    "two": ({**whole(), "choices": whole()["choices"] * 2}, False),
    "a list": ([whole()], False),  # type: ignore[dict-item]
}  # fmt: skip


@dataclass
class Case:
    """How a call is made, and what the server does."""

    sampling: Mapping[str, Any] = field(default_factory=dict)
    prompt: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    flavour: Flavour = CHAT
    says: Any = None
    fault: Fault | None = None
    problem: Problem = PROBLEM
    quick: bool = False


CASES = {
    "the model's own": Case(quick=True),
    "greedy": Case({"temperature": 0.0}, quick=True),
    "fields": Case({"top_p": 0.9, "presence_penalty": 0.5}, quick=True),
    "more fields": Case(options={"extra": {"user": "u"}}, quick=True),
    "no session": Case(options={"session_header": ""}, quick=True),
    "a conversation": Case(
        problem=Problem("p", "", messages=(Message("user", "a"), Message("assistant", "b"),
                                           Message("user", "c"))), quick=True),
    "a reset": Case(fault="reset", quick=True),
    "half": Case(fault="half", quick=True),
    "busy": Case(fault="500", quick=True),
    "no JSON": Case(fault="not json", quick=True),
    "refused": Case(says=(400, "no"), quick=True),
    "a field refused": Case(says=(400, "seed: unknown field"), quick=True),
    "a stream all the same": Case(says=[
        {"choices": [{"index": 0, "delta": {"content": "7"}, "finish_reason": "stop"}]},
        {"choices": [], "usage": USAGE}], quick=True),
    "half a stream": Case(says=[{"choices": [{"index": 0, "delta": {"content": "7"}}]}],
                          quick=True),
    "stop strings": Case({"stop": ("o",)}),
    "likely ones": Case({"top_logprobs": 1}),
    "log-probabilities": Case(prompt={"logprobs": True}),
    "tokens": Case(flavour=VLLM),
    "at a deadline": Case(prompt={"undisturbed": 0.001}),
    "heard": Case(prompt={"hear": lambda text: None}),
    "a probe": Case(prompt={"suffix": "So"}),
    **{f"says {name}": Case(says=told, quick=True) for name, (told, _) in SAID.items()},
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_the_same_comes_of_it(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    case, ways = CASES[name], list[bool]()
    asked = OpenAI._asked_at_once

    def noted(*args: Any) -> Any:
        found = asked(*args)
        ways.append(found is not None)
        return found

    monkeypatch.setattr(OpenAI, "_asked_at_once", noted)
    quickly = come_to(case)
    assert ways == [case.quick], "whether it is asked in the quick way"
    monkeypatch.setattr(OpenAI, "_asked_at_once", lambda *_: None)
    slowly = come_to(case)
    if name == "a field refused":  # which is found out once more
        assert quickly["asked"].pop(0) == slowly["asked"][0]
    assert quickly["seen"] or quickly["asked"]
    assert quickly == slowly


def come_to(case: Case) -> dict[str, Any]:
    """What comes of a call, what it cost, and what was asked."""

    async def main(server: Served) -> dict[str, Any]:
        generator = OpenAI([server.url], **case.options)
        sampling = Sampling(**{"max_tokens": 40, **case.sampling})
        generator.expect(sampling, steps="suffix" in case.prompt)
        await generator.astart()
        server.seen.clear()
        server.fault = lambda call: case.fault
        refused = case.says if isinstance(case.says, tuple) else None
        asked: list[Any] = []

        def answers(path: str, body: Mapping[str, Any]) -> Any:
            asked.append((path, body))
            return case.says if refused is None or "seed" in body else whole()

        server.answers = answers
        root = RolloutTree("p").root
        how = {"logprobs": False, "undisturbed": 1e9, **case.prompt}
        spent: list[int] = []
        found: Any
        try:
            prompt = Prompt(case.problem, root, 3, **how)
            sample = await generator.generate(prompt, sampling, seed=7, meter=spent.append)
            found = sample.to_json(digits=None)
        except ReasoningError as error:
            found = type(error), str(error).replace(server.url, "")
        facts = {k: v for k, v in generator.facts.items() if k != "url"}
        await generator.aclose()
        seen = [(c.path, c.body, {**c.headers, "host": ""}) for c in server.seen]
        told = [note.replace(server.url, "") for note in generator.notes]
        return {"found": found, "spent": sum(spent), "seen": seen, "asked": asked, "notes": told,
                "facts": {k: v.replace(server.url, "") for k, v in facts.items()}}  # fmt: skip

    with serving(case.flavour) as server:
        return asyncio.run(asyncio.wait_for(main(server), 60))


def plainly(body: Any, most: int = 40) -> Any:
    async def main() -> Any:
        reply = Reply()
        reply.body += body if isinstance(body, bytes) else dumps(body)
        return said(reply, most)

    return asyncio.run(main())


@pytest.mark.parametrize("name", SAID)
def test_what_is_read_at_once(name: str) -> None:
    told, plain = SAID[name]
    assert (plainly(told) is not None) == plain


def test_the_build_of_a_server_is_told() -> None:
    sample, build = plainly(whole(top={"system_fingerprint": "b1"}))
    assert (sample.text, sample.finish, sample.generated_tokens, build) == (
        "It is 7.", "end", 5, "b1",
    )  # fmt: skip


junk = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from([*USAGE, "choices", "message", "content", "x"]), inner)
    ),
    max_leaves=6,
)


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from(
        [
            (),
            ("choices",),
            ("usage",),
            ("choices", 0),
            ("choices", 0, "message"),
            ("choices", 0, "message", "content"),
            ("choices", 0, "finish_reason"),
            ("usage", "completion_tokens"),
            ("usage", "prompt_tokens_details"),
        ]
    ),
    junk,
)
def test_nothing_is_read_in_what_is_none(path: Sequence[Any], value: Any) -> None:  # fmt: skip
    """Whatever stands in a place: no error, and no sample without a text and its tokens."""
    found: Any = whole()
    inner = found
    for key in path[:-1]:
        inner = inner[key]
    if path:
        inner[path[-1]] = value
    else:
        found = value
    told = plainly(found)
    if told is not None:
        assert told[0].text
        assert 0 < told[0].generated_tokens <= 40
        assert 0 <= told[0].cached_tokens <= told[0].prompt_tokens
