"""The generator for OpenAI-compatible servers, on a real server that does as it is told."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, TypeVar

import numpy as np
import pytest

from reasoning.backends.openai import Limits, OpenAI, openai
from reasoning.errors import EngineError, GenerationError, RecipeError, TransientError
from reasoning.generate import Generator, Prompt, Sampling
from reasoning.problem import Problem
from reasoning.search import Search
from reasoning.testing import http_model
from reasoning.testing.hand_clock import HastyClock
from reasoning.testing.http_server import (
    CHAT,
    PLAIN_CHAT,
    TEXT,
    VLLM,
    Call,
    Flavour,
    Served,
    serving,
)
from reasoning.tree import Node, RolloutTree, Sample

T = TypeVar("T")
PROBLEM = Problem("p", "What is 3 + 4?", system="Be brief.")
PARAMS = Sampling(max_tokens=32)


@pytest.fixture
def server() -> Iterator[Served]:
    with serving() as server:
        yield server


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run on a fresh loop; a hang fails instead of blocking the suite."""
    return asyncio.run(asyncio.wait_for(main, 120))


class Meter:
    """Adds up what it is told."""

    def __init__(self) -> None:
        self.total = 0

    def __call__(self, tokens: int) -> None:
        self.total += tokens


async def draw(
    generator: Generator,
    params: Sampling = PARAMS,
    *,
    seed: int = 1,
    parent: Node | None = None,
    meter: Callable[[int], None] = lambda _: None,
    problem: Problem = PROBLEM,
) -> Sample:
    prompt = Prompt(problem, parent or RolloutTree("p").root, 0)
    return await generator.generate(prompt, params, seed=seed, meter=meter)


def question_ids() -> list[int]:
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "What is 3 + 4?"},
    ]
    return http_model.encode(http_model.chat(messages, open_ended=False))


def expected(seed: int, params: Sampling = PARAMS) -> http_model.Writing:
    """What the model writes, straight from it."""
    writing = http_model.Writing(
        question_ids(), params.max_tokens, params.temperature, seed, params.stop
    )
    list(writing)
    return writing


@pytest.mark.parametrize(
    ("flavour", "mode", "continues", "stops"),
    [
        (VLLM, "tokens", True, True),
        (TEXT, "text", True, False),
        (CHAT, "chat", True, True),
        (PLAIN_CHAT, "chat", False, False),
        (Flavour(tokens=False), "chat", True, True),
        (Flavour(tokens=False, continues=False), "chat", False, True),
        (Flavour(tokens=False, chat=False, extended=False), "text", True, False),
    ],
)
def test_what_a_server_can_do_is_found_out_by_asking(
    flavour: Flavour, mode: str, continues: bool, stops: bool
) -> None:
    with serving(flavour) as server:
        able = run(openai(base_url=server.url).abilities())
        assert (able.mode, able.continues, able.stops) == (mode, continues, stops)
        assert able.streams
        assert able.logprobs
        assert able.context == 100_000
        assert server.counts["connections"] == 2  # two seeds are tried at once
        assert not server.counts["calls"]


def test_it_is_found_out_once(server: Served) -> None:
    generator = openai(base_url=server.url)

    async def many() -> None:
        async with asyncio.TaskGroup() as group:
            for seed in range(20):
                group.create_task(draw(generator, seed=seed))

    run(many())
    before = server.counts["requests"]
    run(draw(generator))
    assert server.counts["requests"] == before + 1


@pytest.mark.parametrize("flavour", [VLLM, TEXT, CHAT], ids=["tokens", "text", "chat"])
def test_a_sample_says_what_the_model_said(flavour: Flavour) -> None:
    with serving(flavour) as server:
        generator = openai(base_url=server.url)
        params = Sampling(max_tokens=32, confidence_k=3)
        sample = run(draw(generator, params, seed=5))
        if flavour is TEXT:  # the question is plain text there, so another prompt
            prompt = http_model.encode("Be brief.What is 3 + 4?")
            writing = http_model.Writing(prompt, 32, 1.0, 5)
            list(writing)
        else:
            writing = expected(5)
            prompt = question_ids()
        assert sample.text == http_model.decode(writing.tokens)
        assert sample.finish == {"stop": "end", "length": "length"}[str(writing.finish)]
        assert sample.generated_tokens == len(writing.tokens)
        assert sample.prompt_tokens == len(prompt)
        assert sample.token_ids == (tuple(writing.tokens) if flavour is VLLM else None)
        known = [*prompt, *writing.tokens]
        logprobs = [http_model.logprob(known[:i], known[i]) for i in range(len(prompt), len(known))]
        assert sample.logprobs is not None
        np.testing.assert_allclose(sample.logprobs, logprobs, rtol=1e-5)
        assert sample.confidence is not None
        first = sorted(http_model.following(tuple(prompt[-3:])).values())[-3:]
        assert sample.confidence[0] == pytest.approx(-np.mean(first), rel=1e-5)
        assert sample.info is None


@pytest.mark.parametrize("flavour", [VLLM, TEXT, CHAT], ids=["tokens", "text", "chat"])
@pytest.mark.parametrize("confidence_k", [0, 2])
def test_tokens_and_text_agree_at_every_stop(flavour: Flavour, confidence_k: int) -> None:
    params = Sampling(max_tokens=64, stop=("\n\n", "seven"), confidence_k=confidence_k)

    async def work(generator: OpenAI) -> set[str]:
        ends = set()
        for seed in range(40):
            sample = await draw(generator, params, seed=seed)
            if sample.finish == "stop":
                ends.add(sample.text[-6:])
            if sample.token_ids is not None:
                assert http_model.decode(sample.token_ids) == sample.text
                assert list(sample.token_ids) == expected(seed, params).tokens
        return ends

    with serving(flavour) as server:
        ends = run(work(openai(base_url=server.url)))
        assert any(end.endswith("seven") for end in ends)
        assert any(end.endswith("\n\n") for end in ends)
        # Some tokens go on behind the stop string; with token ids all of the token is kept.
        assert any(end.endswith("So ") for end in ends) == (flavour is VLLM)


def test_a_path_is_resubmitted_as_its_own_tokens(server: Served) -> None:
    generator = openai(base_url=server.url)

    async def work() -> None:
        tree = RolloutTree("p")
        first = await draw(generator, Sampling(max_tokens=9))
        node = tree.add(tree.root, 0, first)
        again = await draw(generator, Sampling(max_tokens=9), parent=node)
        assert again.cached_tokens >= (again.prompt_tokens - 1) // 8 * 8 - 8
        assert first.token_ids is not None
        assert server.seen[-1].body["prompt"] == [*question_ids(), *first.token_ids]

    run(work())


def test_a_chat_goes_on_with_the_message_begun() -> None:
    with serving(CHAT) as server:
        generator = openai(base_url=server.url)

        async def work() -> None:
            tree = RolloutTree("p")
            whole = expected(3, Sampling(max_tokens=20, temperature=0))
            node = tree.add(tree.root, 0, Sample(http_model.decode(whole.tokens[:8])))
            sample = await draw(generator, Sampling(max_tokens=12, temperature=0), parent=node)
            assert sample.text == http_model.decode(whole.tokens[8:])
            assert "seed" not in server.seen[-1].body  # temperature 0

        run(work())


def test_where_answers_cannot_be_continued_whole_solutions_still_work() -> None:
    with serving(PLAIN_CHAT) as server:
        generator = openai(base_url=server.url)

        async def work() -> None:
            tree = RolloutTree("p")
            node = tree.add(tree.root, 0, await draw(generator))
            with pytest.raises(RecipeError, match=r"whole solutions.*vLLM.*template"):
                await draw(generator, parent=node)

        run(work())


def test_a_template_makes_text_of_a_chat() -> None:
    flavour = Flavour(tokens=False, continues=False)
    with serving(flavour) as server:
        template = "<{system}|{prompt}>"
        generator = openai(base_url=server.url, template=template)
        sample = run(draw(generator))
        assert sample.token_ids is None
        assert server.seen[-1].body["prompt"] == "<Be brief.|What is 3 + 4?>"


def test_the_likelihood_of_given_text(server: Served) -> None:
    async def work(generator: OpenAI, flavour: Flavour) -> None:
        tree, meter = RolloutTree("p"), Meter()
        first = await draw(generator, Sampling(max_tokens=8))
        second = await draw(generator, Sampling(max_tokens=8), parent=tree.add(tree.root, 0, first))
        prompt = Prompt(PROBLEM, tree[(0,)], 0)
        known = await generator.score_text(prompt, second, question=True, meter=meter)
        np.testing.assert_allclose(known, second.logprobs, rtol=1e-5)
        assert meter.total >= second.prompt_tokens + 8
        asked = await generator.score_text(prompt, second, question=False, meter=meter)
        assert len(asked) == 8
        np.testing.assert_allclose(asked[3:], known[3:], rtol=1e-5)  # three tokens are the context
        alone = Prompt(PROBLEM, tree.root, 0)
        asked = await generator.score_text(alone, first, question=False, meter=meter)
        assert asked[0] == 0

    run(work(openai(base_url=server.url), VLLM))
    with serving(Flavour(tokens=False, chat=False)) as text:
        run(work(openai(base_url=text.url), TEXT))


def test_a_server_that_cannot_read_text_says_so() -> None:
    with serving(CHAT) as server:
        generator = openai(base_url=server.url)
        prompt = Prompt(PROBLEM, RolloutTree("p").root, 0)
        with pytest.raises(RecipeError, match="does not tell how likely"):
            run(generator.score_text(prompt, Sample("x"), question=True, meter=print))


def test_what_a_server_does_not_know_is_refused_by_name() -> None:
    with serving(TEXT) as server:
        generator = openai(base_url=server.url)
        with pytest.raises(RecipeError, match=r"top_k is 5.*leave it at 0"):
            run(draw(generator, Sampling(max_tokens=8, top_k=5)))
    with serving(Flavour(logprobs=False)) as server:
        generator = openai(base_url=server.url)
        with pytest.raises(RecipeError, match="confidence_k"):
            run(draw(generator, Sampling(max_tokens=8, confidence_k=5)))
        assert run(draw(generator)).logprobs is None


def test_requests_carry_what_was_asked_for(server: Served) -> None:
    extra = {"chat_template_kwargs": {"enable_thinking": False}}
    generator = openai(base_url=server.url, priority=True, extra=extra)
    tree = RolloutTree("p")
    node = tree.add(tree.root, 0, Sample("x", token_ids=(120,), generated_tokens=1))
    params = Sampling(max_tokens=7, temperature=0.5, top_p=0.9, top_k=4, stop=("!",))
    run(draw(generator, params, seed=2**62 + 1, parent=node))
    body = server.seen[-1].body
    assert body["priority"] < 0
    for name, value in {
        "max_tokens": 7, "temperature": 0.5, "top_p": 0.9, "top_k": 4, "stop": ["!"],
        "seed": 2**62 + 1, "include_stop_str_in_output": True, **extra,
    }.items():  # fmt: skip
        assert body[name] == value


def test_a_cancelled_call_stops_the_server_and_is_paid_for(server: Served) -> None:
    server.fault = lambda call: "hold"
    generator, meter = openai(base_url=server.url), Meter()

    async def work() -> None:
        await generator.abilities()
        call = asyncio.ensure_future(draw(generator, meter=meter))
        await asyncio.to_thread(server.wait_until, lambda counts: counts["holding"] == 1)
        await asyncio.to_thread(lambda: None)  # a turn of the loop: what was sent is read
        call.cancel()
        await asyncio.wait([call])
        assert call.cancelled()
        await asyncio.to_thread(server.wait_until, lambda counts: counts["cancelled"] == 1)

    run(work())
    assert meter.total == 3


def test_a_call_cancelled_in_line_gives_its_place_back(server: Served) -> None:
    server.fault = lambda call: "hang" if call.number < 2 else None
    generator = openai(base_url=server.url, max_in_flight=2)

    async def work() -> None:
        await generator.abilities()
        calls = [asyncio.ensure_future(draw(generator, seed=i)) for i in range(8)]
        await asyncio.to_thread(server.wait_until, lambda counts: counts["hanging"] == 2)
        for call in calls[:5]:
            call.cancel()
        await asyncio.wait(calls)
        assert [call.cancelled() for call in calls] == [True] * 5 + [False] * 3
        assert server.counts["calls"] == 5

    run(work())


def test_calls_in_flight_never_pass_the_limit(server: Served) -> None:
    generator = openai(base_url=server.url, max_in_flight=3)

    async def work() -> None:
        async with asyncio.TaskGroup() as group:
            for seed in range(50):
                group.create_task(draw(generator, seed=seed))

    run(work())
    assert server.counts["connections"] <= 3


def test_a_thousand_calls_to_a_host_name(server: Served) -> None:
    server_name = server.url.replace("127.0.0.1", "localhost")
    generator = openai(base_url=server_name)

    async def work() -> int:
        params = Sampling(max_tokens=2)
        async with asyncio.TaskGroup() as group:
            calls = [group.create_task(draw(generator, params, seed=i)) for i in range(1000)]
        assert generator.pool.connections_made == server.counts["connections"]
        return sum(call.result().generated_tokens for call in calls)

    assert 1000 <= run(work()) <= 2000
    assert server.counts["connections"] <= 512


def test_the_key_is_sent_and_shown_to_nobody(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("MY_KEY", "sk-secret-123")
    with serving(key="sk-secret-123") as server:
        generator = openai(base_url=server.url, api_key_env="MY_KEY")
        run(draw(generator))
        assert server.seen[-1].headers["authorization"] == "Bearer sk-secret-123"
        assert "sk-secret" not in repr(vars(generator)) + generator.version
        described = json.dumps(run(generator.describe()) | {})
        server.key = "another"  # what it answers now quotes the key
        with pytest.raises(EngineError, match=r"401.*\*\*\*.*api_key_env") as caught:
            run(draw(openai(base_url=server.url, api_key_env="MY_KEY")))
    assert "sk-secret" not in described + str(caught.value) + caplog.text


def test_without_the_key_one_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with serving(key="k") as server, pytest.raises(EngineError, match="401"):
        run(draw(openai(base_url=server.url)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"base_url": "http://user:pw@host/v1"}, "password"),
        ({"base_url": "http://host/v1?key=x"}, "query"),
        ({"base_url": "host:8000"}, "http://HOST:PORT/v1"),
        ({"base_url": []}, "empty list"),
        ({"base_url": "http://h/v1", "template": "x"}, r"\{prompt\}"),
    ],
)
def test_mistakes_in_a_recipe_are_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError, match=message) as caught:
        openai(**options)
    assert "pw" not in str(caught.value)


def test_an_unknown_model_is_named_with_the_known_ones(server: Served) -> None:
    generator = openai(base_url=server.url, model="nonesuch")
    with pytest.raises(RecipeError, match=r"'nonesuch' \(its models: toy\)"):
        run(draw(generator))


def test_token_ids_that_the_server_has_not_are_refused() -> None:
    with serving(TEXT) as server, pytest.raises(RecipeError, match="leave api at auto"):
        run(draw(openai(base_url=server.url, api="tokens")))


def test_no_server_at_all_is_one_clear_error(server: Served) -> None:
    server.down()
    with pytest.raises(EngineError, match="no server can be reached"):
        run(draw(openai(base_url=server.url)))


def test_a_prompt_the_server_refuses_fails_its_node_only(server: Served) -> None:
    generator = OpenAI([server.url])
    run(generator.abilities())
    generator._extra["max_tokens"] = 0
    with pytest.raises(GenerationError, match="400: max_tokens must be at least 1, got 0"):
        run(draw(generator))


def test_many_loops_and_no_loose_ends(server: Served) -> None:
    generator = openai(base_url=server.url)
    for seed in range(5):
        run(draw(generator, seed=seed))
    assert server.counts["connections"] == 6  # two at first, for two seeds at once
    run(generator.aclose())


def fail_first(fault: Any, count: int = 1, begin: int = 0) -> Callable[[Call], Any]:
    return lambda call: fault if call.number < begin + count else None


@pytest.mark.parametrize("fault", ["500", "not json", "not an answer"])
def test_what_may_pass_is_worth_another_try(server: Served, fault: Any) -> None:
    server.fault = fail_first(fault)
    with pytest.raises(TransientError):
        run(draw(openai(base_url=server.url)))
    assert server.counts["calls"] == 1


def test_a_connection_closed_while_idle_is_replaced_at_once(server: Served) -> None:
    """The server closes it just when it is used; on a new one that does not pass for bad luck."""
    generator = openai(base_url=server.url)
    server.fault = fail_first("reset")
    run(draw(generator))
    assert server.counts["calls"] == 2
    server.fault = lambda call: "reset"
    with pytest.raises(TransientError, match="broke unanswered"):
        run(draw(generator))
    assert server.counts["calls"] == 3


def greedy(server: Served, fault: Any) -> tuple[OpenAI, int]:
    """A generator whose next call meets the fault, and that call's number.

    The seed means nothing at temperature 0; by it the server knows a call from a probe.
    """
    generator = OpenAI([server.url])
    generator._extra["seed"] = 1
    run(generator.abilities())
    number = server.counts["calls"]
    server.fault = fail_first(fault, begin=number)
    return generator, number


@pytest.mark.parametrize("fault", ["half", "stop short"])
def test_a_broken_stream_of_tokens_is_taken_up_where_it_broke(server: Served, fault: Any) -> None:
    generator, number = greedy(server, fault)
    meter, params = Meter(), Sampling(max_tokens=32, temperature=0.0)
    whole = expected(1, params)
    sample = run(draw(generator, params, meter=meter))
    assert sample.text == http_model.decode(whole.tokens)
    assert sample.token_ids == tuple(whole.tokens)
    assert sample.logprobs is not None
    assert len(sample.logprobs) == sample.generated_tokens == meter.total
    assert sample.info is None
    again = server.seen[number + 1].body
    assert again["prompt"] == [*question_ids(), *whole.tokens[:4]]
    assert again["max_tokens"] == 28


def test_a_stop_string_across_the_break_is_found(server: Served) -> None:
    generator, number = greedy(server, "half")
    params = Sampling(max_tokens=32, temperature=0.0)
    strings = [http_model.decode([token]) for token in expected(1, params).tokens]
    whole, border = "".join(strings), len("".join(strings[:4]))
    stop = whole[border - 2 : border + 2]
    assert whole.find(stop) == border - 2
    sample = run(draw(generator, Sampling(max_tokens=32, temperature=0.0, stop=(stop,))))
    assert server.counts["calls"] == number + 2
    assert sample.finish == "stop"
    assert sample.text == "".join(strings[:5])
    assert sample.token_ids == tuple(expected(1, params).tokens[:5])


def test_a_stop_string_across_the_break_that_cannot_be_cut_is_a_failed_try(server: Served) -> None:
    """With confidences asked for, tokens come without their text."""
    generator, _ = greedy(server, "half")
    strings = [http_model.decode([t]) for t in expected(1, Sampling(32, 0.0)).tokens]
    border = len("".join(strings[:4]))
    stop = "".join(strings)[border - 2 : border + 2]
    params = Sampling(max_tokens=32, temperature=0.0, stop=(stop,), confidence_k=5)
    with pytest.raises(TransientError, match="where the stream had broken"):
        run(draw(generator, params))


@pytest.mark.parametrize("failures", [1, 3, 4])
def test_what_has_come_survives_a_failed_try_to_take_it_up(server: Served, failures: int) -> None:
    faults = ["half", *["500"] * failures]
    meter = Meter()
    generator = OpenAI([server.url], "toy", clock=HastyClock(), limits=Limits(timeout=1e9))

    async def work() -> Sample:
        await generator.abilities()
        server.fault = lambda call: faults.pop(0) if faults else None
        return await draw(generator, meter=meter)

    if failures == 4:
        with pytest.raises(TransientError, match="500"):
            run(work())
        assert meter.total == 4
    else:
        sample = run(work())
        begun = tuple(expected(1).tokens[:4])
        assert sample.token_ids is not None
        assert sample.token_ids[:4] == begun
        assert meter.total == sample.generated_tokens > 4
        assert server.seen[-1].body["prompt"] == [*question_ids(), *begun]
    assert not faults


def test_a_broken_stream_of_text_is_a_failed_try(server: Served) -> None:
    with serving(CHAT) as server:
        server.fault = fail_first("half")
        generator, meter = openai(base_url=server.url), Meter()
        with pytest.raises(TransientError, match="broke"):
            run(draw(generator, meter=meter))
        assert meter.total == 4


def test_truncated_logprobs_are_left_out(server: Served) -> None:
    server.fault = lambda call: "short logprobs"
    sample = run(draw(openai(base_url=server.url)))
    assert sample.logprobs is None
    assert sample.token_ids == tuple(expected(1).tokens)


def test_token_ids_count_whatever_the_server_announces(server: Served) -> None:
    server.fault = lambda call: "wrong count"
    meter = Meter()
    sample = run(draw(openai(base_url=server.url), meter=meter))
    assert sample.generated_tokens == len(sample.token_ids or ()) == meter.total
    assert sample.info == {"announced_tokens": meter.total + 5}


def test_an_answer_that_comes_byte_by_byte(server: Served) -> None:
    server.fault = lambda call: "drip"
    sample = run(draw(openai(base_url=server.url)))
    assert sample.token_ids == tuple(expected(1).tokens)


def test_it_gets_ready_before_any_call(server: Served) -> None:
    generator = openai(base_url=server.url)

    async def work() -> None:
        await generator.astart()  # type: ignore[attr-defined]
        before = server.counts["requests"]
        await generator.abilities()  # type: ignore[attr-defined]
        assert server.counts["requests"] == before

    run(work())


def test_a_model_that_thinks_is_made_to_answer(server: Served) -> None:
    kwargs = {"enable_thinking": True}
    generator = openai(
        base_url=server.url, thinking_tokens=6, thinking_end="[done]", chat_template_kwargs=kwargs
    )
    search = Search(PROBLEM, generator, sampling=Sampling(max_tokens=40))
    node = run(search.draw(search.root, until="end"))
    assert node is not None
    assert "\n[done]\n\n" in node.text
    first, second = (call.body for call in server.seen)
    assert (first["max_tokens"], first["stop"], second["max_tokens"]) == (6, ["[done]"], 34)
    mark = http_model.encode("\n[done]\n\n")
    assert second["prompt"][-len(mark) :] == mark
    assert second["chat_template_kwargs"] == kwargs
