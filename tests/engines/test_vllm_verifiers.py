"""Reward models on a real vLLM, in process and over HTTP, beside nano's own and torch's numbers."""

from __future__ import annotations

import asyncio
import json
import random
import re
import shutil
from asyncio import TaskGroup
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from evals.tasks import nano as arithmetic
from reasoning.backends.nano import WEIGHTS, Nano, reward
from reasoning.backends.vllm_common import cpu_defaults
from reasoning.errors import EngineError, RecipeError, VerificationError
from reasoning.generate import Prompt
from reasoning.problem import Problem
from reasoning.runs import names
from reasoning.testing.contracts import VERIFIER_CHECKS, VerifierCase
from reasoning.testing.verifier_contract import Verdict, ask
from reasoning.tree import Node, RolloutTree, Sample
from verifiers.engines.pooling import PoolingEngine
from verifiers.engines.prm_families import FAMILIES, Family, Tokens, chatml, first_of, tagged
from verifiers.engines.steps import STEP_BREAK
from verifiers.vllm_prm import InProcess, VllmPRM, engine_options

PRM = reward.WEIGHTS
CLOSE = 2e-5
"""Two implementations in float32 differ by so much; a probability is meant."""


def problems_and_paths() -> list[tuple[Problem, Node]]:
    """Steps after steps and whole solutions, with and without slips, of many lengths."""
    rng, found = random.Random(3), []
    for i, item in enumerate(arithmetic.problems(8)):
        problem = Problem(f"p{i}", item.question)
        tree = RolloutTree(problem.id)
        text = arithmetic.solution(item, rng, slips=0.5)
        found.append((problem, tree.add(tree.root, 0, Sample(text))))
        node = tree.root
        for step in text.split(STEP_BREAK):
            node = tree.add(node, 1, Sample(step + STEP_BREAK))
            found.append((problem, node))
    return found


def score_all(verifier: Any, items: Sequence[tuple[Problem, Node]]) -> list[Verdict]:
    async def work() -> list[Verdict]:
        async with TaskGroup() as group:
            tasks = [group.create_task(ask(verifier, *item)) for item in items]
        return [task.result() for task in tasks]

    return asyncio.run(work())


def score(verifier: Any, *texts: str, question: str = "What is 12 * 7 + 5?") -> Verdict:
    tree = RolloutTree("p")
    node = tree.root
    for text in texts:
        node = tree.add(node, 0, Sample(text))
    return score_all(verifier, [(Problem("p", question), node)])[0]


def build(name: str, **options: Any) -> Any:
    return names.build("verifier", {"name": name, **options})


@pytest.fixture(scope="module")
def nanos() -> Iterator[tuple[list[tuple[Problem, Node]], list[Verdict]]]:
    """Paths, and what the embedded reward model says of them."""
    verifier, items = build("nano_prm"), problems_and_paths()
    yield items, score_all(verifier, items)
    asyncio.run(verifier.aclose())


@pytest.fixture(scope="module")
def prm_engine(in_process: dict[str, Any]) -> Iterator[VllmPRM]:
    """The embedded reward model, in vLLM in this process."""
    verifier = build("vllm_prm", **{**in_process, "model": str(PRM), "block_size": 32})
    yield verifier
    asyncio.run(verifier.aclose())


def over_http(url: str, **options: Any) -> Any:
    return build("vllm_prm", base_url=url, model="nano", tokenizer=str(PRM), **options)


def assert_same(found: list[Verdict], expected: list[Verdict]) -> None:
    assert [v.tokens for v in found] == [v.tokens for v in expected]
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours.steps, theirs.steps, atol=CLOSE)
    scores = [s for v in expected for s in v.steps]
    assert np.ptp(scores) > 100 * CLOSE  # or being close would say nothing


# ------------------------------------------------------------------- nano's, in vLLM


def test_over_http_it_is_nanos(vllm_prm_server: str, nanos: Any) -> None:
    items, expected = nanos
    assert_same(score_all(over_http(vllm_prm_server), items), expected)


def test_in_process_it_is_nanos(prm_engine: VllmPRM, nanos: Any) -> None:
    items, expected = nanos
    assert_same(score_all(prm_engine, items), expected)
    assert prm_engine.parameters == build("nano_prm").parameters


def test_step_after_step_only_what_is_new_is_computed(
    prm_engine: VllmPRM, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = [f"{i} + {i} = {2 * i}.\n\n" for i in range(11, 41)]
    first: list[int] = []
    engine = prm_engine._reader._engine  # type: ignore[attr-defined]
    pool = engine.pool

    async def watched(*args: Any, **kwargs: Any) -> Any:
        pooled = await pool(*args, **kwargs)
        first.append(pooled.first)
        return pooled

    monkeypatch.setattr(engine, "pool", watched)
    single = [score(prm_engine, *steps[: i + 1]).steps[0] for i in range(len(steps))]
    assert first == sorted(first)
    assert first[-1] > 256
    before = len(first)
    assert score(prm_engine, *steps).steps == (single[-1],)
    assert score(prm_engine, "".join(steps)).steps == tuple(single)
    assert len(first) == before  # remembered
    prm_engine._known.clear()  # the engine's cache knows the path, and nobody the scores
    np.testing.assert_allclose(score(prm_engine, "".join(steps)).steps, single, atol=CLOSE)
    assert first[before:] == [first[before], 0]


@pytest.mark.parametrize("check", VERIFIER_CHECKS, ids=lambda check: check.__name__)
def test_contract_in_process(prm_engine: VllmPRM, check: Callable[[VerifierCase], None]) -> None:
    check(VerifierCase(make=lambda: prm_engine, longest=20_000))


@pytest.mark.parametrize("check", VERIFIER_CHECKS, ids=lambda check: check.__name__)
def test_contract_over_http(vllm_prm_server: str, check: Callable[[VerifierCase], None]) -> None:
    check(VerifierCase(make=lambda: over_http(vllm_prm_server), longest=20_000))


def test_a_path_beyond_the_context(prm_engine: VllmPRM, vllm_prm_server: str) -> None:
    long = "1 + 1 = 2.\n\n" * 500
    with pytest.raises(BaseExceptionGroup) as error:
        score(prm_engine, long)
    assert error.group_contains(VerificationError, match="1024")
    with pytest.raises(BaseExceptionGroup) as error:
        score(over_http(vllm_prm_server), long)
    assert error.group_contains(VerificationError, match="1024")
    assert score(prm_engine, "1 + 1 = 2.").steps


@pytest.mark.parametrize("tag", ["5", "151651"], ids=["another token", "vLLM's default"])
def test_a_wrong_step_tag_is_an_error_and_not_an_empty_tensor(serve: Any, tag: str) -> None:
    server = serve("--pooler-config", f'{{"step_tag_id": {tag}}}', reward_model=True)
    try:
        with pytest.raises(BaseExceptionGroup) as error:
            score(over_http(server.url), "1 + 1 = 2.\n\n2 + 2 = 4.")
        assert error.group_contains(RecipeError, match='another step tag.*"step_tag_id": 472')
    finally:
        server.close()


def test_a_server_that_scores_all_tokens(serve: Any, nanos: Any) -> None:
    server = serve("--pooler-config", '{"tok_pooling_type": "ALL"}', reward_model=True)
    try:
        items, expected = nanos
        assert_same(score_all(over_http(server.url), items), expected)
    finally:
        server.close()


def test_a_generator_is_no_reward_model(vllm_server: str) -> None:
    with pytest.raises(BaseExceptionGroup) as error:
        score(over_http(vllm_server), "1 + 1 = 2.")
    assert error.group_contains(RecipeError, match="--runner pooling")


def test_options_of_the_engine_are_checked(in_process: dict[str, Any]) -> None:
    with pytest.raises(RecipeError, match="did you mean 'max_model_len'"):
        build("vllm_prm", **{**in_process, "model": str(PRM), "max_modellen": 5})
    verifier = build("reward_model", model="/nowhere/at/all")
    with pytest.raises(BaseExceptionGroup) as error:
        score(verifier, "a")
    assert error.group_contains(EngineError, match="could not start")
    asyncio.run(verifier.aclose())


# ------------------------------------------------------------------- other families' heads


def made_of_nano(to: Path, architecture: str, **head: Any) -> Path:
    """A checkpoint with the layers of the embedded reward model under another head."""
    shutil.copytree(PRM, to)
    weights = load_file(PRM / "model.safetensors")
    kept = {k: v.astype(np.float32) for k, v in weights.items() if not k.startswith("score.")}
    save_file({**kept, **head}, to / "model.safetensors")
    config = json.loads((to / "config.json").read_text())
    config |= {"architectures": [architecture], "num_labels": 1}
    (to / "config.json").write_text(json.dumps(config))
    return to


def hidden(model: Path, ids: Sequence[int]) -> Any:
    """The last hidden states [tokens, size], by transformers."""
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    net = transformers.AutoModel.from_pretrained(model, dtype=torch.float32)
    with torch.no_grad():
        return net(torch.tensor([list(ids)])).last_hidden_state[0].numpy()


def linear_head(size: int) -> tuple[Any, Any]:
    rng = np.random.default_rng(0)
    return rng.normal(size=(1, size)).astype(np.float32), np.array([0.3], np.float32)


SIZE = json.loads((PRM / "config.json").read_text())["hidden_size"]
SOLUTION = "12 * 7 = 84.\n\n84 + 5 = 89.\n\nThe answer is 89."


def sigmoid(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


@pytest.mark.filterwarnings("ignore")  # transformers' and torch's own
def test_skyworks_head(in_process: dict[str, Any], tmp_path: Path) -> None:
    """Its class for vLLM, which comes with this package."""
    weight, bias = linear_head(SIZE)
    head = {"v_head.summary.weight": weight, "v_head.summary.bias": bias}
    model = made_of_nano(tmp_path / "skywork", "Qwen2ForPrmModel", **head)
    verifier = build("vllm_prm", **{**in_process, "model": str(model), "family": "skywork"})
    found = score(verifier, SOLUTION)
    asyncio.run(verifier.aclose())
    steps = SOLUTION.split("\n\n")
    layout = FAMILIES["skywork"].lay(Tokens(str(model)), "What is 12 * 7 + 5?", steps)
    logits = (hidden(model, layout.ids) @ weight.T + bias)[layout.marks, 0]
    np.testing.assert_allclose(found.steps, sigmoid(logits), atol=CLOSE)


@pytest.mark.usefixtures("in_process")
@pytest.mark.parametrize("name", ["vllm_prm", "reward_model"])
def test_a_processors_defaults_and_the_version(name: str) -> None:
    verifier = build(name, model=str(PRM))
    source = verifier._reader._engine if name == "vllm_prm" else verifier._source
    assert cpu_defaults({}).items() <= source._options.items()
    assert re.fullmatch(rf"{re.escape(str(PRM))} on vLLM \d+\.\d+.*", verifier.version)


def test_a_language_model_as_reward_model(in_process: dict[str, Any]) -> None:
    """One next token against another, as RLHFlow's and Math-Shepherd's models judge."""
    family = Family("", tagged(chatml(None), "\n"), good=0, overrides=first_of("8", "1"))
    options = {k: v for k, v in in_process.items() if k != "model"}
    engine = PoolingEngine(str(WEIGHTS), engine_options(family, options))
    tokens = Tokens(str(WEIGHTS))
    verifier = VllmPRM(family, tokens, InProcess(family, engine), STEP_BREAK)
    found = score(verifier, "12 * 7 = 84.\n\n84 + 5 =")
    asyncio.run(verifier.aclose())

    layout = family.lay(tokens, "What is 12 * 7 + 5?", ["12 * 7 = 84.", "84 + 5 ="])
    begin = len(family.lay(tokens, "What is 12 * 7 + 5?", []).ids)
    nano, problem, expected = Nano(), Problem("p", "What is 12 * 7 + 5?"), []
    for mark in layout.marks:
        tree = RolloutTree("p")
        node = tree.add(tree.root, 0, Sample("", token_ids=tuple(layout.ids[begin : mark + 1])))
        good, bad = (
            asyncio.run(
                nano.score_text(
                    Prompt(problem, node, 0),
                    Sample(token, token_ids=(tokens.id(token),)),
                    question=True,
                    meter=lambda n: None,
                )
            )[0]
            for token in "81"
        )
        expected.append(sigmoid(float(good - bad)))
    nano.close()
    np.testing.assert_allclose(found.steps, expected, atol=CLOSE)


@pytest.mark.filterwarnings("ignore")  # transformers' and torch's own
def test_outcome_reward_models(in_process: dict[str, Any], serve: Any, tmp_path: Path) -> None:
    weight, _ = linear_head(SIZE)
    model = made_of_nano(
        tmp_path / "orm", "Qwen2ForSequenceClassification", **{"score.weight": weight}
    )
    here = build("reward_model", **{**in_process, "model": str(model)})
    server = serve("--model", str(model), "--runner", "pooling", "--convert", "classify")
    there = build("reward_model", model="nano", base_url=server.url)
    said = [score(verifier, SOLUTION) for verifier in (here, there)]
    long = "1 + 1 = 2.\n\n" * 500
    for verifier in (here, there):
        with pytest.raises(BaseExceptionGroup) as error:
            score(verifier, long)
        assert error.group_contains(VerificationError, match="1024")
    asyncio.run(here.aclose())
    server.close()
    chat = (
        "<|im_start|>user\nWhat is 12 * 7 + 5?<|im_end|>\n"
        f"<|im_start|>assistant\n{SOLUTION}<|im_end|>\n"
    )
    ids = Tokens(str(model)).frame(chat)
    expected = sigmoid(float((hidden(model, ids) @ weight.T)[-1, 0]))
    for verdict in said:
        assert verdict.steps == (pytest.approx(expected, abs=CLOSE),)
        assert verdict.tokens == len(ids)
