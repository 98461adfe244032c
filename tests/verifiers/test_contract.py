"""The contract of all verifiers: one row each."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest

from reasoning import names
from reasoning.testing import ToyVerifier, random_tree
from reasoning.testing.contracts import VERIFIER_CHECKS, VerifierCase
from reasoning.testing.toys import noisy
from reasoning.verify import Batched, Cached, Verdict, Verifier

MODEL = random_tree(5)


async def lengths(items: Any) -> list[Verdict]:
    return [Verdict((1 / (1 + len(node.text)),)) for _, node in items]


def build(name: str, **options: Any) -> Verifier:
    return names.build("verifier", {"name": name, **options})  # type: ignore[no-any-return]


ROWS: dict[str, tuple[Callable[[], Verifier], dict[str, Any]]] = {
    "toy": (lambda: ToyVerifier(MODEL), {}),
    "toy, noisy": (lambda: ToyVerifier(MODEL, noisy(MODEL.value, seed=1, scale=0.3)), {}),
    "batched": (lambda: Batched("lengths", lengths, max_batch=3), {}),
    "cached": (lambda: Cached(ToyVerifier(MODEL)), {}),
    "logprob": (lambda: build("logprob"), {}),
    "deepconf": (lambda: build("deepconf", window=4), {"high": math.inf}),
    "self_certainty": (lambda: build("self_certainty", k=1), {"high": math.inf}),
    "oracle": (lambda: build("oracle"), {}),
}


@pytest.mark.parametrize("check", VERIFIER_CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("name", ROWS)
def test_contract(name: str, check: Callable[[VerifierCase], None]) -> None:
    make, setting = ROWS[name]
    check(VerifierCase(make=make, **setting))
