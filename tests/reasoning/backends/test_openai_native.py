"""SGLang's /generate, by a fake after its source: token ids where /completions has none."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator, Mapping
from typing import Any, TypeVar

import numpy as np
import pytest

from reasoning.backends.openai import OpenAI, openai
from reasoning.backends.openai.native import Said
from reasoning.generate import Prompt, Sampling
from reasoning.problem import Problem
from reasoning.testing.http_model import END, Writing, decode, encode, logprob
from reasoning.testing.http_server import VLLM, Served, serving
from reasoning.tree import RolloutTree, Sample

T = TypeVar("T")
PROBLEM = Problem("p", "What is 3 + 4?")


def run(main: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(asyncio.wait_for(main, 120))


class Generate:
    """A server that answers /generate. `how` its streams tell: all, new, or new ids and all text.

    `asked` are the requests of searches.
    """

    def __init__(self, how: str) -> None:
        self.how = how
        self.asked: list[Mapping[str, Any]] = []

    def __call__(self, path: str, body: Mapping[str, Any]) -> Any:
        if path == "/detokenize":
            return {"text": decode(body["tokens"])}
        if path == "/v1/completions":
            text = {"text": "1", "matched_stop": None, "finish_reason": "length"}
            return {"choices": [text], "usage": {}}
        if path != "/generate":
            return None
        self.asked.append(body)
        params = body["sampling_params"]
        prompt = body.get("input_ids") or encode(body["text"])
        if not isinstance(params.get("top_k", 1), int) or params.get("top_k") == 0:
            return 400, "top_k must be -1 or at least 1"
        stop = params.get("stop") or ()
        writing = Writing(
            prompt,
            params["max_new_tokens"],
            params.get("temperature", 1.0),
            params.get("sampling_seed", 0),
            stop,
            keep_stop=bool(params.get("no_stop_trim")),
        )
        if not body.get("stream"):
            list(writing)
            return self._event(body, prompt, writing, 0, 0)
        events, size, shown = [], 0, 0
        for _ in writing:
            events.append(self._event(body, prompt, writing, size, shown))
            size, shown = len(writing.tokens), len(writing.shown)
        return [*events, "[DONE]"]

    def _event(
        self, body: Mapping[str, Any], prompt: list[int], writing: Writing, size: int, shown: int
    ) -> dict[str, Any]:
        ids, begin = writing.tokens, 0 if self.how == "all" else size
        meta: dict[str, Any] = {
            "prompt_tokens": len(prompt),
            "completion_tokens": len(ids),
            "cached_tokens": 1,
            "finish_reason": writing.finish
            and {"type": writing.finish, "matched": writing.stopped_by},
        }
        if body.get("return_logprob"):
            rows = [[logprob([*prompt, *ids[:i]], ids[i]), ids[i], None] for i in range(len(ids))]
            most = body.get("top_logprobs_num", 0)
            tops = [
                sorted(
                    ([logprob([*prompt, *ids[:i]], t), t, None] for t in range(256, END + 1)),
                    key=lambda top: -float(top[0] or 0),
                )[:most]
                for i in range(len(ids))
            ]
            meta |= {"output_token_logprobs": rows[begin:], "output_top_logprobs": tops[begin:]}
        if body.get("logprob_start_len") == 0:
            meta["input_token_logprobs"] = [
                [logprob(prompt[:i], t) if i else None, t, None] for i, t in enumerate(prompt)
            ]
        text = writing.shown[shown:] if self.how == "new" else writing.shown
        return {"text": text, "output_ids": ids[begin:], "meta_info": meta}


@pytest.fixture(params=["all", "new", "new ids"])
def sglang(request: pytest.FixtureRequest) -> Iterator[tuple[Served, Generate]]:
    with serving(VLLM) as server:
        server.answers = generate = Generate(request.param)
        yield server, generate


async def draw(generator: OpenAI, **params: Any) -> Sample:
    prompt = Prompt(PROBLEM, RolloutTree("p").root, 0)
    sampling = Sampling(**{"max_tokens": 24, **params})
    return await generator.generate(prompt, sampling, seed=2**40 + 5, meter=lambda _: None)


def test_token_ids_go_in_and_out(sglang: tuple[Served, Generate]) -> None:
    server, generate = sglang
    generator = openai(base_url=server.url)
    able = run(generator.abilities())
    assert (able.mode, able.native, able.stops, able.scores) == ("tokens", True, True, True)
    assert run(generator.describe())["paths"].startswith("token ids to /generate")
    with serving(VLLM) as vllm:
        other = openai(base_url=vllm.url)
        for stop in ((), ("o",)):
            mine = run(draw(generator, top_logprobs=2, temperature=0.0, stop=stop))
            theirs = run(draw(other, top_logprobs=2, temperature=0.0, stop=stop))
            assert (mine.text, mine.token_ids) == (theirs.text, theirs.token_ids)
            assert mine.finish == theirs.finish
            assert mine.top_logprobs is not None
            assert theirs.top_logprobs is not None
            np.testing.assert_allclose(mine.logprobs, theirs.logprobs)
            np.testing.assert_allclose(mine.top_logprobs.logprobs, theirs.top_logprobs.logprobs)
    params = generate.asked[-1]["sampling_params"]
    assert params["top_k"] == -1
    assert params["no_stop_trim"] is True
    sample = run(draw(generator))
    assert generate.asked[-1]["sampling_params"]["sampling_seed"] == 5
    assert sample.prompt_tokens == len(generate.asked[-1]["input_ids"])
    assert sample.cached_tokens == 1


def test_given_text_is_scored(sglang: tuple[Served, Generate]) -> None:
    server, _ = sglang
    ids = tuple(encode("seven."))
    prompt = Prompt(PROBLEM, RolloutTree("p").root, 0)
    values = []
    for url in (server.url, None):
        with serving(VLLM) as vllm:
            generator = openai(base_url=url or vllm.url)
            work = generator.score_text(
                prompt, Sample("seven.", token_ids=ids), question=True, meter=lambda _: None
            )
            values.append(run(work))
    np.testing.assert_allclose(values[0], values[1])


def test_text_that_is_held_back_is_said_once() -> None:
    said, texts = Said(), []
    for size, text in ((1, "a"), (2, "ab"), (3, "ab"), (4, "a"), (5, "abcd")):
        meta = {"completion_tokens": size}
        event = said.event({"text": text, "output_ids": list(range(size)), "meta_info": meta})
        texts.append(event["choices"][0]["text"])
    assert "".join(texts) == "abcd"
