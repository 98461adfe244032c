"""Servers as they are: a small fake for every habit that one was met with."""

from __future__ import annotations

import asyncio
import json
from collections import Counter, defaultdict
from collections.abc import Callable, Coroutine, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import pytest

from reasoning.backends.openai import OpenAI, openai
from reasoning.backends.openai.answer import Answer
from reasoning.backends.openai.asking import MESSAGES
from reasoning.backends.openai.probe import length
from reasoning.clock import RealClock
from reasoning.errors import GenerationError, RecipeError, TransientError
from reasoning.generate import Prompt, Sampling
from reasoning.http import keys
from reasoning.http.admission import Limits
from reasoning.http.pool import Pool
from reasoning.problem import Problem
from reasoning.testing.hand_clock import HastyClock
from reasoning.testing.http_server import CHAT, LLAMA, PLAIN_CHAT, VLLM, Served, serving
from reasoning.tree import Node, RolloutTree, Sample

T = TypeVar("T")
PROBLEM = Problem("p", "What is 12 * 7 + 5?")
STEP = "\n\n"


def run(main: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(asyncio.wait_for(main, 120))


async def draw(
    generator: OpenAI, parent: Node | None = None, *, seed: int = 1, **params: Any
) -> Sample:
    sampling = Sampling(**{"max_tokens": 64, **params})
    prompt = Prompt(PROBLEM, parent or RolloutTree("p").root, 0)
    return await generator.generate(prompt, sampling, seed=seed, meter=lambda _: None)


@dataclass
class Chat:
    """A server of chats: `says` a list of deltas, by the messages and the seed.

    `unknown` are fields it refuses. What it was asked is in `asked`.
    """

    says: Callable[[Mapping[str, Any]], list[dict[str, Any]]]
    unknown: tuple[str, ...] = ()
    usage: Callable[[Mapping[str, Any]], Any] = lambda body: {
        "prompt_tokens": sum(len(m["content"]) for m in body["messages"]),
        "completion_tokens": 7,
    }
    finish: str | None = "stop"
    more: dict[str, Any] = field(default_factory=dict)
    ends: list[Any] = field(default_factory=lambda: ["[DONE]"])
    asked: list[Mapping[str, Any]] = field(default_factory=list)

    def __call__(self, path: str, body: Mapping[str, Any]) -> Any:
        if path == "/v1/models":
            return None
        if path != "/v1/chat/completions":
            return 404, "Not Found"
        self.asked.append(body)
        if refused := [name for name in self.unknown if name in body]:
            return 422, f"Unexpected fields in the request: {set(refused)}"
        deltas, usage = self.says(body), self.usage(body)
        told = {} if usage is None else {"usage": usage}
        if not body.get("stream"):
            message = {k: v for delta in deltas for k, v in delta.items()}
            choice = {"message": message, "finish_reason": self.finish, **self.more}
            return {"choices": [choice], **told}
        events: list[Any] = [{"choices": [{"delta": delta}]} for delta in deltas]
        last = {"delta": {}, "finish_reason": self.finish, **self.more}
        events += [{"choices": [last]}, {"choices": [], **told}] if self.finish else []
        return [*events, *self.ends]


@pytest.fixture
def server() -> Iterator[Served]:
    with serving(CHAT) as server:
        yield server


def plain(text: str) -> Callable[[Mapping[str, Any]], list[dict[str, Any]]]:
    return lambda body: [{"content": text}]


# Thoughts that a server sets apart (a reasoning parser).

THOUGHTS = ["First, 12*7 = 84.\n\n", "Then 84+5 = 89.\n\n"]


def thinking(body: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Two steps of a thought, then its end and the answer; in place, or all over again."""
    last = body["messages"][-1]
    begun = last["content"] if last["role"] == "assistant" else ""
    if not body.get("continue_final_message"):
        begun = ""
    said = begun.count(STEP)
    if said < 2:
        return [{"reasoning_content": THOUGHTS[said], "content": None}]
    return [
        {"reasoning_content": "So it is 89.", "content": None},
        {"content": "The answer is "},
        {"content": "\\boxed{89}."},
    ]


def shorter(body: Mapping[str, Any]) -> dict[str, int]:
    size = sum(len(m["content"]) for m in body["messages"])
    return {"prompt_tokens": size + 4 * (not body.get("continue_final_message"))}


def test_a_thought_stays_open_between_steps(server: Served) -> None:
    chat = Chat(thinking, usage=shorter, more={"matched_stop": STEP})
    server.answers = chat
    generator = openai(base_url=server.url, model="toy")

    async def work() -> Node:
        tree = RolloutTree("p")
        node = tree.root
        for _ in range(3):
            node = tree.add(node, 0, await draw(generator, node, stop=(STEP,)))
        return node

    node = run(work())
    begun = "<think>" + "".join(THOUGHTS)
    assert chat.asked[-1]["messages"][-1] == {"role": "assistant", "content": begun}
    assert node.text == begun + "So it is 89.</think>The answer is \\boxed{89}."
    facts = run(generator.describe())
    assert facts["step search"] == "yes, thoughts stay open between steps"
    assert facts["thoughts"] == "set apart by the server"


def test_a_thought_that_cannot_be_continued_is_no_place_for_steps(server: Served) -> None:
    server.answers = Chat(lambda body: [{"reasoning_content": THOUGHTS[0]}], usage=shorter)
    generator = openai(base_url=server.url, model="toy")
    run(generator.abilities())
    with pytest.raises(RecipeError, match="does not go on from one that is not over"):
        generator.refuse_steps()
    assert run(draw(generator)).text == "<think>" + THOUGHTS[0]


@pytest.mark.parametrize(
    ("opened", "pieces", "text"),
    [
        (False, [(True, "a"), (True, "b"), (False, "c")], "<think>ab</think>c"),
        (False, [(False, "c")], "c"),
        (True, [(True, "b"), (False, "c")], "b</think>c"),
        (True, [(False, "c")], "</think>c"),
        (None, [(True, "b"), (False, "c")], "b</think>c"),
        (None, [(False, "b</think>c")], "b</think>c"),
    ],
)
def test_marks_of_a_thought(opened: bool | None, pieces: list[tuple[bool, str]], text: str) -> None:
    answer = Answer(opened)
    for thought, piece in pieces:
        key = "reasoning" if thought else "content"
        answer._take({"choices": [{"delta": {key: piece}}]})
    assert answer.said() == text


def test_a_mark_that_the_server_takes_out_is_a_stop_all_the_same(server: Served) -> None:
    """The end of a thought as a stop string: the parser has it, the text has not."""
    known = {"stop_reason": "</think>"}

    def says(body: Mapping[str, Any]) -> list[dict[str, Any]]:
        return [{"reasoning_content": "12*7=84."}]

    chat = Chat(says, more=known)
    server.answers = chat
    generator = openai(base_url=server.url, model="toy")

    async def work() -> Sample:
        generator._able = replace(await generator.abilities(()), stops=True)
        return await draw(generator, stop=("</think>",))

    sample = run(work())
    assert (sample.text, sample.finish) == ("<think>12*7=84.</think>", "stop")


# Content in parts, calls of tools.

PARTS = [
    {"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "12*7=84."}]}]},
    {"content": "The answer is "},
    {"content": [{"type": "text", "text": "\\boxed{89}."}, {"type": "reference", "ids": [1]}]},
]


def test_content_may_come_in_parts(server: Served) -> None:
    server.answers = Chat(lambda _: PARTS)
    sample = run(draw(openai(base_url=server.url, model="toy")))
    assert sample.text == "<think>12*7=84.</think>The answer is \\boxed{89}."


WHOLE = {
    "tool_calls": [
        {"id": "a", "type": "function", "function": {"name": "f", "arguments": '{"x": 1}'}},
        {"id": "b", "type": "function", "function": {"name": "g", "arguments": {"y": 2}}},
    ]
}


def piece(index: int, **function: str) -> dict[str, Any]:
    call: dict[str, Any] = {"index": index, "function": function}
    if "name" in function:
        call |= {"id": "ab"[index], "type": "function"}
    return {"tool_calls": [call]}


@pytest.mark.parametrize(
    "deltas",
    [
        [WHOLE],
        [
            piece(0, name="f", arguments=""),
            piece(0, arguments='{"x"'),
            piece(0, arguments=": 1}"),
            piece(1, name="g", arguments='{"y": 2}'),
        ],
    ],
    ids=["whole", "in pieces"],
)
def test_calls_of_tools_are_kept(server: Served, deltas: list[dict[str, Any]]) -> None:
    server.answers = Chat(lambda _: deltas, finish="tool_calls")
    sample = run(draw(openai(base_url=server.url, model="toy")))
    assert sample.finish == "end"
    assert sample.info is not None
    assert [(c["id"], c["function"]) for c in sample.info["tool_calls"]] == [
        ("a", {"name": "f", "arguments": '{"x": 1}'}),
        ("b", {"name": "g", "arguments": '{"y": 2}'}),
    ]


# Counting.


@pytest.mark.parametrize("usage", [None, {"prompt_tokens": 0, "completion_tokens": 0}])
def test_what_nobody_counts_is_estimated(server: Served, usage: Any) -> None:
    text = "12 * 7 is 84. " * 112 + "\\boxed{89}"
    server.answers = Chat(plain(text), usage=lambda _: usage)
    generator = openai(base_url=server.url, model="toy")
    sample = run(draw(generator, max_tokens=1000))
    assert 420 < sample.generated_tokens < 480
    assert sample.prompt_tokens == 6
    assert sample.info == {"estimated_tokens": True}
    assert "they are estimated" in " ".join(generator.notes)


def test_a_step_that_is_cut_here_has_read_its_prompt(server: Served) -> None:
    with serving(LLAMA) as llama:
        llama.fault = lambda call: "hold"  # else it may be over, and counted, before it is read
        generator = openai(base_url=llama.url, model="toy")
        sample = run(draw(generator, stop=("T",), seed=3))
    assert sample.finish == "stop"
    assert sample.prompt_tokens > 0
    assert (sample.info or {}).get("estimated_prompt_tokens") is True


# Log-probabilities.


def with_logprobs(missing: int) -> Callable[[Mapping[str, Any]], Any]:
    """llama.cpp's chat: log-probabilities of all tokens but the one that ends the answer."""

    def say(path: str, body: Mapping[str, Any]) -> Any:
        if path != "/v1/chat/completions":
            return None if path == "/v1/models" else (404, "Not Found")
        tops = [{"token": "t", "logprob": -0.1}, {"token": "t", "logprob": -0.1}]
        tops += [{"token": "z", "logprob": -3.0}]
        content = [{"token": "t", "logprob": -0.1, "top_logprobs": tops}] * 6
        end = {"token": "", "logprob": -0.5, "top_logprobs": tops}
        usage = {"prompt_tokens": 9, "completion_tokens": 7}
        if not body.get("stream"):
            choice = {"message": {"content": "t" * 6}, "logprobs": {"content": [*content, end]}}
            return {"choices": [{**choice, "finish_reason": "stop"}], "usage": usage}
        known = [*content, *[end][missing:]][: 7 - max(0, missing - 1)]
        events: list[Any] = [
            {"choices": [{"delta": {"content": token["token"]}, "logprobs": {"content": [token]}}]}
            for token in known
        ]
        last = {"choices": [{"delta": {}, "finish_reason": "stop"}]}
        return [*events, last, {"choices": [], "usage": usage}, "[DONE]"]

    return say


@pytest.mark.parametrize("missing", [0, 1])
def test_the_end_may_have_no_log_probability(server: Served, missing: int) -> None:
    server.answers = with_logprobs(missing)
    generator = openai(base_url=server.url, model="toy")
    sample = run(draw(generator, confidence_k=2, top_logprobs=2))
    assert sample.generated_tokens == 7
    for values in (sample.logprobs, sample.confidence):
        assert values is not None
        assert len(values) == 7 - missing
    assert sample.confidence is not None
    assert sample.confidence[0] == pytest.approx(1.55)  # each likely token once
    assert sample.top_logprobs is not None
    assert sample.top_logprobs.texts[0] == ("t", "z")
    said = run(generator.describe())["log-probabilities"]
    assert said == ("yes, but for the token that ends an answer" if missing else "yes")


def test_tokens_of_one_text_are_told_apart_by_their_bytes() -> None:
    tops = [
        {"token": "�", "logprob": -1.0, "bytes": [200]},
        {"token": "�", "logprob": -1.0, "bytes": [201]},
        {"token": "�", "logprob": -1.00001, "bytes": [201]},
    ]
    answer = Answer()
    content = [{"token": "�", "logprob": -1.0, "top_logprobs": tops}]
    answer._take({"choices": [{"delta": {"content": "�"}, "logprobs": {"content": content}}]})
    assert answer.tops == [[("�", -1.0), ("�", -1.0)]]


# Answers that are broken off.


def one_at_a_time(server: Served) -> None:
    """llama_cpp.server: a stream ends, without its end, when another call comes.

    Those that are asked for at once are all there before the first of them says anything.
    """
    arrived, latest = Counter[float](), [0]
    respond = server.respond
    there = defaultdict[float, asyncio.Event](asyncio.Event)
    together = {2.0: 2, 0.0: 16}  # the hot answers of a question, and the greedy ones of the test

    async def interrupting(method: str, path: str, headers: Any, data: bytes) -> Any:
        status, kind, body = await respond(method, path, headers, data)
        if isinstance(body, bytes) or not path.endswith("completions"):
            return status, kind, body
        asked = json.loads(data)
        key = asked["temperature"] if asked["messages"] != MESSAGES or asked["temperature"] else -1
        arrived[key] += 1
        latest[0] += 1
        number = latest[0]

        async def cut() -> Any:
            if arrived[key] >= together.get(key, 0):
                there[key].set()
            await there[key].wait()
            async for event in body:
                if latest[0] != number:
                    yield b"data: [DONE]\n\n"
                    return
                yield event

        return status, kind, cut()

    server.respond = interrupting  # type: ignore[method-assign]


@pytest.mark.parametrize("asked", [True, False])
def test_a_server_that_breaks_answers_off_is_asked_one_by_one(asked: bool) -> None:
    with serving(PLAIN_CHAT) as server:
        one_at_a_time(server)
        generator = OpenAI([server.url], "toy", clock=HastyClock(), limits=Limits(timeout=1e9))

        async def patient(seed: int) -> Sample:
            for _ in range(4):
                try:
                    return await draw(generator, seed=seed, temperature=float(asked))
                except TransientError as error:
                    why.append(str(error))
            raise AssertionError(why)

        async def work() -> list[Sample]:
            await generator.abilities(())
            async with asyncio.TaskGroup() as group:
                calls = [group.create_task(patient(seed)) for seed in range(16)]
            return [call.result() for call in calls]

        why: list[str] = []
        samples = run(work())
        assert len(samples) == 16
    assert why or asked  # nothing was tried before; else two streams at once were
    for error in why:
        assert "ended an answer in the middle when another call came" in error
        assert "--interrupt_requests false" in error
    assert "broke answers off when other calls came" in " ".join(generator.notes)


@pytest.mark.parametrize("reason", ["abort", "error"])
def test_a_part_of_the_server_that_dies_is_worth_another_try(server: Served, reason: str) -> None:
    server.answers = Chat(plain("So"), finish=reason)
    with pytest.raises(TransientError, match="broke the answer off"):
        run(draw(openai(base_url=server.url, model="toy")))


# Fields that are refused.


def test_what_a_server_refuses_is_dropped_and_told(server: Served) -> None:
    """transformers serve refuses every field that it does not know."""
    unknown = ("top_k", "min_p", "min_tokens", "repetition_penalty", "stream_options", "seed")
    chat = Chat(plain("So"), unknown)
    server.answers = chat
    generator = openai(base_url=server.url, model="toy")
    run(draw(generator))
    assert not set(unknown) & chat.asked[-1].keys()
    assert chat.asked[-1]["top_p"] == 1.0
    assert chat.asked[-1]["stream"] is True
    facts = run(generator.describe())
    assert facts["refused there"] == ", ".join(sorted(unknown))
    assert facts["streams"] == "yes"


@pytest.mark.parametrize(
    ("least", "most", "takes"), [(0.001, 1.0, True), (0.0, 1.5, True), (1.0, 1.0, False)]
)
def test_temperatures_may_be_bounded(
    server: Served, least: float, most: float, takes: bool
) -> None:
    """Some servers refuse 0, some more than 1, and models that think often all but 1."""
    chat = Chat(lambda body: [{"content": f"{body.get('seed')}"}])

    def says(path: str, body: Mapping[str, Any]) -> Any:
        if not least <= body.get("temperature", 1.0) <= most:
            return 400, f"temperature must be from {least} to {most}"
        return chat(path, body)

    server.answers = says
    generator = openai(base_url=server.url, model="toy")
    able = run(generator.abilities())
    assert ("temperature" not in able.refused) is takes
    assert able.seeds is not None
    assert able.seeds.differ
    if takes:
        assert run(draw(generator, temperature=0.7)).text == "1"
    else:
        with pytest.raises(RecipeError, match="takes none"):
            run(draw(generator, temperature=0.7))
    assert run(draw(generator)).text == "1"


def test_what_is_refused_later_is_dropped_once(server: Served) -> None:
    chat = Chat(plain("So"))
    server.answers = chat
    generator = openai(base_url=server.url, model="toy")
    run(generator.abilities())
    chat.unknown = ("presence_penalty", "temperature")
    run(draw(generator))
    chat.asked.clear()
    run(draw(generator))
    assert len(chat.asked) == 1
    assert not {"presence_penalty", "temperature"} & chat.asked[0].keys()
    with pytest.raises(RecipeError, match="takes none; leave it at"):
        run(draw(generator, temperature=0.5))


def test_a_field_that_means_something_is_never_dropped(server: Served) -> None:
    chat = Chat(plain("So"))
    server.answers = chat
    generator = openai(base_url=server.url, model="toy")
    run(generator.abilities())
    chat.unknown = ("top_p",)
    with pytest.raises(GenerationError, match="Unexpected fields"):
        run(draw(generator, top_p=0.5))


@pytest.mark.parametrize("most", [1, 4, 5])
def test_stop_strings_that_are_dropped_are_cut_here(most: int) -> None:
    """LiteLLM passes on the first four."""
    stops = ("\u2401", "\u2402", "\u2403", "\u2404", "o")
    with serving(replace(VLLM, most_stops=most)) as server:
        generator = openai(base_url=server.url)
        assert run(generator.abilities(())).few_stops is (most < 5)
        sample = run(draw(generator, stop=stops, seed=3))
        assert sample.finish == "stop"
        assert "o" in sample.text
        assert ("stop" in server.seen[-1].body) is (most == 5)


def test_a_gateway_with_nobody_behind_it_is_waited_for() -> None:
    """LiteLLM says 500 where the server behind it cannot be reached."""
    left = [3]

    def says(path: str, body: Mapping[str, Any]) -> Any:
        if path == "/v1/completions" and left[0] and body["max_tokens"] == 64:
            left[0] -= 1
            return 500, "litellm.InternalServerError: OpenAIException - Connection error."
        return None

    with serving(VLLM) as server:
        generator = OpenAI([server.url], clock=HastyClock(), limits=Limits(timeout=1e9))

        async def work() -> Sample:
            await generator.abilities()
            server.answers = says
            return await draw(generator)

        assert run(work()).generated_tokens
    assert not left[0]


def test_an_error_within_a_stream_is_worth_another_try(server: Served) -> None:
    generator = openai(base_url=server.url, model="toy")
    run(generator.abilities())
    server.answers = lambda path, body: [{"object": "error", "message": "engine dead"}]
    with pytest.raises(TransientError, match="broke off: engine dead"):
        run(draw(generator))


# Seeds.


def test_a_server_without_diversity_is_told_of(
    server: Served, caplog: pytest.LogCaptureFixture
) -> None:
    """transformers serve: no temperature without do_sample in the checkpoint's own config."""
    server.answers = Chat(plain("So"))
    generator = openai(base_url=server.url, model="toy")
    generator.expect(Sampling(max_tokens=8), steps=False)
    run(generator.astart())
    assert "there is no diversity to choose from" in " ".join(generator.notes)
    assert [record.getMessage() for record in caplog.records] == list(generator.notes)
    assert run(generator.describe())["seeds"].startswith("no diversity")


def test_seeds_that_do_not_hold_are_told_of(server: Served) -> None:
    numbers = iter(range(1000))
    server.answers = Chat(lambda _: [{"content": f"{next(numbers)}"}])
    generator = openai(base_url=server.url, model="toy")
    assert run(generator.describe())["seeds"] == "they do not repeat an answer"
    assert not generator.notes
    with serving(VLLM) as vllm:
        facts = run(openai(base_url=vllm.url).describe())
        assert facts["seeds"] == "the same one gives the same answer"


def test_only_what_a_run_needs_is_asked() -> None:
    greedy, hot = Sampling(max_tokens=8, temperature=0.0), Sampling(max_tokens=8)
    settings = [(greedy, False), (hot, False), (greedy, True), (replace(hot, top_k=3), True)]
    sizes = []
    for params, steps in settings:
        with serving(CHAT) as server:
            generator = openai(base_url=server.url, model="toy")
            generator.expect(params, steps=steps)
            run(generator.astart())
            sizes.append(server.counts["requests"])
            run(draw(generator, temperature=params.temperature, top_k=params.top_k))
            assert server.counts["requests"] == sizes[-1] + 1
    least, *more = sizes
    assert least <= 12
    assert all(size > least for size in more)
    assert sizes[-1] == max(sizes)


# Continuing an answer.


def llama(body: Mapping[str, Any]) -> tuple[str, int]:
    """llama.cpp: a last message of the assistant is continued by default."""
    whole = "one two three four five six seven eight nine"
    words = whole.split(" ")
    last = body["messages"][-1]
    begun = last["content"] if last["role"] == "assistant" else ""
    said = len(begun.split()) if begun else 0
    limit = int(body.get("max_tokens", 99))
    text = " ".join(words[said : said + limit])
    return (" " if said else "") + text, 10 + said


@pytest.mark.parametrize("streams", [True, False])
def test_an_answer_that_is_continued_by_default(server: Served, streams: bool) -> None:
    """Unstreamed, it repeats what it continues."""

    def says(path: str, body: Mapping[str, Any]) -> Any:
        if path != "/v1/chat/completions":
            return None if path == "/v1/models" else (404, "Not Found")
        if body.get("stream") and not streams:
            return 400, "stream is not supported"
        text, prompt = llama(body)
        last = body["messages"][-1]
        usage = {"prompt_tokens": prompt, "completion_tokens": len(text.split())}
        if body.get("stream"):
            events = [{"choices": [{"delta": {"content": text}, "finish_reason": "stop"}]}]
            return [*events, {"choices": [], "usage": usage}, "[DONE]"]
        again = last["content"] if last["role"] == "assistant" else ""
        choice = {"message": {"content": again + text}, "finish_reason": "stop"}
        return {"choices": [choice], "usage": usage}

    server.answers = says
    generator = openai(base_url=server.url, model="toy")

    async def work() -> Sample:
        tree = RolloutTree("p")
        node = tree.add(tree.root, 0, Sample("one two", generated_tokens=2))
        return await draw(generator, node, stop=("four",))

    assert run(work()).text == " three four"
    able = run(generator.abilities())
    assert able.continues
    assert able.repeats is not streams


def test_a_new_turn_that_goes_on_is_none_in_place(server: Served) -> None:
    """A good model, shown its unfinished answer as a turn, goes on in a new one."""

    def says(body: Mapping[str, Any]) -> list[dict[str, Any]]:
        return [{"content": llama(body)[0]}]

    def counted(body: Mapping[str, Any]) -> dict[str, int]:
        text, prompt = llama(body)
        turn = 5 * (body["messages"][-1]["role"] == "assistant")
        return {"prompt_tokens": prompt + turn, "completion_tokens": len(text.split())}

    server.answers = Chat(says, usage=counted)
    assert not run(openai(base_url=server.url).abilities()).continues
    server.answers = Chat(says, usage=lambda _: None)  # what comes back is all there is
    assert run(openai(base_url=server.url).abilities()).continues


# What a server says of itself.


@pytest.mark.parametrize(
    ("entry", "found"),
    [
        ({"max_model_len": 1024}, 1024),
        ({"meta": {"n_ctx": 2048, "n_ctx_train": 4096}}, 2048),
        ({"context_length": 8192}, 8192),
        ({"top_provider": {"context_length": 512}}, 512),
        ({"max_model_len": None, "context_window": 99}, 99),
        ({"max_model_len": "many"}, None),
        ({"meta": 7}, None),
        ({}, None),
    ],
)
def test_the_length_of_the_context_has_many_names(entry: dict[str, Any], found: int | None) -> None:
    assert length(entry) == found


def test_a_model_that_is_not_listed(server: Served) -> None:
    def says(path: str, body: Mapping[str, Any]) -> Any:
        if path == "/v1/models":
            return {"data": [{"id": "/models/toy.gguf", "meta": {"n_ctx": 4096}}]}
        return {"build_info": "b1-abc"} if path == "/props" else None

    server.answers = says
    facts = run(openai(base_url=server.url, model="toy").describe())
    assert facts["model"] == "toy, 4,096 tokens, which the server does not list"
    assert facts["engine"] == "version b1-abc"


# Routers.


@pytest.mark.parametrize("name", ["X-Session-ID", "x-user", ""])
def test_the_calls_of_a_tree_have_a_header_in_common(name: str) -> None:
    with serving(VLLM) as server:
        generator = openai(base_url=server.url, session_header=name)

        async def work() -> None:
            for problem in ("p", "p", "q"):
                prompt = Prompt(Problem(problem, "1 + 1?"), RolloutTree(problem).root, 0)
                await generator.generate(
                    prompt, Sampling(max_tokens=4), seed=1, meter=lambda _: None
                )

        run(work())
        values = [call.headers.get(name.lower()) for call in server.seen]
        assert values[0] == values[1]
        assert (values[1] != values[2]) is bool(name)
    with pytest.raises(RecipeError, match="is no name of a header"):
        openai(base_url="http://h/v1", session_header="a b")


# Keys.

KEY = "sk-very-secret-1234567890"


@pytest.mark.parametrize(
    "said",
    [
        [{"error": {"message": f"bad key {KEY}"}}],
        [{"error": f"{'x' * 290}{KEY}"}],
        [{"choices": [{"delta": {"content": "a"}, "finish_reason": f"because {KEY}"}]}],
        [{"choices": [{"delta": {"content": [KEY]}}]}],
        [{"choices": [{"delta": {"content": {"k": f"{'y' * 60}{KEY}"}}}]}],
        [{"choices": [], "usage": KEY}],
        (400, f"{'x' * 285}Bearer {KEY}"),
        (500, f"bad {KEY}"),
    ],
    ids=["error", "cut error", "reason", "type", "cut type", "usage", "refusal", "failure"],
)
def test_a_key_that_the_server_repeats_is_not_shown(
    server: Served, said: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_KEY", KEY)
    generator = openai(base_url=server.url, model="toy", api_key_env="MY_KEY")
    run(generator.abilities(()))
    server.answers = lambda path, body: said
    with pytest.raises((TransientError, GenerationError)) as caught:
        run(draw(generator, temperature=0.0))
    assert KEY[:6] not in str(caught.value)


def test_a_key_is_sent_where_somebody_has_agreed() -> None:
    url = "https://elsewhere.example/v1"
    with keys.sent_to([url]):
        Pool([url, "http://127.0.0.1:8000/v1"], key=KEY, clock=RealClock())
    with keys.sent_to([]):
        Pool([url], clock=RealClock())
        with pytest.raises(RecipeError, match="nobody has agreed to send a key to https://else"):
            Pool([url], key=KEY, clock=RealClock())
    Pool([url], key=KEY, limits=Limits(), clock=RealClock())
