"""Streams: what comes when, and that nothing runs on for a client that has left."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx
import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reasoning import Session
from reasoning.backends.scripted import Scripted
from reasoning.errors import GenerationError
from reasoning.events import Drawn, Emitted, Heard
from reasoning.runs.stages import chained
from reasoning.sample import Sample
from reasoning.serve.app import Service
from reasoning.serve.desk import Settings
from reasoning.serve.running import Server
from reasoning.serve.telling import Telling
from reasoning.serve.votes import Vote

ASKED: Any = [{"role": "user", "content": "What is 3 + 4?"}]


class Speaking(Scripted):
    """Says its words one by one, each when it is let."""

    def __init__(self, words: list[str], *, again: list[str] | None = None) -> None:
        super().__init__(["".join(again or words)])
        self.words = words
        self.gate: asyncio.Semaphore | None = None
        self.cancelled = 0

    async def generate(self, prompt: Any, params: Any, *, seed: int, meter: Any) -> Sample:
        self.live += 1
        try:
            for word in self.words:
                if self.gate is not None:
                    await self.gate.acquire()
                if prompt.hear is not None:
                    prompt.hear(word)
                meter(1)
            return self.reply(prompt, params, seed)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.live -= 1


def client(url: str) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(base_url=url, api_key="none", max_retries=0)


def streamed(listening: Any, generator: Any, **body: Any) -> list[Any]:
    """The chunks of one stream, by OpenAI's own client."""

    async def work() -> list[Any]:
        async with listening(generator) as url, client(url) as ai:
            stream = await ai.chat.completions.create(
                **{"model": "sample", "messages": ASKED, "stream": True, "seed": 1, **body}
            )
            return [chunk async for chunk in stream]

    return asyncio.run(work())


def content(chunks: list[Any], field: str = "content", i: int = 0) -> list[str]:
    deltas = [c.choices[0].delta for c in chunks if c.choices and c.choices[0].index == i]
    return [text for d in deltas if (text := getattr(d, field, None))]


def test_one_text_comes_as_it_is_said(listening: Any) -> None:
    async def work() -> tuple[list[str], int]:
        model = Speaking(["<think>Hm", ".</th", "ink>\n\nIt is", " \\boxed{7}"])
        async with listening(model) as url, client(url) as ai:
            model.gate = asyncio.Semaphore(3)
            stream = await ai.chat.completions.create(model="sample", messages=ASKED, stream=True)
            texts, live = [], 0
            async for chunk in stream:
                delta = chunk.choices[0].delta
                texts.append(getattr(delta, "reasoning_content", None) or delta.content)
                if texts[-1] == "It is":
                    live = model.live  # it has not ended
                    model.gate.release()
        return texts, live

    texts, live = asyncio.run(work())
    assert texts == ["", "Hm", ".", "It is", " \\boxed{7}", None]
    assert live == 1


def test_a_stream_says_what_the_whole_answer_says(listening: Any) -> None:
    async def work() -> Any:
        async with listening() as url, client(url) as ai:
            asked: Any = {"model": "self_consistency", "messages": ASKED, "seed": 1}
            whole = await ai.chat.completions.create(**asked)
            options = {"include_usage": True}
            stream = await ai.chat.completions.create(**asked, stream=True, stream_options=options)
            return whole, [chunk async for chunk in stream]

    whole, chunks = asyncio.run(work())
    assert "".join(content(chunks)) == whole.choices[0].message.content == "It is \\boxed{7}"
    assert chunks[0].choices[0].delta.role == "assistant"
    assert [c.choices[0].finish_reason for c in chunks[:-1]][-1] == "stop"
    assert chunks[-1].choices == []
    assert chunks[-1].usage.completion_tokens == whole.usage.completion_tokens == 10
    assert whole.usage.completion_tokens_details.reasoning_tokens == 7


def test_sdk_helper_and_several_choices(listening: Any) -> None:
    async def work() -> Any:
        async with listening() as url, client(url) as ai:
            asked: Any = {"model": "sample", "messages": ASKED, "n": 3}
            async with ai.chat.completions.stream(**asked) as stream:
                return await stream.get_final_completion()

    done = asyncio.run(work())
    assert [c.index for c in done.choices] == [0, 1, 2]
    assert {c.message.content for c in done.choices} == {"It is \\boxed{7}"}
    assert {c.finish_reason for c in done.choices} == {"stop"}


def test_a_vote_that_is_settled_is_told_before_its_last_sample(listening: Any) -> None:
    class Late(Scripted):
        """The last sample of five never comes."""

        async def generate(self, prompt: Any, params: Any, **call: Any) -> Sample:
            if prompt.slot == 4:
                self.live += 1
                try:
                    await asyncio.Event().wait()
                finally:
                    self.live -= 1
            return await super().generate(prompt, params, **call)

    async def work() -> tuple[str | None, int]:
        model = Late(["It is \\boxed{7}"])
        strategies = [{"searcher": "self_consistency", "n": 5}]
        async with listening(model, strategies=strategies) as url, client(url) as ai:
            asked: Any = {"model": "self_consistency", "messages": ASKED}
            async with await ai.chat.completions.create(**asked, stream=True) as stream:
                async for chunk in stream:
                    if text := chunk.choices[0].delta.content:
                        return text, model.live
        return None, 0

    assert asyncio.run(work()) == ("It is \\boxed{7}", 1)


def test_progress_is_told_on_demand(listening: Any) -> None:
    extra = {"reasoning": {"progress": True}}
    chunks = streamed(listening, None, model="self_consistency", extra_body=extra)
    told = "".join(content(chunks, "reasoning_content"))
    assert told.startswith("drew 0: 3 tokens, end\ncandidate 0: 7\n")
    assert told.endswith("chosen: 7, confidence 0.67\n")
    quiet = streamed(listening, None, model="self_consistency")
    assert not content(quiet, "reasoning_content")


def test_stop_strings_are_never_told(listening: Any) -> None:
    model = Speaking(["It is ", "7 an", "d 8"], again=["It is 7 and 8"])
    assert "".join(content(streamed(listening, model, stop=["and"]))) == "It is 7 "


def test_a_mistake_is_an_error_before_the_stream(listening: Any) -> None:
    with pytest.raises(openai.BadRequestError, match="tools are not supported"):
        streamed(listening, None, tools=[{"type": "function", "function": {"name": "f"}}])
    with pytest.raises(openai.NotFoundError, match="did you mean 'sample'"):
        streamed(listening, None, model="simple")


def test_an_error_in_the_middle_is_raised_by_the_client(listening: Any) -> None:
    failing = Scripted([GenerationError("no")])
    with pytest.raises(openai.APIError, match="gave no answer"):
        streamed(listening, failing)
    with pytest.raises(openai.APIError, match="something else"):
        streamed(listening, Speaking(["It is 7"], again=["It is 8"]))


def test_a_client_that_leaves_ends_every_call(listening: Any) -> None:
    """Streamed or not: no call and no search is left, see also the fixture."""

    async def work(stream: bool) -> tuple[int, int]:
        model = Speaking(["a "] * 3)
        async with listening(model) as url, client(url) as ai:
            model.gate = asyncio.Semaphore(1)
            asked: Any = {"model": "self_consistency", "messages": ASKED, "stream": stream}
            async with asyncio.TaskGroup() as group:
                task = group.create_task(ai.chat.completions.create(**asked))
                await until(lambda: model.live == 3)
                if stream:
                    await (await task).close()
                task.cancel()
            await until(lambda: model.live == 0)
        return model.cancelled, len(asyncio.all_tasks())

    assert [asyncio.run(work(stream)) for stream in (True, False)] == [(3, 1), (3, 1)]


def test_a_server_that_is_told_to_end_lets_what_runs_end(listening: Any) -> None:
    async def work() -> str | None:
        model = Speaking(["It ", "is ", "7"])
        async with asyncio.TaskGroup() as group, listening(model) as url:
            model.gate = asyncio.Semaphore(1)
            ai = client(url)
            running = group.create_task(ai.chat.completions.create(model="sample", messages=ASKED))
            await until(lambda: model.live == 1)
            for _ in range(3):
                asyncio.get_running_loop().call_later(0.3, model.gate.release)
        await ai.close()
        return running.result().choices[0].message.content

    assert asyncio.run(work()) == "It is 7"


def test_many_clients_that_leave_at_random_leave_nothing(listening: Any) -> None:
    async def work() -> int:
        model = Speaking(["a "] * 4)
        async with listening(model) as url, client(url) as ai:
            model.gate = asyncio.Semaphore(200)

            async def one(i: int) -> None:
                asked: Any = {"model": "self_consistency", "messages": ASKED, "stream": i % 2 == 0}
                try:
                    async with asyncio.timeout(0.02 * (i % 5) + 0.005):
                        await ai.chat.completions.create(**asked)
                except (TimeoutError, openai.APIError):
                    pass

            async with asyncio.TaskGroup() as group:
                for i in range(40):
                    group.create_task(one(i))
            await ai.close()
            await until(lambda: model.live == 0)
        return len(asyncio.all_tasks())

    assert asyncio.run(work()) == 1


async def until(true: Any) -> None:
    """Wait for something that the event loop brings about; the suite's own limit bounds it."""
    async with asyncio.timeout(30):
        while not true():  # noqa: ASYNC110 (nobody tells of it)
            await asyncio.sleep(0.005)


def test_a_quiet_stream_shows_signs_of_life(served: Any) -> None:
    async def work() -> str:
        model = Speaking(["7"])
        async with served(model, Settings(keep_alive=0.01)) as web:
            model.gate = asyncio.Semaphore(0)
            body = {"model": "sample", "messages": ASKED, "stream": True}
            asyncio.get_running_loop().call_later(0.1, model.gate.release)
            return str((await web.post("/v1/chat/completions", json=body)).text)

    text = asyncio.run(work())
    assert ": waiting\n\n" in text
    assert text.endswith("data: [DONE]\n\n")
    lines = [line for line in text.split("\n") if line.startswith("data: {")]
    assert all(json.loads(line[6:])["object"] == "chat.completion.chunk" for line in lines)


@pytest.mark.parametrize("stream", [True, False])
def test_what_a_server_gives_up_ends_with_an_error(
    offers: Any, caplog: pytest.LogCaptureFixture, stream: bool
) -> None:
    generator = Speaking(["It is ", "7"])
    found, asked = offers(generator), {"model": "sample", "messages": ASKED, "stream": stream}

    async def work() -> tuple[int, str]:
        generator.gate = asyncio.Semaphore(1)
        up, service = asyncio.Event(), Service(found, Settings(port=0, drain=1))
        server = Server(service, up.set)
        async with found.open(), asyncio.TaskGroup() as group, httpx.AsyncClient() as web:
            group.create_task(server.serve())
            await up.wait()
            url = f"http://127.0.0.1:{server.port}/v1/chat/completions"
            asking = group.create_task(web.post(url, json=asked))
            await until(lambda: generator.live == 1)
            server.should_exit = True
            reply = await asking
            await until(lambda: service.desk.metrics.requests["chat/completions", 503] == 1)
        return reply.status_code, reply.text

    status, text = asyncio.run(work())
    if stream:
        *_, event, text = [line for line in text.splitlines() if line]
        assert (status, event) == (200, "event: error")
    else:
        assert status == 503
    assert json.loads(text.removeprefix("data: "))["error"]["code"] == "ending"
    assert generator.cancelled == 1
    assert "Traceback" not in caplog.text


def test_a_stream_is_counted_once_as_what_it_came_to(listening: Any) -> None:
    async def work() -> str:
        model = Speaking(["a "] * 3)
        async with listening(model) as url, client(url) as ai, httpx.AsyncClient() as web:
            asked: Any = {"model": "sample", "messages": ASKED, "stream": True}
            assert [piece async for piece in await ai.chat.completions.create(**asked)]
            model.gate = asyncio.Semaphore(1)
            stream = await ai.chat.completions.create(**asked)
            await until(lambda: model.live == 1)
            await stream.close()
            await until(lambda: model.live == 0)
            return (await web.get(f"{url.removesuffix('/v1')}/metrics")).text

    counted = [line for line in asyncio.run(work()).splitlines() if "requests_total{" in line]
    assert counted == [
        'reasoning_requests_total{endpoint="chat/completions",status="200"} 1',
        'reasoning_requests_total{endpoint="chat/completions",status="499"} 1',
    ]


# ----------------------------------------------------------------------- pieces, and votes


def test_a_session_tells_of_calls_under_way() -> None:
    async def work() -> list[Any]:
        async with Session(generator=Speaking(["a ", "b"]), searcher="sample") as session:
            loud = [e async for e in session.stream("?", pieces=True)]
            quiet = [e async for e in session.stream("?")]
        return [[e for e in events if isinstance(e, Heard)] for events in (loud, quiet)]

    loud, quiet = asyncio.run(work())
    assert loud == [Heard((0,), 0, "a "), Heard((0,), 2, "b")]
    assert quiet == []


def test_the_embedded_model_speaks_too() -> None:
    async def work() -> list[Any]:
        async with Session(generator="nano", searcher="sample") as session:
            return [e async for e in session.stream("What is 12 * 7 + 5?", pieces=True)]

    *_, done = events = asyncio.run(work())
    heard = [e.text for e in events if isinstance(e, Heard)]
    assert len(heard) > 5
    assert "".join(heard) == done.result.text


def cast(votes: list[tuple[int, str | None]], n: int = 5) -> list[str | None]:
    vote, found = Vote(n), []
    for slot, answer in votes:
        vote.heard(Drawn((slot,), f"text {slot}", "end", 1, ""))
        found.append(vote.heard(Emitted((slot,), answer, 1.0)))
    return found


def test_a_vote_is_settled_when_nobody_can_change_it() -> None:
    assert cast([(0, "7"), (1, "7"), (2, "7")]) == [None, None, "text 0"]
    assert cast([(0, "7"), (3, "8"), (1, "7"), (2, "7")]) == [None, None, None, "text 0"]
    assert cast([(1, "7"), (2, "7"), (3, "7")]) == [None] * 3  # 0 may say it, too
    assert cast([(1, "7"), (2, "7"), (3, "7"), (0, None)])[-1] == "text 1"
    assert cast([(0, "8"), (1, "7"), (2, "7"), (3, "7")])[-1] is None  # 8 may mean the same
    assert cast([(0, None)] * 2) == [None, None]


def test_what_is_a_vote() -> None:
    def found(*strategy: Any, **params: Any) -> bool:
        searcher, stages, aggregator = (*strategy, None, None)[:3]
        return Vote.of(chained(searcher, stages or (), aggregator, params)) is not None

    assert found("self_consistency", n=3)
    assert found("best_of_n", None, "majority", n=3)
    assert not found("best_of_n", n=3)
    assert not found("first_finish", n=3)
    assert not found(None, [("self_consistency", {"n": 3}), "deepconf_filter", "majority"])


@pytest.mark.parametrize("size", [1, 2, 3, 7, 100])
@pytest.mark.parametrize(
    ("stop", "end", "told"),
    [
        (["END"], "", "It <is> [7] now "),
        ([], "", "It <is> [7] now END or not"),
        ([], "END", " or not"),
    ],
)
def test_pieces_make_the_same_text_whatever_their_size(
    size: int, stop: list[str], end: str, told: str
) -> None:
    text = "<think>a < b [x]</think> \n It <is> [7] now END or not"
    telling = Telling(stop, end=end)
    pieces = [telling.feed(text[i : i + size]) for i in range(0, len(text), size)]
    pieces.append(telling.finish())
    said = "".join(said for _, said in pieces)
    assert "".join(thought for thought, _ in pieces) == "a < b [x]"
    assert said.endswith(told)
    assert end or said == told


@given(st.text(st.sampled_from("ab <>/[]THINKthink◁▷|\n"), max_size=60), st.data())
def test_pieces_make_what_the_whole_does(text: str, data: st.DataObject) -> None:
    """Any text, cut anywhere, with marks and halves of marks in it."""
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=8)))
    whole, telling = Telling([]).all(text), Telling([])
    parts = [text[i:j] for i, j in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    pieces = [*map(telling.feed, parts), telling.finish()]
    assert ("".join(t for t, _ in pieces), "".join(s for _, s in pieces)) == whole
