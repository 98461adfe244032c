"""The embedded model as a generator: determinism, what ends a call, reading text back."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from reasoning.backends.nano import WEIGHTS, Nano, nano
from reasoning.errors import GenerationError, RecipeError
from reasoning.generate import Prompt, Sampling
from reasoning.problem import Problem
from reasoning.tree import RolloutTree, Sample
from tests.reasoning.backends.loops import run, together


@pytest.fixture(scope="module")
def model(folder: Path) -> Iterator[Nano]:
    """A generator whose cache is warm with whatever other tests left there."""
    generator = Nano(folder)
    yield generator
    generator.close()


def prompt(message: str, *before: Sample) -> Prompt:
    """What continues `message` after the samples `before`."""
    tree = RolloutTree("p")
    node = tree.root
    for sample in before:
        node = tree.add(node, 0, sample)
    return Prompt(Problem("p", message), node, 0)


def ignore(_: int) -> None:
    """A meter for tests about something else."""


def ask(
    model: Nano,
    message: str,
    *before: Sample,
    seed: int = 0,
    meter: Callable[[int], None] = ignore,
    **params: Any,
) -> Coroutine[Any, Any, Sample]:
    params = {"max_tokens": 20, **params}
    return model.generate(prompt(message, *before), Sampling(**params), seed=seed, meter=meter)


def content(sample: Sample) -> tuple[Any, ...]:
    """All that must not depend on the circumstances, exactly."""
    assert sample.logprobs is not None
    assert sample.token_ids is not None
    return sample.text, tuple(sample.token_ids), sample.logprobs.tobytes(), sample.finish


# --- determinism -------------------------------------------------------------------


def test_a_seed_gives_the_same_tokens_and_logprobs_alone_and_in_company(folder: Path) -> None:
    rng = np.random.default_rng(0)
    calls: list[dict[str, Any]] = [
        {
            "message": "Ann has 3 apples." * int(rng.integers(1, 4)) + str(seed % 7),
            "seed": seed,
            "max_tokens": int(rng.integers(1, 25)),
            "temperature": float(rng.choice([0, 0.5, 1.0])),
            "top_p": float(rng.choice([0.9, 1.0])),
            "stop": ((), ("a",))[seed % 2],
        }
        for seed in range(200)
    ]

    async def crowd() -> list[Sample]:
        order = rng.permutation(len(calls))
        samples = await together(*(ask(busy, **calls[i]) for i in order))
        return [sample for _, sample in sorted(zip(order, samples, strict=True))]

    async def alone() -> list[Sample]:
        return [await ask(lonely, **call) for call in calls]

    busy, lonely = Nano(folder, max_batch=48), Nano(folder, max_batch=1, cache_tokens=0)
    for one, other in zip(run(crowd()), run(alone()), strict=True):
        assert content(one) == content(other)


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_a_cached_prefix_changes_nothing(folder: Path, temperature: float) -> None:
    async def main() -> None:
        for seed in range(10):
            first = await ask(warm, "The answer", seed=seed, max_tokens=15)
            again: dict[str, Any] = {"seed": seed + 100, "temperature": temperature}
            hit = await ask(warm, "The answer", first, **again)
            miss = await ask(cold, "The answer", first, **again)
            assert content(hit) == content(miss)
            if first.finish == "length":
                assert hit.cached_tokens == hit.prompt_tokens - 1
            assert miss.cached_tokens == 0

    warm, cold = Nano(folder), Nano(folder, cache_tokens=0)
    run(main())


def test_greedy_steps_spell_the_uninterrupted_text(model: Nano) -> None:
    async def main() -> None:
        whole = await ask(model, "Then", temperature=0, max_tokens=30)
        steps: list[Sample] = []
        for _ in range(10):
            steps.append(await ask(model, "Then", *steps, temperature=0, max_tokens=3))
        assert [i for step in steps for i in step.token_ids or ()] == list(whole.token_ids or ())
        assert whole.logprobs is not None
        joined = np.concatenate([s.logprobs for s in steps if s.logprobs is not None])
        np.testing.assert_array_equal(joined, whole.logprobs)

    run(main())


def test_a_long_prompt_is_computed_in_chunks_with_the_same_result(
    checkpoint: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = checkpoint(context=512)
    message = "Ann has 3 apples. " * 40
    whole = run(ask(Nano(folder), message))
    monkeypatch.setattr("reasoning.backends.nano.engine.PREFILL", 7)
    assert content(run(ask(Nano(folder), message))) == content(whole)


def test_text_stands_in_for_unknown_tokens(model: Nano) -> None:
    text = "The answer is 42.\n\n"
    tokens = model.text.encode(text)
    by_text = ask(model, "user", Sample(text, token_ids=None))
    by_tokens = ask(model, "user", Sample(text, token_ids=tokens))
    assert content(run(by_text)) == content(run(by_tokens))


def test_reading_gives_the_logprobs_of_writing(model: Nano) -> None:
    async def main() -> None:
        read: list[int] = []
        first = await ask(model, "Then", seed=1)
        for before in ((), (first,)):
            sample = await ask(model, "Then", *before, seed=2)
            at = prompt("Then", *before)
            again = await model.score_text(at, sample, question=True, meter=read.append)
            assert sample.logprobs is not None
            np.testing.assert_array_equal(again, sample.logprobs)
            unasked = await model.score_text(at, sample, question=False, meter=read.append)
            assert unasked.shape == again.shape
            assert not np.array_equal(unasked, again)
            tokens = sample.generated_tokens
            path = sum(s.generated_tokens for s in before)
            assert read == [sample.prompt_tokens + tokens, 1 + path + tokens]
            read.clear()
        nothing = await model.score_text(at, Sample("", ()), question=True, meter=ignore)
        assert nothing.shape == (0,)
        with pytest.raises(GenerationError, match=r"have 7\d\d tokens; the model's context is 256"):
            await model.score_text(at, Sample("", (5,) * 700), question=True, meter=ignore)

    run(main())


def test_readers_and_writers_share_a_batch(folder: Path) -> None:
    generator = Nano(folder)

    async def main() -> None:
        samples = await together(*(ask(generator, "a", seed=i) for i in range(10)))
        reads = [generator.score_text(prompt("a"), s, question=True, meter=ignore) for s in samples]
        writes = [ask(generator, "a", seed=i) for i in range(10)]
        mixed: list[Any] = await together(
            *(c for pair in zip(reads, writes, strict=True) for c in pair)
        )
        for sample, read, written in zip(samples, mixed[::2], mixed[1::2], strict=True):
            np.testing.assert_array_equal(read, sample.logprobs)
            assert content(written) == content(sample)

    run(main())


@pytest.mark.parametrize("where", ["question", "path"])
def test_what_is_not_text_is_an_error_of_the_call(model: Nano, where: str) -> None:
    before = [Sample("\ud800", None)] if where == "path" else []
    with pytest.raises(GenerationError, match="surrogates not allowed"):
        run(ask(model, "a" if before else "\ud800", *before))


def test_a_folder_without_a_checkpoint_is_named(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=rf"{tmp_path} holds no usable checkpoint \(FileNotFound"):
        nano(path=tmp_path)
    with pytest.raises(RecipeError, match="max_batch is 0"):
        nano(max_batch=0)
    with pytest.raises(RecipeError, match="cache_tokens is -1"):
        nano(cache_tokens=-1)


def test_two_event_loops_share_the_engine(model: Nano) -> None:
    async def main(first: int) -> list[Sample]:
        return await together(*(ask(model, "Then", seed=first + i) for i in range(20)))

    with ThreadPoolExecutor(2) as pool:
        halves = list(pool.map(lambda first: run(main(first)), (0, 20)))
    again = run(together(*(ask(model, "Then", seed=i) for i in range(40))))
    assert [content(s) for half in halves for s in half] == [content(s) for s in again]


# --- what ends a call --------------------------------------------------------------


def test_a_stop_string_ends_with_the_token_that_completes_it(model: Nano) -> None:
    async def main() -> int:
        checked = 0
        for seed in range(30):
            free = await ask(model, "user", seed=seed, max_tokens=40)
            pieces = [model.text.piece(token) for token in free.token_ids or ()]
            data = b"".join(pieces)
            for begin in range(0, len(data) - 3, 5):
                stop = data[begin : begin + 3]
                if not stop.isascii():
                    continue
                ends = np.cumsum([len(piece) for piece in pieces])
                tokens = int(np.searchsorted(ends, data.find(stop) + 3)) + 1
                got = await ask(model, "user", seed=seed, max_tokens=40, stop=(stop.decode(), "ʘ"))
                assert got.token_ids == (free.token_ids or ())[:tokens]
                assert got.text == model.text.decode(got.token_ids or ())
                last = got.token_ids == free.token_ids and free.finish == "end"
                assert got.finish == ("end" if last else "stop")
                checked += 1
        return checked

    assert run(main()) > 30


def test_the_end_token_is_counted_and_has_no_text(model: Nano) -> None:
    async def main() -> list[Sample]:
        return await together(
            *(ask(model, "a", seed=i, max_tokens=100, temperature=2.0) for i in range(60))
        )

    ended = [sample for sample in run(main()) if sample.finish == "end"]
    assert ended
    for sample in ended:
        assert sample.token_ids is not None
        assert sample.token_ids[-1] == model.text.token("<|im_end|>")
        assert sample.text == model.text.decode(sample.token_ids[:-1])
        assert sample.generated_tokens == len(sample.token_ids)


def test_a_full_context_ends_a_call_and_a_longer_prompt_is_an_error(model: Nano) -> None:
    filler = Sample("x", token_ids=(5,) * 240)

    async def main() -> None:
        sample = await ask(model, "", filler, max_tokens=1000, temperature=0)
        assert sample.prompt_tokens + sample.generated_tokens == model.context == 256
        assert sample.finish == "length"
        with pytest.raises(GenerationError, match=r"has 4\d\d tokens; the model's context of 256"):
            await ask(model, "", filler, filler)

    run(main())


def test_confidence_is_given_when_asked_for(model: Nano) -> None:
    plain, asked = run(ask(model, "é")), run(ask(model, "é", confidence_k=3))
    assert plain.confidence is None
    assert asked.confidence is not None
    assert asked.logprobs is not None
    assert content(plain) == content(asked)
    assert asked.confidence.shape == asked.logprobs.shape
    assert (asked.confidence > 0).all()


@pytest.mark.skipif(not WEIGHTS.exists(), reason="the checkpoint is not there")
def test_the_shipped_model_answers_and_ends() -> None:
    model = nano()
    sample = run(ask(model, "What is 12 + 5?", temperature=0, max_tokens=100))
    assert sample.finish == "end"
    assert r"\boxed{" in sample.text
    model.close()
