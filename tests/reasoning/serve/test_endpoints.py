"""/v1/completions and /v1/responses, by OpenAI's own client."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import openai
import pytest

from reasoning.backends.scripted import Scripted
from reasoning.clock import RealClock
from reasoning.errors import EngineError
from reasoning.sample import Sample
from reasoning.serve.desk import Settings
from reasoning.serve.running import serve

Work = Callable[[openai.AsyncOpenAI], Awaitable[Any]]
THOUGHT = "<think>Three and four.</think>\n\nIt is \\boxed{7}"


def by(listening: Any, work: Work, generator: Any = None, **recipe: Any) -> Any:
    async def main() -> Any:
        async with (
            listening(generator, **recipe) as url,
            openai.AsyncOpenAI(base_url=url, api_key="none", max_retries=0) as ai,
        ):
            return await work(ai)

    return asyncio.run(main())


def refused(served: Any, path: str, body: dict[str, Any]) -> str:
    async def main() -> Any:
        async with served() as web:
            return await web.post(f"/v1/{path}", json={"model": "sample", **body})

    reply = asyncio.run(main())
    assert reply.status_code == 400
    return str(reply.json()["error"]["message"])


def test_completions(listening: Any) -> None:
    async def work(ai: openai.AsyncOpenAI) -> Any:
        asked: Any = {"model": "self_consistency", "prompt": "What is 3 + 4?", "seed": 1}
        whole = await ai.completions.create(**asked)
        options = {"include_usage": True}
        stream = await ai.completions.create(**asked, stream=True, stream_options=options)
        return whole, [chunk async for chunk in stream]

    whole, chunks = by(listening, work, Scripted([THOUGHT]))
    (choice,) = whole.choices
    assert (choice.text, choice.finish_reason) == ("It is \\boxed{7}", "stop")
    assert choice.reasoning_content == "Three and four."
    assert "".join(c.choices[0].text for c in chunks[:-1]) == choice.text
    assert chunks[-2].choices[0].finish_reason == "stop"
    assert chunks[-1].usage.completion_tokens == whole.usage.completion_tokens


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ({"prompt": [1, 2]}, "token ids"),
        ({"prompt": ["a", "b"]}, "several prompts"),
        ({"prompt": "a", "echo": True}, "echo is not supported"),
        ({"prompt": "a", "suffix": "b"}, "suffix is not supported"),
        ({"prompt": "a", "best_of": 3}, "best_of is not supported"),
        ({"prompt": "a", "logprobs": True}, "logprobs is a whole number"),
        ({"prompt": "a", "tools": [{}]}, "tools is not supported"),
    ],
)
def test_completions_refuse(served: Any, body: dict[str, Any], why: str) -> None:
    assert why in refused(served, "completions", body)


def test_responses(listening: Any) -> None:
    seen: list[Any] = []

    class Seeing(Scripted):
        async def generate(self, prompt: Any, params: Any, **call: Any) -> Sample:
            seen.append((prompt.messages, params.max_tokens))
            return await super().generate(prompt, params, **call)

    async def work(ai: openai.AsyncOpenAI) -> Any:
        said: Any = [
            {"role": "user", "content": [{"type": "input_text", "text": "Hm?"}]},
            {"type": "reasoning", "id": "x", "summary": []},
            {"role": "assistant", "content": [{"type": "output_text", "text": "Yes?"}]},
            {"role": "user", "content": "What is 3 + 4?"},
        ]
        return await ai.responses.create(
            model="sample", input=said, instructions="Be brief.", max_output_tokens=50, store=False
        )

    response = by(listening, work, Seeing([THOUGHT]))
    ((messages, most),) = seen
    assert [m.role for m in messages] == ["system", "user", "assistant", "user"]
    assert most == 50
    assert (response.status, response.output_text) == ("completed", "It is \\boxed{7}")
    assert [item.type for item in response.output] == ["reasoning", "message"]
    assert response.output[0].content[0].text == "Three and four."
    assert response.usage.output_tokens == response.usage.search["generated_tokens"]
    assert response.search["ignored"] == ["input[1]", "store"]


def test_a_response_that_is_cut_is_incomplete(listening: Any) -> None:
    async def work(ai: openai.AsyncOpenAI) -> Any:
        return await ai.responses.create(model="sample", input="What?", max_output_tokens=2)

    response = by(listening, work, Scripted(["one two three"]))
    assert (response.status, response.output_text) == ("incomplete", "one two")
    assert response.incomplete_details.reason == "max_output_tokens"


def test_a_response_ends_with_what_has_been_told(listening: Any) -> None:
    """A deadline cuts it off in the middle."""

    class Speaking(Scripted):
        async def generate(self, prompt: Any, params: Any, **call: Any) -> Sample:
            prompt.hear("It is 7 and")
            await asyncio.Event().wait()
            raise AssertionError("the deadline comes first")

        def clock(self, problem: Any) -> Any:
            return RealClock()

    async def work(ai: openai.AsyncOpenAI) -> Any:
        at: Any = {"extra_headers": {"X-Deadline-Seconds": "0.02"}}
        stream = await ai.responses.create(model="sample", input="What?", stream=True, **at)
        return [event async for event in stream]

    *_, done, last = by(listening, work, Speaking([""]))
    assert (done.type, last.type) == ("response.output_item.done", "response.incomplete")
    assert last.response.output_text == "It is 7 and"
    assert last.response.output == [done.item]
    assert done.item.status == "incomplete"


@pytest.mark.parametrize("progress", [False, True])
def test_responses_as_a_stream(listening: Any, progress: bool) -> None:
    async def work(ai: openai.AsyncOpenAI) -> Any:
        extra = {"reasoning": {"progress": progress}}
        asked: Any = {"model": "self_consistency", "input": "What?", "extra_body": extra}
        async with ai.responses.stream(**asked) as stream:
            events = [event async for event in stream]
            return events, await stream.get_final_response()

    events, response = by(listening, work, Scripted([THOUGHT]))
    kinds = list(dict.fromkeys(event.type for event in events))
    assert kinds == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        "response.reasoning_text.delta",
        "response.reasoning_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.output_text.delta",
        "response.output_text.done",
        "response.completed",
    ]
    assert [e.sequence_number for e in events] == list(range(len(events)))
    assert response.output_text == "It is \\boxed{7}"
    assert [item.type for item in response.output] == ["reasoning", "message"]
    thought = response.output[0].content[0].text
    assert thought.endswith("Three and four.")
    assert ("drew 0" in thought) is progress


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ({"previous_response_id": "resp_1"}, "send the whole conversation"),
        ({"background": True}, "background is not supported"),
        ({"tools": [{"type": "web_search"}]}, "tools[0] is of type 'web_search'"),
        ({"top_logprobs": 3}, "top_logprobs is not supported"),
        ({"logprobs": True}, "logprobs is not supported"),
        ({"messages": [{}]}, "messages is not supported: the conversation is input here"),
        ({"input": []}, "input is a text, or a list of messages, one or more"),
        ({"input": [{"role": "user", "content": [{"type": "input_image"}]}]}, "input[0].content"),
        ({"input": [{"role": "critic", "content": "a"}]}, "a message of input has the role"),
        ({"text": {"verbosity": "low"}}, "text.verbosity is not supported"),
        ({"text": {"format": {"type": "xml"}}}, "text.format.type is 'xml'"),
        ({"reasoning": {"effort": "high"}}, "reasoning.effort is not supported"),
        ({"max_output_tokens": "x"}, "max_output_tokens is a whole number"),
        ({"text": 5}, "text is a mapping"),
        ({"input": [{"type": "item_reference", "id": "x"}]}, "'item_reference'"),
        ({"text": {"format": {"type": "json_schema", "name": "x", "schema": {}}}}, "no schema"),
    ],
)
def test_responses_refuse(served: Any, body: dict[str, Any], why: str) -> None:
    assert why in refused(served, "responses", {"input": "What?", **body})


def test_calls_of_tools_are_passed_on(listening: Any) -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "add", "arguments": "{}"}}
    calling = Scripted([Sample("", info={"tool_calls": [call]}, generated_tokens=4)])

    async def work(ai: openai.AsyncOpenAI) -> Any:
        messages: Any = [{"role": "user", "content": "What is 3 + 4?"}]
        whole = await ai.chat.completions.create(model="sample", messages=messages)
        async with ai.chat.completions.stream(model="sample", messages=messages) as stream:
            streamed = await stream.get_final_completion()
        response = await ai.responses.create(model="sample", input="What?")
        return whole, streamed, response

    whole, streamed, response = by(listening, work, calling)
    for found in (whole, streamed):
        (choice,) = found.choices
        assert choice.finish_reason == "tool_calls"
        assert choice.message.tool_calls[0].function.name == "add"
    assert [(i.type, i.name) for i in response.output] == [("function_call", "add")]


def test_a_port_that_is_taken_is_said_once(offers: Any, caplog: pytest.LogCaptureFixture) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(EngineError, match=f"nothing can listen at 127.0.0.1:{port}"):
            asyncio.run(serve(offers(), Settings(port=port)))
    assert "Errno" not in caplog.text
