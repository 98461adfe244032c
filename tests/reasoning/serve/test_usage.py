"""What an answer says of its tokens, its seed, and of a text that a deadline has ended."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any

import pytest

from reasoning.backends.openai import openai as generator
from reasoning.backends.scripted import Scripted
from reasoning.clock import RealClock
from reasoning.errors import TransientError
from reasoning.serve.desk import Settings
from reasoning.testing.http_server import CHAT, Flavour, serving
from reasoning.thinking import Thinking
from reasoning.tree import Sample

ASKED: Any = [{"role": "user", "content": "What is 3 + 4?"}]
LATE = "limits.seconds ended the search; this is the best so far"

both_ways = pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])


class Speaking(Scripted):
    """Says something, thinking or not, and comes to no end."""

    def __init__(self, *pieces: str) -> None:
        super().__init__([""])
        self.pieces = pieces

    async def generate(self, prompt: Any, params: Any, *, seed: int, meter: Any) -> Any:
        for piece in self.pieces:
            if prompt.hear is not None:
                prompt.hear(piece)
        try:
            await asyncio.Event().wait()
        finally:
            meter(len(self.pieces))

    def clock(self, problem: Any) -> Any:
        return RealClock()


class Ringing(RealClock):
    """Waits for nothing; time is up when the test says so."""

    async def sleep(self, delay: float) -> None:
        await super().sleep(0)

    def call_later(self, delay: float, callback: Any) -> Any:
        self.ring = callback
        return super().call_later(delay, callback)


def told(served: Any, behind: Any, stream: bool = False, **asked: Any) -> dict[str, Any]:
    """The answer, put together where it comes as a stream.

    `limits` and `sampling` are the recipe's, `settings` the server's.
    """
    headers = asked.pop("headers", {})
    own = {name: asked.pop(name) for name in ("limits", "sampling", "settings") if name in asked}
    body = {"model": "sample", "messages": ASKED, "seed": 7, "stream": stream, **asked}
    if stream:
        body["stream_options"] = {"include_usage": True}

    async def work() -> str:
        async with served(behind, **own) as client:
            reply = await client.post("/v1/chat/completions", json=body, headers=headers)
            return str(reply.text)

    text = asyncio.run(work())
    return together(text) if stream else json.loads(text)


def together(text: str) -> dict[str, Any]:
    """A stream of one choice as a whole answer."""
    choice: dict[str, Any] = {"message": {}}
    usage: Mapping[str, Any] = {}
    for line in text.split("\n\n"):
        data = line.removeprefix("data: ")
        event = json.loads(data) if data.startswith("{") else {}
        usage = event.get("usage") or usage
        for piece in event.get("choices", ()):
            for field, more in piece.pop("delta").items():
                choice["message"][field] = choice["message"].get(field, "") + more
            choice |= piece
    return {"choices": [choice], "usage": usage}


def behind(says: Any, stream: bool, served: Any, flavour: Flavour = CHAT, **asked: Any) -> Any:
    """The answer in front of a server that says this of its own accord."""
    with serving(flavour) as server:
        model = generator(base_url=server.url)
        server.answers = lambda path, body: (
            says if "seed" in body and "3 + 4" in str(body["messages"]) else None
        )
        return told(served, model, stream, **asked)


def reasoned(answer: Mapping[str, Any]) -> tuple[int, int]:
    """The tokens told, and those of them that are reasoning."""
    usage = answer["usage"]
    details = usage["completion_tokens_details"]
    assert usage["completion_tokens"] == usage["search"]["generated_tokens"]
    return usage["completion_tokens"], details["reasoning_tokens"]


def whole(message: Mapping[str, Any], tokens: int, thought: int | None = None) -> dict[str, Any]:
    choice = {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": "stop"}
    usage: dict[str, Any] = {"prompt_tokens": 12, "completion_tokens": tokens}
    if thought is not None:
        usage["completion_tokens_details"] = {"reasoning_tokens": thought}
    return {"object": "chat.completion", "choices": [choice], "usage": usage}


@both_ways
@pytest.mark.parametrize(
    ("says", "reasoning"),
    [
        (whole({"content": "It is 7", "reasoning_content": "Hm, 3."}, 14, 5), 5),
        (whole({"content": "It is 7"}, 14, 5), 5),  # a thought that is hidden
        (whole({"content": "It is 7", "reasoning_content": "Hm, so"}, 13, 0), 6),
        (whole({"content": "<think>Hm, so</think>It is 7"}, 13), 6),  # 6 of 13 characters
        (whole({"content": "It is 7"}, 13, 0), 0),
        (whole({"content": "<think>Hm, so</think>"}, 4), 4),
        (whole({"content": "It is 7"}, 4, 99), 4),
    ],
)
def test_what_the_winner_thought_is_reasoning(
    served: Any, says: Any, reasoning: int, stream: bool
) -> None:
    answer = behind(says, stream, served)
    assert reasoned(answer) == (says["usage"]["completion_tokens"], reasoning)


def test_thoughts_and_losers_are_reasoning_together(served: Any) -> None:
    says = whole({"content": "It is 7.", "reasoning_content": "Hm"}, 14, 5)
    answer = behind(says, False, served, model="self_consistency")
    assert reasoned(answer) == (3 * 14, 2 * 14 + 5)


def test_calls_are_no_reasoning(served: Any) -> None:
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    apart = whole({"content": None, "tool_calls": [call], "reasoning_content": "Hm"}, 20)
    total, thought = reasoned(behind(apart, False, served, tools=[tool]))
    assert total == 20
    assert 0 < thought < 5, "as many as its characters come to beside the call's"


def test_every_choice_tells_its_own_seed(served: Any) -> None:
    texts = [f"It is \\boxed{{{n}}}" for n in range(40)]
    several = told(served, Scripted(texts), n=3, seed=9)["choices"]
    seeds = [choice["search"]["seed"] for choice in several]
    assert seeds[0] == 9
    assert len(set(seeds)) == 3
    assert max(seeds) < 2**53, "JavaScript reads them exactly"
    for choice, seed in zip(several, seeds, strict=True):
        (alone,) = told(served, Scripted(texts), seed=seed)["choices"]
        assert alone["message"] == choice["message"]
        assert alone["search"]["seed"] == seed


@both_ways
@pytest.mark.parametrize(
    "late",
    [
        {"headers": {"X-Deadline-Seconds": "0.02"}},
        {"reasoning": {"limits": {"seconds": 0.02}}},
        {"limits": {"seconds": 0.02}},
        {"limits": {"seconds": 0.02, "calls": 5}},
        {"settings": Settings(seconds=0.02)},
    ],
    ids=["header", "body", "recipe", "recipe, in a search", "server"],
)
def test_a_deadline_gives_the_text_so_far(served: Any, late: Any, stream: bool) -> None:
    answer = told(served, Speaking("It is", " 7", " and"), stream, **late)
    (choice,) = answer["choices"]
    assert choice["message"]["content"] == "It is 7 and"
    assert choice["finish_reason"] == "length"
    assert LATE in choice["search"]["notes"]
    assert reasoned(answer) == (3, 0)
    assert answer["usage"]["search"]["unknown_prompts"] == 1


@both_ways
def test_a_thought_before_a_deadline_is_reasoning(served: Any, stream: bool) -> None:
    late = {"X-Deadline-Seconds": "0.02"}
    pieces = ("<think>Hm", ",", " so", "</think>It is ")
    answer = told(served, Speaking(*pieces), stream, headers=late)
    (choice,) = answer["choices"]
    message = choice["message"]
    assert (message["reasoning_content"], message["content"]) == ("Hm, so", "It is ")
    assert reasoned(answer) == (4, 2)


@both_ways
def test_an_answer_in_parts_is_told_as_far_as_it_has_come(served: Any, stream: bool) -> None:
    """The thinking has used up what it may, and the answer has begun."""

    clock = Ringing()

    class Thinker(Speaking):
        thinking = Thinking(2)

        async def generate(self, prompt: Any, params: Any, **call: Any) -> Any:
            if prompt.path != (0,):
                asyncio.get_running_loop().call_soon(clock.ring)
                return await super().generate(prompt, params, **call)
            prompt.hear("Hm, so")
            call["meter"](2)
            return Sample("Hm, so", finish="length", generated_tokens=2)

        def clock(self, problem: Any) -> Any:
            return clock

    late = {"X-Deadline-Seconds": "60"}
    answer = told(served, Thinker("It is ", "7"), stream, headers=late)
    message = answer["choices"][0]["message"]
    assert (message["reasoning_content"].strip(), message["content"]) == ("Hm, so", "It is 7")
    assert answer["choices"][0]["finish_reason"] == "length"
    assert reasoned(answer) == (4, 2)


@pytest.mark.parametrize("most", [40, 40_000])
def test_an_answer_that_is_never_so_late_is_not_heard(served: Any, most: int) -> None:
    heard = []

    class Listening(Speaking):
        async def generate(self, prompt: Any, params: Any, **call: Any) -> Any:
            heard.append(prompt.hear is not None)
            return Sample("It is 7", generated_tokens=3)

    told(served, Listening(), settings=Settings(seconds=600), sampling={"max_tokens": most})
    assert heard == [most == 40_000]


@both_ways
def test_a_text_that_has_stopped_is_whole_at_a_deadline(served: Any, stream: bool) -> None:
    late = {"X-Deadline-Seconds": "0.02"}
    answer = told(served, Speaking("It is 7. And"), stream, headers=late, stop=["."])
    (choice,) = answer["choices"]
    assert (choice["message"]["content"], choice["finish_reason"]) == ("It is 7", "stop")


def test_a_call_that_is_made_again_begins_anew(served: Any) -> None:
    clock, tries = Ringing(), iter(["It is 8", "It is"])

    class Again(Speaking):
        async def generate(self, prompt: Any, params: Any, *, seed: int, meter: Any) -> Any:
            if said := next(tries, None):
                prompt.hear(said)
                raise TransientError("gone")
            asyncio.get_running_loop().call_soon(clock.ring)
            return await super().generate(prompt, params, seed=seed, meter=meter)

        def clock(self, problem: Any) -> Any:
            return clock

    answer = told(served, Again("Or", " 7"), headers={"X-Deadline-Seconds": "60"})
    assert answer["choices"][0]["message"]["content"] == "Or 7"


@both_ways
def test_a_prompt_that_nobody_counted_is_estimated(served: Any, stream: bool) -> None:
    """Stop strings end it here, before the server comes to tell."""
    said = [{"choices": [{"index": 0, "delta": {"content": f"{n} "}}]} for n in range(9)]
    end = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
    counts = {"prompt_tokens": 12, "completion_tokens": 9}
    flavour = Flavour(completions=False, tokens=False, most_stops=1)
    for usage in (None, counts):
        events = [{**event, "usage": usage} for event in (*said, end)]
        answer = behind(events, stream, served, flavour, stop=["4", "5"])
        assert answer["choices"][0]["message"]["content"] == "0 1 2 3 "
        spent = answer["usage"]["search"]
        if usage is None:
            assert spent["estimated_tokens"] > spent["prompt_tokens"] > 0
        else:
            assert spent["prompt_tokens"] == 12, "told with every event"
            assert "estimated_tokens" not in spent
