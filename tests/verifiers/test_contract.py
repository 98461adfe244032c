"""The contract of all verifiers: one row each."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from reasoning.backends.nano import reward
from reasoning.backends.scripted import Scripted
from reasoning.cached import Cached
from reasoning.problem import Problem
from reasoning.runs import names
from reasoning.testing import ToyVerifier, random_tree
from reasoning.testing.contracts import VERIFIER_CHECKS, VerifierCase
from reasoning.testing.toys import noisy
from reasoning.tree import Sample
from reasoning.verify import Batched, Scores, Verifier

MODEL = random_tree(5)
TESTED = Problem("p", "Set x to 1.", meta={"tests": "assert x == 1"})


async def lengths(items: Any) -> list[Scores]:
    return [(1 / (1 + len(item.node.text)),) for item in items]


def build(name: str, **options: Any) -> Verifier:
    return names.build("verifier", {"name": name, **options})  # type: ignore[no-any-return]


def over_http(name: str, server: Any, **options: Any) -> Verifier:
    return build(name, base_url=server.url, model="nano", **options)


MARKS = "Solution 1: 90\nSolution 2: 20\nSolution 3: 55"


def yes() -> Scripted:
    return Scripted([Sample("Yes", logprobs=np.array([-0.1], np.float32), generated_tokens=1)])


# What makes it, perhaps from a pooling server, and the setting it is checked in. Where every call
# costs time, one long text and a few others have to do.
ROWS: dict[str, tuple[Callable[[Any], Verifier], dict[str, Any]]] = {
    "toy": (lambda _: ToyVerifier(MODEL), {}),
    "toy, noisy": (lambda _: ToyVerifier(MODEL, noisy(MODEL.value, seed=1, scale=0.3)), {}),
    "batched": (lambda _: Batched("lengths", lengths, max_batch=3), {}),
    "batched, several": (lambda _: Batched("lengths", lengths, max_batch=2, in_flight=3), {}),
    "cached": (lambda _: Cached(ToyVerifier(MODEL)), {}),
    "logprob": (lambda _: build("logprob"), {}),
    "deepconf": (lambda _: build("deepconf", window=4), {"high": math.inf}),
    "self_certainty": (lambda _: build("self_certainty", k=1), {"high": math.inf}),
    "oracle": (lambda _: build("oracle"), {}),
    "nano_prm": (lambda _: build("nano_prm"), {}),
    "vllm_prm": (
        lambda server: over_http("vllm_prm", server, tokenizer=str(reward.WEIGHTS)),
        {"longest": 20_000},
    ),
    "reward_model": (lambda server: over_http("reward_model", server), {"longest": 20_000}),
    "judge": (lambda _: build("judge", generator=yes(), verdicts=2), {"longest": 20_000}),
    "toy, together": (lambda _: ToyVerifier(MODEL, together=4), {}),
    "cached, together": (lambda _: Cached(ToyVerifier(MODEL, together=4)), {}),
    "judge, together": (
        lambda _: build("judge", generator=Scripted([MARKS]), together=3, verdicts=2),
        {"longest": 20_000},
    ),
    "judge, both": (
        lambda _: build("judge", generator="nano", both=True),
        {"longest": 5_000, "texts": ("", "no answer here", "\ud800")},
    ),
    "challenge": (
        lambda _: build("challenge", generator=Scripted([r"\boxed{89}", "So 88"]), n=2),
        {"longest": 20_000},
    ),
    "python": (
        lambda _: build("python"),
        {"problem": TESTED, "texts": ("```python\nx = 1\n```", "\ud800"), "longest": 0},
    ),
    "ensemble": (
        lambda _: build("ensemble", members=["nano_prm", "logprob"], combine="min"),
        {"longest": 20_000},
    ),
}


@pytest.mark.parametrize("check", VERIFIER_CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("name", ROWS)
def test_contract(name: str, check: Callable[[VerifierCase], None], pooling_server: Any) -> None:
    make, setting = ROWS[name]
    check(VerifierCase(make=lambda: make(pooling_server), **setting))
