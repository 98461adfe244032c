"""Events that are read together say what they say one by one."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reasoning.backends.openai.alike import ENOUGH, Pattern
from reasoning.backends.openai.answer import Answer
from reasoning.errors import TransientError
from reasoning.http.connection import Reply


def chat(text: Any, **more: Any) -> dict[str, Any]:
    return {"id": "1", "choices": [{"index": 0, "delta": {"content": text, **more}}]}


def plain(text: Any, **more: Any) -> dict[str, Any]:
    return {"id": "1", "choices": [{"index": 0, "text": text, **more}], "usage": None}


ODD: list[Any] = [
    chat("a", reasoning_content="b"),
    chat("a", thinking="b"),
    chat("", tool_calls=[{"index": 0, "id": "t", "function": {"name": "f", "arguments": "{}"}}]),
    chat(["a", "b"]),
    chat(7),
    plain("x", token_ids=[4], logprobs={"token_logprobs": [-1.0], "tokens": ["x"]}),
    plain("x", finish_reason="stop"),
    {"choices": [], "usage": {"completion_tokens": 3}},
    {"choices": [plain("a")["choices"][0], plain("b")["choices"][0]]},
    {"error": "gone"},
    [],
]
event = st.one_of(
    st.text(max_size=4).map(lambda text: chat(None, reasoning_content=text)),
    st.text(max_size=4).map(chat),
    st.text(st.sampled_from('"\\ax{},: \n'), max_size=6).map(chat),
    st.text(max_size=4).map(plain),
    st.sampled_from(ODD),
)


def state(answer: Answer, reply: Reply) -> dict[str, Any]:
    try:
        answer.read(reply)
        error = None
    except TransientError as problem:
        error = str(problem)
    told = {
        k: v
        for k, v in vars(answer).items()
        if k not in ("_pattern", "_problem", "_looks", "_worth")
    }
    return told | {"error": error, "tools": answer.tools.whole(), "_native": None}


def read(lines: Sequence[bytes], at_once: bool, **options: Any) -> dict[str, Any]:
    async def work() -> dict[str, Any]:
        answer, reply = Answer(**options), Reply()
        reply.status, reply.streamed = 200, True
        found: dict[str, Any] = {}
        for part in [b"".join(lines)] if at_once else lines:
            reply.body += part
            found = state(answer, reply)
        return found

    return asyncio.run(work())


def line(event: Any, ascii_only: bool = True) -> bytes:
    return b"data: %b\n\n" % json.dumps(event, ensure_ascii=ascii_only).encode()


@settings(max_examples=200, deadline=None)
@given(
    st.lists(event, max_size=30),
    st.booleans(),
    st.sampled_from([False, True, None]),
    st.sampled_from(["", "ab", "a"]),
)
def test_together_and_one_by_one(
    events: list[Any], ascii_only: bool, opened: bool | None, skips: str
) -> None:
    events = [chat("a"), *[chat(f"b{i}") for i in range(2 * ENOUGH)], *events, chat("c")]
    lines = [line(e, ascii_only) for e in events]
    together, apart = (read(lines, how, opened=opened, skips=skips) for how in (True, False))
    if together["error"] is None and apart["error"] is None:
        assert together == apart
    assert together["error"] == apart["error"]


@pytest.mark.parametrize("first", [chat(None, reasoning_content="hm"), ODD[0], ODD[5], ODD[7]])
@pytest.mark.parametrize("looks", range(2 * ENOUGH))
def test_what_begins_a_batch_says_nothing_of_the_rest(first: dict[str, Any], looks: int) -> None:
    """However often events have come before it: at some of those looks a pattern is looked for."""
    before = [line(chat(None, reasoning_content=f"{i}", at=i)) for i in range(looks)]
    batch = [line(event) for event in (first, *[chat(f"{i} ") for i in range(2 * ENOUGH)])]
    together, apart = read([*before, b"".join(batch)], False), read([*before, *batch], False)
    assert together == apart
    assert together["error"] is None


@pytest.mark.parametrize("text", ['a","b', "a\\", 'a\\","x":"', 'a"}', "\x01", "\\u12"])
def test_bytes_that_are_no_string_are_not_taken_for_one(text: str) -> None:
    """What a broken server puts between the quotes is read as what it is: no JSON."""
    good = line(chat("a"))
    bad = good.replace(b'"a"', b'"' + text.encode() + b'"')
    lines = [good] * 20 + [bad, good]
    together, apart = (read(lines, how) for how in (True, False))
    assert together["error"] == apart["error"]
    assert together["error"] is not None


@pytest.mark.parametrize("field", ["content", "reasoning_content", "reasoning"])
def test_most_of_a_chat_is_alike(field: str) -> None:
    texts = ["a", "é", "", "\\n\n", "c"]
    said = [line({"choices": [{"index": 0, "delta": {"role": "x", field: t}}]}) for t in texts]
    pattern = Pattern.of(said[0][6:-2])
    assert pattern is not None
    assert pattern.thought is (field != "content")
    last = line({"choices": [{"index": 0, "delta": {"role": "x", field: "", "finish": "stop"}}]})
    found = pattern.run(b": hello\n\n" + b"".join(said) + last)
    assert found == (b": hello\n\n" + said[0], texts[1:], last)
    assert pattern.run(b"".join(said)) == (said[0], texts[1:-1], said[-1])
    assert pattern.run(b"".join([*said[:2], b": still here\n\n", *said[2:]])) is None
    assert pattern.run(said[0]) is None
    assert pattern.run(last) is None


def test_a_few_events() -> None:
    pattern = Pattern.of(line(chat("a"))[6:-2])
    assert pattern is not None
    for text in ("b", "", '\\"', "é", "\n\n"):
        assert pattern.few(line(chat(text))) == [text]
        assert pattern.few(line(chat("x")) + line(chat(text), ascii_only=False)) == ["x", text]
    assert pattern.few(line(chat("\\"))) is None, "it is left to who reads all of the event"
    good = line(chat("a"))
    for said in (b'"a","b"', b'"a\\"', b'"\x01"', b'"\xff"', b"7", b'"a'):
        bad = good.replace(b'"a"', said)
        for lines in (bad, bad + good, good + bad, bad * 2, bad + good * 2):
            assert pattern.few(lines) is None
    for other in (good[:-1], b": x\n" + good, line(chat("", finish="stop"))):
        for lines in (other, good + other):
            assert pattern.few(lines) is None


def test_thoughts_and_what_follows() -> None:
    """A long thought and a long answer, each read at one go, with one mark around the thought."""
    thought = [chat(None, reasoning_content=f"t{i} ") for i in range(50)]
    answer = [chat(f"a{i} ") for i in range(50)]
    together = read([*map(line, thought), *map(line, answer)], True)
    assert together == read([*map(line, thought), *map(line, answer)], False)
    text = "".join(together["_said"])
    assert text.startswith("<think>t0 ")
    assert "t49 </think>a0 " in text


@pytest.mark.parametrize("odd", ODD, ids=str)
def test_what_says_more_than_a_text_is_no_pattern(odd: Any) -> None:
    assert Pattern.of(json.dumps(odd).encode()) is None
