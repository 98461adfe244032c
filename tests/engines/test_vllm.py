"""The generator `vllm` on a real engine: what every generator promises, and what nano says."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from reasoning.backends.nano import WEIGHTS, Nano
from reasoning.backends.vllm import vllm
from reasoning.errors import GenerationError, RecipeError
from reasoning.generate import Prompt, Sampling
from reasoning.problem import Problem
from reasoning.search import Search
from reasoning.testing.contracts import GENERATOR_CHECKS, GeneratorCase, check_sample
from reasoning.thinking import Thinking
from reasoning.tree import Node, RolloutTree, Sample
from reasoning.wrapping import Wrapping
from tests.engines.conftest import still

PROBLEM = Problem("p", "What is 12 * 7 + 5?", gold="89")
OTHER = Problem("o", "Ann has 3 apples and buys 4 more. How many apples has she?")


def draw(
    generator: Any,
    node: Node | None = None,
    slot: int = 0,
    *,
    seed: int = 1,
    problem: Problem = PROBLEM,
    **params: Any,
) -> Sample:
    sampling = Sampling(**{"max_tokens": 64, **params})
    prompt = Prompt(problem, node or RolloutTree("p").root, slot)
    return asyncio.run(generator.generate(prompt, sampling, seed=seed, meter=lambda tokens: None))


@pytest.fixture(scope="module")
def nano() -> Iterator[Nano]:
    model = Nano()
    yield model
    model.close()


@pytest.mark.parametrize("check", GENERATOR_CHECKS, ids=lambda check: check.__name__)
def test_contract(
    engine: Any, counter: Any, nano: Nano, check: Callable[[GeneratorCase], None]
) -> None:
    case = GeneratorCase(
        make=lambda: engine,
        greedy=True,
        decode=nano.text.decode,
        produced=lambda: counter.produced,
        late=0,
        still=lambda: still(engine),
    )
    check(case)


@pytest.mark.parametrize("problem", [PROBLEM, OTHER], ids=["sum", "story"])
def test_greedily_it_says_what_nano_says(engine: Any, nano: Nano, problem: Problem) -> None:
    ours = draw(nano, temperature=0.0, max_tokens=256, problem=problem)
    theirs = draw(engine, temperature=0.0, max_tokens=256, problem=problem)
    assert (theirs.text, theirs.token_ids) == (ours.text, ours.token_ids)
    assert (theirs.finish, theirs.prompt_tokens) == (ours.finish, ours.prompt_tokens)
    assert theirs.logprobs is not None
    assert ours.logprobs is not None
    np.testing.assert_allclose(theirs.logprobs, ours.logprobs, atol=2e-4)


def test_behind_half_a_character_stops_are_not_looked_for_in_the_question(engine: Any) -> None:
    problem = Problem("p", "What is 1 + 1?\n\nSay it.")
    whole = asyncio.run(engine.encode("a 😀"))
    for cut in range(2, len(whole)):
        tree = RolloutTree("p")
        node = tree.add(tree.root, 0, Sample("a ", token_ids=tuple(whole[:cut])))
        params: dict[str, Any] = {"temperature": 0.0, "max_tokens": 20, "stop": ("\n\n",)}
        check_sample(draw(engine, node, problem=problem, **params), Sampling(**params))


def test_confidence_is_of_the_k_most_likely(engine: Any, nano: Nano) -> None:
    ours = draw(nano, temperature=0.0, confidence_k=5)
    theirs = draw(engine, temperature=0.0, confidence_k=5)
    assert theirs.confidence is not None
    assert ours.confidence is not None
    np.testing.assert_allclose(theirs.confidence, ours.confidence, rtol=1e-3)


def test_fields_do_what_they_say(engine: Any) -> None:
    greedy = draw(engine, temperature=0.0)
    assert draw(engine, temperature=2.0, top_k=1).text == greedy.text
    assert draw(engine, temperature=2.0, min_p=1.0).text == greedy.text
    assert draw(engine, temperature=0.0, repetition_penalty=5.0).text != greedy.text
    assert draw(engine, choice=("perhaps", "perhaps not")).text.startswith("perhaps")
    assert re.fullmatch(r"[0-9]{3}", draw(engine, regex="[0-9]{3}").text)
    schema = {"type": "object", "properties": {"x": {"type": "boolean"}}, "required": ["x"]}
    said = draw(engine, json_schema=schema | {"additionalProperties": False})
    assert re.match(r'\{\s*($|"x")', said.text)  # blanks are free, and nano knows little else
    assert draw(engine, min_tokens=60).generated_tokens >= 60
    (seven,) = asyncio.run(engine.encode("7"))
    for token in (seven, "7"):
        assert set(draw(engine, max_tokens=5, logit_bias={token: 100.0}).text) == {"7"}
    with pytest.raises(RecipeError, match="tokens of this model"):
        draw(engine, logit_bias={"seven apples": 1.0})


def test_the_likeliest_tokens_have_their_texts(engine: Any) -> None:
    sample = draw(engine, temperature=0.0, top_logprobs=5, confidence_k=2)
    assert sample.top_logprobs is not None
    assert sample.logprobs is not None
    assert sample.confidence is not None
    tops = sample.top_logprobs.logprobs
    np.testing.assert_allclose(tops[:, 0], sample.logprobs, atol=1e-5)
    np.testing.assert_allclose(-tops[:, :2].mean(1), sample.confidence, rtol=1e-4)
    pieces = [row[0] for row in sample.top_logprobs.texts]
    assert "".join(pieces[:-1] if sample.finish == "end" else pieces) == sample.text


@pytest.mark.parametrize("question", [True, False])
@pytest.mark.parametrize("known", [True, False], ids=["tokens", "text"])
def test_text_is_as_likely_as_nano_finds_it(
    engine: Any, nano: Nano, question: bool, known: bool
) -> None:
    tree = RolloutTree("p")
    node = tree.add(tree.root, 0, draw(nano, stop=("\n",), seed=3))
    said = draw(nano, node, seed=4, max_tokens=20)
    told = said if known else Sample(said.text)
    counts: dict[str, list[int]] = {"nano": [], "vllm": []}

    def read(generator: Any, name: str) -> Any:
        return asyncio.run(
            generator.score_text(
                Prompt(PROBLEM, node, 0), told, question=question, meter=counts[name].append
            )
        )

    ours, theirs = read(nano, "nano"), read(engine, "vllm")
    assert ours.shape == theirs.shape
    np.testing.assert_allclose(theirs, ours, atol=2e-4)
    assert sum(counts["nano"]) == sum(counts["vllm"])


def test_a_prompt_beyond_the_context_fails_its_node_alone(engine: Any) -> None:
    endless = Problem("p", "long " * 2000)
    with pytest.raises(GenerationError, match="refused the request"):
        draw(engine, problem=endless)
    assert draw(engine).generated_tokens


def test_a_full_context_ends_the_sample(engine: Any) -> None:
    room = 1024 - draw(engine).prompt_tokens
    sample = draw(engine, temperature=2.0, max_tokens=5000, seed=5)
    assert sample.finish in ("end", "length")
    assert sample.generated_tokens <= room


@pytest.mark.parametrize(
    ("params", "word"), [({"temperature": 2.5}, "temperature"), ({"top_logprobs": 21}, "20")]
)
def test_what_the_engine_cannot_sample(engine: Any, params: dict[str, Any], word: str) -> None:
    with pytest.raises(RecipeError, match=word):
        draw(engine, **params)


def test_without_a_cap_any_number_of_logprobs_is_given(in_process: dict[str, Any]) -> None:
    from reasoning.backends.vllm import Vllm

    generator = Vllm(in_process["model"], {"max_logprobs": -1})
    assert generator._sampling(Sampling(max_tokens=1, confidence_k=400), 0).logprobs == 400


def test_unknown_options_are_refused(vllm_installed: None) -> None:
    from reasoning.backends.vllm import vllm

    with pytest.raises(RecipeError, match="max_model_len"):
        vllm(model=str(WEIGHTS), max_model_length=1024)


def test_the_meter_adds_up_with_the_engines_numbers(engine: Any, counter: Any) -> None:
    reported, produced = counter.reported, counter.produced
    samples = [draw(engine, seed=seed, slot=seed, stop=("\n\n",)) for seed in range(8)]
    assert any(sample.finish == "stop" for sample in samples)
    samples.append(draw(engine, max_tokens=1))  # behind the others: they are in the numbers now
    made = sum(sample.generated_tokens for sample in samples)
    assert counter.reported - reported == made
    # A stop that is a token of its own ends the request in the core, with nothing behind it.
    assert counter.produced - produced == made


def test_siblings_and_steps_hit_the_cache(engine: Any) -> None:
    tree = RolloutTree("cached")
    problem = Problem("p", "Add up: " + " + ".join(map(str, range(60))))
    first = draw(engine, tree.root, problem=problem)
    again = draw(engine, tree.root, 1, problem=problem, seed=2)
    assert again.cached_tokens == (again.prompt_tokens - 1) // 32 * 32
    node = tree.add(tree.root, 0, first)
    ahead = draw(engine, node, problem=problem)
    # The last token's keys are not computed when a request ends.
    assert ahead.cached_tokens == (ahead.prompt_tokens - 1) // 32 * 32


def test_the_more_urgent_call_runs_first(engine: Any) -> None:
    """More calls than the engine runs at once; of those that wait, the urgent ones go first."""
    order: list[int] = []

    async def one(i: int, urgency: float | None, tokens: int) -> None:
        prompt = Prompt(PROBLEM, RolloutTree("p").root, i, urgency=urgency)
        params = Sampling(max_tokens=tokens, temperature=2.0)
        await engine.generate(prompt, params, seed=i, meter=lambda tokens: None)
        order.append(i)

    async def work() -> None:
        async with asyncio.TaskGroup() as group, still(engine):  # until all are in line
            for i in range(100, 164):  # as many as run at once
                group.create_task(one(i, 1000.0, 40))
            for i in range(16):
                group.create_task(one(i, i / 10, 1))
            while engine._engine.get_num_unfinished_requests() < 80:  # noqa: ASYNC110
                await asyncio.sleep(0)

    asyncio.run(work())
    assert [i for i in order if i < 100] == list(range(15, -1, -1))


class Thoughtful(Wrapping):
    """The engine with a budget for thinking."""

    thinking = Thinking(8)


def test_a_budget_for_thinking(engine: Any) -> None:
    plain = draw(engine, temperature=0.0, max_tokens=400)
    sampling = Sampling(max_tokens=400, temperature=0.0)
    search = Search(PROBLEM, Thoughtful(engine), sampling=sampling)
    node = asyncio.run(search.draw(search.root, until="end"))
    thought, mark, answer = search.tree
    assert node is answer
    assert plain.token_ids is not None
    assert thought.sample.token_ids == plain.token_ids[:8]
    assert mark.sample.text == "\n</think>\n\n"
    ids = asyncio.run(engine.encode(mark.sample.text))
    assert answer.sample.prompt_tokens == plain.prompt_tokens + 8 + len(ids)
    assert search.usage.generated_tokens == 8 + answer.sample.generated_tokens


def test_an_adapter_answers(in_process: dict[str, Any], tmp_path: Path) -> None:
    """As nano does with the adapter's change added to its weights."""
    from reasoning.backends.vllm import vllm

    merged = an_adapter(tmp_path)
    model = Nano(merged)
    generator = vllm(lora=str(tmp_path / "adapter"), max_lora_rank=8, **in_process)
    try:
        theirs = draw(generator, temperature=0.0, max_tokens=100)
        ours = draw(model, temperature=0.0, max_tokens=100)
    finally:
        asyncio.run(generator.aclose())
        model.close()
    assert theirs.token_ids == ours.token_ids


def an_adapter(folder: Path) -> Path:
    """Writes `adapter` and, as a checkpoint of its own, the model it makes of nano's."""
    adapter, merged = folder / "adapter", folder / "merged"
    adapter.mkdir()
    shutil.copytree(WEIGHTS, merged)
    weights = load_file(WEIGHTS / "model.safetensors")
    rng, rank, found = np.random.default_rng(0), 8, {}
    for name in [n for n in weights if n.endswith(("q_proj.weight", "down_proj.weight"))]:
        out, into = weights[name].shape
        a = rng.normal(0, 0.05, (rank, into)).astype(np.float32)
        b = rng.normal(0, 0.05, (out, rank)).astype(np.float32)
        part = f"base_model.model.{name.removesuffix('.weight')}"
        found |= {f"{part}.lora_A.weight": a, f"{part}.lora_B.weight": b}
        weights[name] = weights[name].astype(np.float32) + b @ a
    save_file(found, adapter / "adapter_model.safetensors")
    save_file(weights, merged / "model.safetensors")
    config = {
        "peft_type": "LORA",
        "r": rank,
        "lora_alpha": rank,
        "target_modules": ["q_proj", "down_proj"],
        "bias": "none",
        "base_model_name_or_path": str(WEIGHTS),
    }
    (adapter / "adapter_config.json").write_text(json.dumps(config), encoding="utf-8")
    return merged


def test_text_that_ends_inside_a_token_is_healed(in_process: dict[str, Any], nano: Nano) -> None:
    """As nano heals it: the engine's own probabilities give the same covers."""
    healing = Nano(heal=True)
    engine = vllm(**in_process, heal=True)
    plain = draw(nano, temperature=0.0, max_tokens=40)
    try:
        for cut in range(1, 40, 3):
            tree = RolloutTree("p")
            at = tree.add(tree.root, 0, Sample(plain.text[:cut], finish="written"))
            ours, theirs = (
                draw(model, at, temperature=0.0, max_tokens=20) for model in (healing, engine)
            )
            assert theirs.token_ids == ours.token_ids
            assert (theirs.text, theirs.info) == (ours.text, ours.info)
            assert theirs.logprobs == pytest.approx(ours.logprobs, abs=1e-3)
    finally:
        asyncio.run(engine.aclose())
        healing.close()
    with pytest.raises(RecipeError, match=r"max_logprobs is 20; leave that out"):
        vllm(**in_process, heal=True, max_logprobs=20)
