"""Tools: offered, called, voted on; conversations that have used some."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any

import openai
import pytest

from reasoning.answers.calls import canonical, is_call, of_calls
from reasoning.answers.plain import Plain
from reasoning.backends.openai import openai as generator
from reasoning.backends.scripted import Scripted
from reasoning.sample import Sample
from reasoning.testing.http_server import PLAIN_CHAT, TEXT, VLLM, Flavour, serving

ASKED: list[Any] = [{"role": "user", "content": "Weather in Oslo, in Celsius?"}]
TOOL = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {"type": "object", "properties": {"place": {"type": "string"}}},
    },
}


def call(arguments: str, name: str = "weather", **more: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "arguments": arguments}, **more}


class Calling(Scripted):
    """Calls tools as its script says, whatever is offered; `seen` are the calls of it."""

    def __init__(self, *calls: list[dict[str, Any]]) -> None:
        script = [
            Sample("", info={"tool_calls": c} if c else None, generated_tokens=4) for c in calls
        ]
        super().__init__(script)
        self.seen: list[Any] = []

    @property
    def honours(self) -> frozenset[str]:
        return super().honours | {"tools"}

    async def generate(self, prompt: Any, params: Any, **more: Any) -> Sample:
        self.seen.append((prompt.messages, params.tools))
        return await super().generate(prompt, params, **more)


VOTES = (
    [call('{"place": "Rome"}', id="r")],
    [call('{"unit": "C", "place": "Oslo", "days": 1.0}', id="a")],
    [call('{"place":"Oslo","days":1,"unit":"C"}', id="b")],
)


def by(listening: Any, work: Any, model: Any, **recipe: Any) -> Any:
    async def main() -> Any:
        async with (
            listening(model, **recipe) as url,
            openai.AsyncOpenAI(base_url=url, api_key="none", max_retries=0) as ai,
        ):
            return await work(ai)

    return asyncio.run(main())


def test_the_most_frequent_call_wins(listening: Any) -> None:
    model = Calling(*VOTES)

    async def work(ai: openai.AsyncOpenAI) -> Any:
        asked: Any = {"model": "self_consistency", "messages": ASKED, "seed": 1, "tools": [TOOL]}
        asked |= {"tool_choice": "required", "parallel_tool_calls": False}
        whole = await ai.chat.completions.create(**asked)
        del asked["parallel_tool_calls"]
        # Older clients stream no tools but strict ones.
        asked["tools"] = [{**TOOL, "function": {**TOOL["function"], "strict": True}}]
        async with ai.chat.completions.stream(**asked) as stream:
            return whole, await stream.get_final_completion()

    whole, streamed = by(listening, work, model)
    for found in (whole, streamed):
        (choice,) = found.choices
        (called,) = choice.message.tool_calls
        assert json.loads(called.function.arguments)["place"] == "Oslo"
        assert called.id in ("a", "b")
        assert (choice.finish_reason, choice.message.content or None) == ("tool_calls", None)
    assert whole.choices[0].search["answer"] == 'weather({"days":1,"place":"Oslo","unit":"C"})'
    assert [tools for _, tools in model.seen[:3]] == [
        {"tools": [TOOL], "tool_choice": "required", "parallel_tool_calls": False}
    ] * 3


def test_calls_of_a_response(listening: Any) -> None:
    model = Calling([call('{"place": "Oslo"}'), call("{}", "now", id="n")])
    flat = {"type": "function", **TOOL["function"], "strict": False}

    async def work(ai: openai.AsyncOpenAI) -> Any:
        chosen = {"type": "function", "name": "weather"}
        asked: Any = {"model": "sample", "input": ASKED, "tools": [flat], "tool_choice": chosen}
        whole = await ai.responses.create(**asked)
        async with ai.responses.stream(**asked) as stream:
            events = [event async for event in stream]
            again = await stream.get_final_response()
        said = [*ASKED, *whole.output, *(_output(item) for item in whole.output)]
        await ai.responses.create(model="sample", input=said)
        return whole, events, again

    whole, events, again = by(listening, work, model)
    for response in (whole, again):
        first, second = response.output
        assert (first.name, json.loads(first.arguments)) == ("weather", {"place": "Oslo"})
        assert (second.name, second.call_id) == ("now", "n")
        assert first.call_id.startswith("call_")
        assert response.tool_choice.name == response.tools[0].name == "weather"
    deltas = [e.delta for e in events if e.type == "response.function_call_arguments.delta"]
    assert deltas == [item.arguments for item in again.output]
    messages, _ = model.seen[-1]
    assert [m.role for m in messages] == ["user", "assistant", "tool", "tool"]
    assert [c["function"]["name"] for c in messages[1].more["tool_calls"]] == ["weather", "now"]
    assert messages[3].to_json() == {"role": "tool", "content": "12", "tool_call_id": "n"}


def _output(item: Any) -> dict[str, Any]:
    return {"type": "function_call_output", "call_id": item.call_id, "output": "12"}


def test_a_call_that_is_cut_is_none(listening: Any) -> None:
    cut = Sample("", finish="length", info={"tool_calls": [call('{"pla', id="x")]})

    async def work(ai: openai.AsyncOpenAI) -> Any:
        return await ai.chat.completions.create(model="sample", messages=ASKED, tools=[TOOL])

    (choice,) = by(listening, work, Scripting([cut])).choices
    assert choice.finish_reason == "length"


class Scripting(Scripted):
    @property
    def honours(self) -> frozenset[str]:
        return super().honours | {"tools"}


# ------------------------------------------------------------------------- a server behind


def upstream(flavour: Flavour, listening: Any, body: dict[str, Any], says: Any = None) -> Any:
    """What a client gets, and what the server behind was asked, its probes apart."""
    asked: list[Any] = []

    def answers(path: str, sent: Mapping[str, Any]) -> Any:
        if says is None or not path.endswith("/chat/completions"):
            return None
        if "Oslo" in str(sent.get("messages")):
            asked.append(sent)
        return says(sent)

    async def work(url: str) -> Any:
        model = generator(base_url=url)
        try:
            async with (
                listening(model, strategies=[{"searcher": "sample"}]) as ours,
                openai.AsyncOpenAI(base_url=ours, api_key="none", max_retries=0) as ai,
            ):
                data: Any = {"model": "sample", "messages": ASKED, **body}
                return await ai.chat.completions.create(**data)
        except openai.APIStatusError as error:
            return error
        finally:
            await model.aclose()

    with serving(flavour) as server:
        server.answers = answers
        return asyncio.run(work(server.url)), asked


@pytest.mark.parametrize("stream", [False, True])
def test_a_server_behind_is_given_the_tools(listening: Any, stream: bool) -> None:
    called = call('{"place": "Oslo"}', index=0, id="up")

    def says(sent: Mapping[str, Any]) -> Any:
        if "Oslo" not in str(sent["messages"]):
            return None
        assert bool(sent.get("stream")) == stream
        if not stream:
            message = {"role": "assistant", "content": None, "tool_calls": [called]}
            choice = {"index": 0, "message": message, "finish_reason": "tool_calls"}
            return {"choices": [choice]}
        return [
            {"choices": [{"index": 0, "delta": {"role": "assistant", "tool_calls": [called]}}]},
            {"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]},
            "[DONE]",
        ]

    body: dict[str, Any] = {"tools": [TOOL], "tool_choice": "auto"}
    if stream:  # at a deadline what has been said by then is told
        body["extra_body"] = {"reasoning": {"limits": {"seconds": 100}}}
    found, (sent,) = upstream(VLLM, listening, body, says)
    assert found.choices[0].message.tool_calls[0].id == "up"
    assert (sent["tools"], sent["tool_choice"]) == ([TOOL], "auto")
    assert "parallel_tool_calls" not in sent


@pytest.mark.parametrize("flavour", [PLAIN_CHAT, TEXT], ids=["refused", "no chats"])
def test_a_server_that_takes_no_tools_says_so(flavour: Flavour, listening: Any) -> None:
    error, _ = upstream(flavour, listening, {"tools": [TOOL]})
    assert error.status_code == 400
    assert "sampling.tools offers tools" in error.message
    assert "127.0.0.1" not in error.message


# ------------------------------------------------------------------------------ refusals

NAMED: Any = {"type": "function", "function": {"name": "other"}}
REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "search": ({"tools": [{"type": "web_search"}]}, "tools[0] is of type 'web_search'"),
    "nameless": ({"tools": [{"type": "function", "function": {}}]}, "has no name"),
    "no list": ({"tools": "weather"}, "a list of 128"),
    "another": ({"tools": [TOOL], "tool_choice": NAMED}, "names none of the tools"),
    "a word": ({"tools": [TOOL], "tool_choice": "maybe"}, "none, auto, required"),
    "of none": ({"tool_choice": "required"}, "there are none"),
    "parallel": ({"tools": [TOOL], "parallel_tool_calls": "yes"}, "true or false"),
    "best": ({"tools": [TOOL], "model": "best_of_n"}, "a call of a tool is no text"),
    "steps": ({"tools": [TOOL], "model": "beam_search"}, "a call of a tool is no text"),
    "nobody's": ({"messages": [{"role": "tool", "content": "7"}]}, "no tool_call_id"),
}


def refusal(served: Any, body: dict[str, Any], model: Any) -> str:
    strategies = [
        {"searcher": "sample"},
        {"searcher": "best_of_n", "n": 2},
        {"searcher": "beam_search", "width": 2},
    ]

    async def main() -> Any:
        async with served(model, strategies=strategies, verifier="logprob") as web:
            data = {"model": "sample", "messages": ASKED, **body}
            return await web.post("/v1/chat/completions", json=data)

    reply = asyncio.run(main())
    assert reply.status_code == 400, reply.text
    return str(reply.json()["error"]["message"])


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_what_is_no_tool_is_refused(served: Any, name: str) -> None:
    body, why = REFUSED[name]
    model = Calling([])
    assert why in refusal(served, body, model)
    assert model.calls == 0


def test_a_generator_that_is_given_no_tools_refuses_them(served: Any) -> None:
    assert "given none" in refusal(served, {"tools": [TOOL]}, Scripted(["x"]))
    spoken = [*ASKED, {"role": "assistant", "content": None, "tool_calls": [call("{}", id="1")]}]
    spoken.append({"role": "tool", "tool_call_id": "1", "content": "12"})
    assert "given none" in refusal(served, {"messages": spoken}, Scripted(["x"]))


# ------------------------------------------------------------------------------- answers


def test_calls_are_the_same_if_their_json_is() -> None:
    pairs = [
        ('{"a": 1, "b": [1.0, 2.5]}', '{"b":[1,2.5],"a":1}'),
        ("", "{}"),
        ("no json ", " no json"),
        ('{"a": NaN}', '{"a": NaN} '),
        ('"\\u00e9"', '"é"'),
    ]
    for one, other in pairs:
        assert canonical(one or "{}") == canonical(other)
    for one, other in [('{"a": 1}', '{"a": "1"}'), ("true", "1"), ("[1,2]", "[2,1]")]:
        assert canonical(one) != canonical(other)
    both = [call('{"x": 1}'), call("{}", "now")]
    assert of_calls(both) == of_calls(both[::-1])
    assert of_calls(both) != of_calls(both[:1])


def test_a_call_is_no_formula() -> None:
    kind = Plain()
    one, other = kind.called([call("1+1", "f")]), kind.called([call("2", "f")])
    text = kind.find(one.text, True)
    assert text is not None
    assert (is_call(one), is_call(text)) == (True, False)
    assert asyncio.run(kind.group([one, other, text, one])) == [0, 1, 2, 0]
