"""Outcome reward models behind HTTP."""

from __future__ import annotations

import asyncio
import math
import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from reasoning.backends.nano.reward import WEIGHTS
from reasoning.backends.vllm_common import cpu_defaults
from reasoning.errors import RecipeError, TransientError, VerificationError
from reasoning.problem import Problem
from reasoning.runs import names
from reasoning.testing.verifier_contract import Verdict, ask
from reasoning.tree import RolloutTree, Sample

PROBLEM = Problem("p", "What is 12 * 7 + 5?", prompt="Wrapped: what is 12 * 7 + 5?")


def make(server: Any, **options: Any) -> Any:
    spec = {"name": "reward_model", "base_url": server.url, "model": "nano", **options}
    return names.build("verifier", spec)


def score(verifier: Any, *texts: str) -> Verdict:
    tree = RolloutTree("p")
    node = tree.root
    for text in texts:
        node = tree.add(node, 0, Sample(text))
    return asyncio.run(ask(verifier, PROBLEM, node))  # type: ignore[no-any-return]


def logits(server: Any, text: str) -> Any:
    return server.rows([ord(c) for c in PROBLEM.question + text])


def test_the_whole_path_is_read_as_a_conversation(pooling_server: Any) -> None:
    pooling_server.columns = 1
    found = score(make(pooling_server), "12 * 7 = 84.\n\n", r"\boxed{89}")
    text = "12 * 7 = 84.\n\n\\boxed{89}"
    (body,) = pooling_server.requests
    assert body["messages"] == [
        {"role": "user", "content": PROBLEM.question},
        {"role": "assistant", "content": text},
    ]
    assert body["task"] == "classify"
    assert body["use_activation"] is False
    logit = float(logits(pooling_server, text)[-1, 0])
    assert found.steps == (pytest.approx(1 / (1 + math.exp(-logit)), rel=1e-6),)
    assert found.tokens == len(PROBLEM.question + text)


@pytest.mark.parametrize("label", [0, 1, -1])
def test_one_label_of_several(pooling_server: Any, label: int) -> None:
    found = score(make(pooling_server, label=label), "a")
    row = [math.exp(x) for x in logits(pooling_server, "a")[-1]]
    assert found.steps == (pytest.approx(row[label] / sum(row), rel=1e-6),)


def test_large_logits(pooling_server: Any) -> None:
    pooling_server.columns = 1
    pooling_server.scale = 1e4
    assert score(make(pooling_server), "a").steps[0] == pytest.approx(1)
    pooling_server.scale = -1e4
    assert score(make(pooling_server), "a").steps[0] == pytest.approx(0)


def test_a_model_that_scores_every_token(pooling_server: Any) -> None:
    pooling_server.columns, pooling_server.tag = 1, None
    found = score(make(pooling_server, last_token=True), "abc")
    logit = float(logits(pooling_server, "abc")[-1, 0])
    assert found.steps == (pytest.approx(1 / (1 + math.exp(-logit)), rel=1e-6),)


@pytest.mark.parametrize(
    ("text", "message"), [(" \n", "without text"), ("\ud800", "not valid text")]
)
def test_what_cannot_be_scored(pooling_server: Any, text: str, message: str) -> None:
    with pytest.raises(VerificationError, match=message):
        score(make(pooling_server), text)


def test_faults(pooling_server: Any) -> None:
    verifier = make(pooling_server)
    with pytest.raises(VerificationError, match="longer than the context"):
        score(verifier, "a" * 2000)
    pooling_server.fault = lambda body: (404, {"detail": "Not Found"})
    with pytest.raises(RecipeError, match=r"--runner pooling"):
        score(verifier, "a")
    pooling_server.fault = lambda body: (500, {})
    with pytest.raises(TransientError):
        score(verifier, "a")
    pooling_server.fault = lambda body: None
    pooling_server.scale = math.nan
    with pytest.raises(VerificationError, match="no finite numbers"):
        score(verifier, "a")


def test_options(pooling_server: Any) -> None:
    with pytest.raises(RecipeError, match=r"has 2 outputs, none of them is number 2.*label"):
        score(make(pooling_server, label=2), "a")
    with pytest.raises(RecipeError, match=r"max_model_len.*server's command line"):
        make(pooling_server, max_model_len=5)


@pytest.mark.parametrize("name", ["reward_model", "vllm_prm"])
@pytest.mark.parametrize(
    "url",
    [
        [],
        "",
        "localhost:8001",
        "http://",
        "http://h:99999",
        "http://h:abc",
        "http://[::1",
        "http://user:hunter2@h",
        "http://user:hunter2@h:abc",
        "http://h/v1?key=hunter2",
        ["http://h", "http://h:99999"],
    ],
)
def test_what_is_no_address_is_refused_at_once(name: str, url: Any) -> None:
    spec = {"name": name, "base_url": url, "model": "nano"}
    if name == "vllm_prm":
        spec["tokenizer"] = str(WEIGHTS)
    with pytest.raises(RecipeError, match="base_url") as error:
        names.build("verifier", spec)
    assert "hunter2" not in str(error.value)
    if url == []:
        assert "base_url is an empty list; give one URL or more" in str(error.value)


@pytest.mark.parametrize(
    ("cpu", "given", "environment", "expected"),
    [
        (False, {}, {}, {}),
        (True, {}, {}, {"block_size": 32, "kv_cache_memory_bytes": 1 << 30}),
        (True, {"kv_cache_memory_bytes": 1}, {}, {"block_size": 32}),
        (True, {"gpu_memory_utilization": 0.5}, {}, {"block_size": 32}),
        (True, {}, {"VLLM_CPU_KVCACHE_SPACE": "4"}, {"block_size": 32}),
    ],
)
def test_on_a_processor_vllm_does_not_take_all_memory(
    monkeypatch: Any, cpu: bool, given: Any, environment: Any, expected: Any
) -> None:
    platform = SimpleNamespace(is_cpu=lambda: cpu)
    monkeypatch.setitem(sys.modules, "vllm", ModuleType("vllm"))
    monkeypatch.setitem(sys.modules, "vllm.platforms", SimpleNamespace(current_platform=platform))
    monkeypatch.delenv("VLLM_CPU_KVCACHE_SPACE", raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert cpu_defaults(given) == expected
