"""/v1/chat/completions, and who may ask what of it."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from reasoning.backends.scripted import Scripted
from reasoning.clock import RealClock
from reasoning.errors import ContextError, EngineError, GenerationError, RecipeError
from reasoning.sample import Sample
from reasoning.serve.desk import Settings
from reasoning.serve.refusal import public
from reasoning.serve.running import checked

ASKED = [{"role": "user", "content": "What is 3 + 4?"}]


def ask(served: Any, body: dict[str, Any], *, headers: Any = None, **server: Any) -> Any:
    """The answer to one request of a server of its own."""

    async def work() -> Any:
        async with served(**server) as client:
            data = {"model": "sample", "messages": ASKED, **body}
            sent = {"Content-Type": "application/json", **(headers or {})}
            return await client.post("/v1/chat/completions", content=json.dumps(data), headers=sent)

    return asyncio.run(work())


def test_the_winner_comes_back_with_what_it_cost(served: Any) -> None:
    reply = ask(served, {"model": "self_consistency", "seed": 1})
    assert reply.status_code == 200
    found = reply.json()
    (choice,) = found["choices"]
    assert choice["message"]["content"] == "It is \\boxed{7}"
    assert choice["finish_reason"] == "stop"
    told = choice["search"]
    assert (told["answer"], told["confidence"], told["seed"]) == ("7", pytest.approx(2 / 3), 1)
    usage = found["usage"]
    assert usage["completion_tokens"] == usage["search"]["generated_tokens"] == 10
    assert usage["completion_tokens_details"] == {"reasoning_tokens": 7}
    assert found["model"] == "self_consistency"


def test_verifiers_the_cache_and_money_are_told_and_bounded(served: Any) -> None:
    kept = Sample("It is 7", generated_tokens=4, prompt_tokens=10, cached_tokens=6)
    judge = {"name": "judge", "generator": {"name": "nano"}, "prompt": "{question}{solution}?"}
    recipe: dict[str, Any] = {
        "strategies": [{"searcher": "best_of_n", "n": 2}],
        "verifier": judge,
        "prices": {"default": {"input": 1.0, "cached": 0.5, "output": 2.0}},
        "limits": {"money": 1.0},
    }

    def bought(**limits: Any) -> Any:
        body = {"model": "best_of_n", "reasoning": {"limits": limits}}
        return ask(served, body, generator=Scripted([kept, kept]), **recipe)

    usage = bought().json()["usage"]
    assert usage["prompt_tokens_details"] == {"cached_tokens": 12}
    assert usage["search"]["verifier_calls"] >= 1
    assert usage["search"]["verifier_tokens"] > 0
    # Twice 4 tokens in, 6 from the cache and 4 out, at so much a million.
    assert usage["search"]["money"] == pytest.approx(2 * (4 * 1.0 + 6 * 0.5 + 4 * 2.0) / 1e6)
    dearer = bought(money=2.0)
    assert (dearer.status_code, dearer.json()["error"]["param"]) == (400, "reasoning.limits.money")
    (choice,) = bought(money=1e-9).json()["choices"]
    assert choice["search"]["stop_reason"] == "money"


def test_the_conversation_and_the_sampling_reach_the_model(served: Any) -> None:
    seen: list[Any] = []

    class Seeing(Scripted):
        async def generate(self, prompt: Any, params: Any, **call: Any) -> Any:
            seen.append((prompt.messages, params))
            return await super().generate(prompt, params, **call)

    said = [
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "What is "}]},
        {"role": "assistant", "content": "What?", "reasoning_content": "hm"},
        {"role": "user", "content": "3 + 4?"},
    ]
    asked = {"messages": said, "temperature": 0.5, "top_p": 0.9, "max_completion_tokens": 9}
    reply = ask(served, asked | {"stop": ["7"], "store": True}, generator=Seeing(["It is 7 or 8"]))
    ((messages, params),) = seen
    assert [m.role for m in messages] == ["system", "user", "assistant", "user"]
    assert (params.temperature, params.top_p, params.max_tokens) == (0.5, 0.9, 9)
    assert params.stop == ("7",)
    (choice,) = reply.json()["choices"]
    assert (choice["message"]["content"], choice["finish_reason"]) == ("It is ", "stop")
    assert choice["search"]["ignored"] == ["messages[2].reasoning_content", "store"]


def test_an_answer_that_is_cut_says_so(served: Any) -> None:
    generator = Scripted(["one two three four"])
    (choice,) = ask(served, {"max_tokens": 2}, generator=generator).json()["choices"]
    assert (choice["message"]["content"], choice["finish_reason"]) == ("one two", "length")
    reply = ask(served, {"max_tokens": 99}, generator=generator, sampling={"max_tokens": 3})
    (choice,) = reply.json()["choices"]
    assert choice["message"]["content"] == "one two three"
    assert choice["search"]["notes"][0] == "max_tokens is 99; here an answer has 3 at most"


def test_thoughts_stand_apart(served: Any) -> None:
    generator = Scripted(["<think>Three and four.</think>\n\nIt is 7."])
    (choice,) = ask(served, {}, generator=generator).json()["choices"]
    assert choice["message"]["content"] == "It is 7."
    assert choice["message"]["reasoning_content"] == "Three and four."


def test_n_choices_are_n_searches(served: Any) -> None:
    def script(prompt: Any, seed: int) -> str:
        return f"It is \\boxed{{{seed % 1000}}}"

    body = {"n": 3, "seed": 5}
    found = ask(served, body, generator=Scripted(script)).json()
    texts = [c["message"]["content"] for c in found["choices"]]
    assert len(set(texts)) == 3
    assert found["usage"]["search"]["calls"] == 3
    again = ask(served, body, generator=Scripted(script)).json()
    assert texts == [c["message"]["content"] for c in again["choices"]]
    one = ask(served, {"seed": 5}, generator=Scripted(script)).json()
    assert one["choices"][0]["message"]["content"] == texts[0]


def test_without_a_seed_answers_differ(served: Any) -> None:
    generator = Scripted(lambda prompt, seed: str(seed))
    seeds = {ask(served, {}, generator=generator).text for _ in range(2)}
    assert len(seeds) == 2


REFUSED: dict[str, tuple[dict[str, Any], str, str]] = {
    "an image": (
        {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]},
        "messages[0].content",
        "reads? texts|read texts",
    ),
    "a role": ({"messages": [{"role": "critic", "content": "7"}]}, "messages[0]", "'critic'"),
    "nothing": ({"messages": []}, "messages", "one or more"),
    "an answer begun": (
        {"messages": [*ASKED, {"role": "assistant", "content": "It"}]},
        "messages",
        "assistant's message",
    ),
    "functions": ({"functions": [{"name": "f"}]}, "functions", "use tools"),
    "likely tokens of none": ({"top_logprobs": 2}, "top_logprobs", "logprobs is true"),
    "too many likely tokens": ({"logprobs": True, "top_logprobs": 21}, "top_logprobs", "to 20"),
    "too many choices": ({"n": 17}, "n", "from 1 to 16"),
    "no number": ({"n": "two"}, "n", "not a text"),
    "a temperature": ({"temperature": -1}, "temperature", "greater than or equal to 0"),
    "a text for a number": ({"temperature": "hot"}, "temperature", "it is a number"),
    "an empty stop": ({"stop": [""]}, "stop", "not empty"),
    "a schema that is none": (
        {"response_format": {"type": "json_schema", "json_schema": {"name": "x"}}},
        "response_format",
        "no schema",
    ),
    "a schema that the model cannot do": (
        {"response_format": {"type": "json_object"}},
        "response_format",
        "response_format is .* cannot do",
    ),
    "two limits": (
        {"max_tokens": 5, "max_completion_tokens": 9},
        "max_completion_tokens",
        "two names of one limit",
    ),
    "a search of the web": ({"web_search_options": {}}, "web_search_options", "not supported"),
    "what was said before": (
        {"previous_response_id": "resp_1"},
        "previous_response_id",
        "send the whole conversation",
    ),
    "a token that ends it": ({"stop_token_ids": [3]}, "stop_token_ids", "use stop"),
    "the template": (
        {"chat_template_kwargs": {"enable_thinking": False}},
        "chat_template_kwargs",
        "whoever runs this server",
    ),
    "a field of ours": ({"reasoning": {"limit": {}}}, "reasoning.limit", "did you mean 'limits'"),
    "a wider limit": (
        {"reasoning": {"limits": {"tokens": 501}}},
        "reasoning.limits.tokens",
        "at most 500",
    ),
    "a limit that is none": ({"reasoning": {"limits": {"tokens": -1}}}, "reasoning.limits", "-1"),
    "a parameter": (
        {"reasoning": {"params": {"m": 1}}},
        "reasoning.params.m",
        "unknown parameter",
    ),
    "code": (
        {"model": "self_consistency", "reasoning": {"params": {"n": "os:system"}}},
        "reasoning.params.n",
        "whoever runs this server",
    ),
    "more calls than can be lined up": (
        {"model": "self_consistency:n=1e9"},
        "reasoning.params.n",
        "n is at most 1024 here",
    ),
    "more than that in whole": (
        {"model": "self_consistency:n=1025"},
        "reasoning.params.n",
        "n is at most 1024 here",
    ),
}


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_what_cannot_be_done_is_refused(served: Any, name: str) -> None:
    body, param, why = REFUSED[name]
    generator = Scripted(["It is 7"])
    reply = ask(served, body, generator=generator, limits={"tokens": 500})
    assert reply.status_code == 400
    error = reply.json()["error"]
    assert error["type"] == "invalid_request_error"
    assert error["param"] == param
    assert __import__("re").search(why, error["message"])
    assert reply.headers["x-should-retry"] == "false"
    assert generator.calls == 0


def test_limits_are_tightened(served: Any) -> None:
    body = {"model": "self_consistency", "reasoning": {"limits": {"calls": 1}}}
    found = ask(served, body, limits={"calls": 2}).json()
    assert found["usage"]["search"]["calls"] == 1
    assert found["choices"][0]["search"]["stop_reason"] == "calls"
    assert "best so far" in found["choices"][0]["search"]["notes"][0]


def test_a_strategy_is_asked_for_with_parameters(served: Any) -> None:
    strategies = [{"searcher": "self_consistency", "n": [2, 5]}, {"searcher": "sample"}]

    def calls(body: dict[str, Any], **recipe: Any) -> Any:
        reply = ask(served, body, strategies=strategies, **recipe)
        return reply.json()["usage"]["search"]["calls"] if reply.is_success else reply.status_code

    assert calls({"model": "self_consistency-n=2"}) == 2
    assert calls({"model": "self_consistency-n=5:n=3"}) == 3
    assert calls({"model": "self_consistency:n=4"}) == 4
    assert calls({"model": "x", "reasoning": {"strategy": "self_consistency:n=4"}}) == 4
    assert calls({"model": "self_consistency-n=5", "reasoning": {"params": {"n": 1}}}) == 1
    assert calls({"model": "self_consistency:n=6"}) == 400  # nothing would bound it
    assert calls({"model": "self_consistency:n=6"}, limits={"calls": 50}) == 6
    assert calls({"model": "self_consistency:n=1024"}, limits={"calls": 7}) == 7
    assert calls({"model": "self_consistency"}) == 404  # which of the two?
    assert calls({"model": "self_consistence"}) == 404
    assert calls({"model": "self_consistency:n"}) == 404


def test_models_are_the_strategies(served: Any) -> None:
    async def work() -> Any:
        async with served() as client:
            every = (await client.get("/models")).json()
            one = (await client.get("/v1/models/self_consistency:n=2")).json()
            unknown = await client.get("/v1/models/nothing")
            health = (await client.get("/health")).json()
            nowhere = await client.get("/v1/embeddings")
            other = await client.get("/v1/chat/completions")
        return every, one, unknown, health, nowhere, other

    every, one, unknown, health, nowhere, other = asyncio.run(work())
    assert [model["id"] for model in every["data"]] == ["self_consistency-n=3", "sample"]
    assert (one["id"], one["object"]) == ("self_consistency:n=2", "model")
    assert (unknown.status_code, unknown.json()["error"]["code"]) == (404, "model_not_found")
    assert health == {"status": "ok", "searches": 0}
    assert (nowhere.status_code, nowhere.json()["error"]["code"]) == (404, "not_found")
    assert (other.status_code, other.json()["error"]["code"]) == (405, "method_not_allowed")
    assert other.headers["allow"] == "POST"


def test_a_deadline_gives_the_best_so_far(served: Any) -> None:
    generator = Scripted(["It is 7", "It is 8"], delay=lambda seed: seed % 2 * 100.0)
    seed = next(
        s
        for s in range(99)
        if 0 < _slow(s) < 3  # one of the three has come by then
    )
    body = {"model": "self_consistency", "seed": seed}
    reply = ask(served, body, generator=generator, headers={"X-Deadline-Seconds": "5"})
    (choice,) = reply.json()["choices"]
    assert choice["message"]["content"].startswith("It is ")
    assert choice["search"]["stop_reason"] == "seconds"
    assert choice["search"]["notes"] == ["limits.seconds ended the search; this is the best so far"]
    wrong = ask(served, body, headers={"X-Deadline-Seconds": "soon"})
    assert (wrong.status_code, wrong.json()["error"]["param"]) == (400, "X-Deadline-Seconds")


def test_a_deadline_keeps_what_has_been_said(served: Any) -> None:
    class Speaking(Scripted):
        async def generate(self, prompt: Any, params: Any, **call: Any) -> Any:
            prompt.hear("It is 7 and")
            await asyncio.Event().wait()

        def clock(self, problem: Any) -> Any:
            return RealClock()

    for body, headers in (
        ({"reasoning": {"limits": {"seconds": 0.02}}}, {}),
        ({"stream": True}, {"X-Deadline-Seconds": "0.02"}),
    ):
        reply = ask(served, body, generator=Speaking([""]), headers=headers)
        assert "It is 7 and" in reply.text
        assert '"finish_reason":"length"' in reply.text
        assert "limits.seconds ended the search" in reply.text


def _slow(seed: int) -> int:
    """How many of three samples are slow under a request's seed."""
    from reasoning.problem import Message
    from reasoning.seeds import fold
    from reasoning.serve.asking import _problem

    root = fold(seed, _problem([Message("user", ASKED[0]["content"])]).id)
    return sum(fold(root, slot) % 2 for slot in range(3))


def test_errors_say_no_more_than_they_must(served: Any, caplog: pytest.LogCaptureFixture) -> None:
    def failing(error: Exception) -> Any:
        return ask(served, {}, generator=Scripted([error]))

    secret = "/home/me/key.pem at http://10.1.2.3:8000/v1?key=abc of What is 3 + 4?"
    long = failing(ContextError(secret))
    assert (long.status_code, long.json()["error"]["code"]) == (400, "context_length_exceeded")
    lost = failing(GenerationError(secret))
    assert (lost.status_code, lost.json()["error"]["code"]) == (502, "generation_failed")
    gone = failing(EngineError(secret))
    assert (gone.status_code, gone.headers["retry-after"]) == (503, "30")
    wrong = failing(RecipeError(secret))
    assert wrong.status_code == 400
    bug = failing(LookupError(secret))
    assert bug.status_code in (500, 502)
    for reply in (lost, gone, wrong, bug):
        assert not [s for s in ("/home", "10.1.2.3", "abc") if s in reply.text]
    assert "3 + 4" not in caplog.text


def test_public_messages_keep_their_words() -> None:
    said = (
        "the server at http://h:1/v1 does no /x; see /etc/reasoning/keys, or ~/.cfg/a, and/or 3/4"
    )
    assert (
        public(said)
        == "the server at (private) does no /x; see (private), or (private), and/or 3/4"
    )


# ------------------------------------------------------------------------------ the door


def test_keys_are_asked_for(served: Any) -> None:
    settings = Settings(keys=("first-key", "other-key"))

    def status(header: str | None) -> int:
        headers = {} if header is None else {"Authorization": header}
        return int(ask(served, {}, headers=headers, settings=settings).status_code)

    assert [status(h) for h in (None, "Bearer nothing", "Bearer ", "first-key")] == [401] * 4
    assert [status(h) for h in ("Bearer first-key", "bearer other-key")] == [200, 200]


def test_a_server_for_others_has_keys() -> None:
    with pytest.raises(RecipeError, match="REASONING_SERVE_KEYS"):
        checked(Settings(host="0.0.0.0"))
    with pytest.raises(RecipeError, match="fewer than 8"):
        checked(Settings(keys=("short",)))
    assert checked(Settings(host="0.0.0.0", keys=("long enough",)))
    assert checked(Settings())


def test_pages_of_a_browser_are_not_let_in(served: Any) -> None:
    assert ask(served, {}, headers={"Host": "evil.example:8001"}).status_code == 403
    assert ask(served, {}, headers={"Host": "[::1]"}).status_code == 200
    plain = ask(served, {}, headers={"Content-Type": "text/plain"})
    assert plain.status_code == 415


def test_bodies_are_json_objects_and_not_too_long(served: Any) -> None:
    async def work(data: bytes) -> int:
        async with served(settings=Settings(most_body=1000)) as client:
            headers = {"Content-Type": "application/json"}
            reply = await client.post("/v1/chat/completions", content=data, headers=headers)
            assert set(reply.json()["error"]) == {"message", "type", "param", "code"}
            return int(reply.status_code)

    bodies = [b"", b"{", b"[]", b'{"a": "' + b"x" * 1000 + b'"}', b"[" * 900]
    assert [asyncio.run(work(b)) for b in bodies] == [400, 400, 400, 413, 400]


def test_a_full_server_says_when_to_come_again(served: Any) -> None:
    gate, full_house = asyncio.Event(), asyncio.Event()

    class Waiting(Scripted):
        waiting = 0

        async def generate(self, *args: Any, **call: Any) -> Any:
            self.waiting += 1
            if self.waiting == 2:
                full_house.set()
            await gate.wait()
            return await super().generate(*args, **call)

    async def work() -> Any:
        body = {"model": "sample", "messages": ASKED}
        async with served(Waiting(["7"]), Settings(most_searches=2)) as client:
            post = client.post
            async with asyncio.TaskGroup() as group:
                running = group.create_task(post("/v1/chat/completions", json={**body, "n": 2}))
                await full_house.wait()
                full = await post("/v1/chat/completions", json=body)
                gate.set()
            never = await post("/v1/chat/completions", json={**body, "n": 3})
            metrics = (await client.get("/metrics")).text
        return running.result(), full, never, metrics

    done, full, never, metrics = asyncio.run(work())
    assert (done.status_code, full.status_code, never.status_code) == (200, 429, 400)
    assert (full.headers["retry-after"], full.headers["x-should-retry"]) == ("1", "true")
    assert 'reasoning_requests_total{endpoint="chat/completions",status="429"} 1' in metrics
    assert 'reasoning_searches_total{strategy="sample",stop_reason="finished"} 2' in metrics
    assert "reasoning_searches_running 0" in metrics


def test_progress_of_a_whole_answer_is_not_told_and_said_so(served: Any) -> None:
    found = ask(served, {"reasoning": {"progress": True}}).json()
    notes = found["choices"][0]["search"]["notes"]
    assert notes == ["reasoning.progress is told in streams alone"]


def test_odd_characters_are_no_bug(served: Any) -> None:
    """Half of a surrogate pair: no engine can be asked about it, but one might say it."""
    reply = ask(served, {"\ud800": 1, "model": "\ud800"})
    assert reply.status_code == 400
    assert "half of a surrogate pair" in reply.json()["error"]["message"]
    found = ask(served, {"user": "\ud83d\ude00"}, generator=Scripted(["\ud800"])).json()
    assert found["choices"][0]["message"]["content"] == "\ud800"
