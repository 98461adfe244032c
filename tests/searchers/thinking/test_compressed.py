"""Which steps of a thought are left, and who answers behind them."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest

from reasoning.backends.scripted import Scripted
from reasoning.generate import Prompt, Sampling
from reasoning.problem import Problem
from reasoning.search import Search
from reasoning.tree import Sample, TopLogprobs
from searchers.thinking.compressed import compressed, told

NATS = [0.2, 3.0, 0.1, 0.3, 0.4]


class Thinker(Scripted):
    """Five steps, of which the second surprises; behind a thought it says what it can read."""

    @property
    def honours(self) -> frozenset[str]:
        return super().honours - {"top_logprobs"}

    def __init__(self) -> None:
        super().__init__(self.say)

    def say(self, prompt: Prompt, seed: int) -> Sample:
        if "</think>" in prompt.text:
            kept = [c for c in "01234" if f"step {c}" in prompt.text]
            return Sample(f"\\boxed{{{''.join(kept)}}}", finish="end", generated_tokens=1)
        i = prompt.text.count("step")
        mark = "</think>" if i == 4 else "\n\n"
        nats = np.array([-NATS[i], 0.0], np.float32)
        return Sample(f"step {i}{mark}", finish="stop", generated_tokens=2, logprobs=nats)


def run(**params: Any) -> tuple[list[str], Search]:
    search = Search(Problem("p", "q"), Thinker(), sampling=Sampling(max_tokens=50))
    asyncio.run(compressed(search, **params))
    found = [c for c in search.candidates if c.weight]
    return [c.answer.text for c in found if c.answer], search


@pytest.mark.parametrize(
    ("drop", "kept"), [(0.8, "1"), (0.6, "14"), (0.0, "01234"), (0.59, "134"), (1.0, "")]
)
def test_steps_that_tell_least_go(drop: float, kept: str) -> None:
    answers, search = run(drop=drop, m=2)
    assert answers == (["01234", kept, kept] if kept else ["01234"])
    texts = [n.sample.text for n in search.tree if n.sample.finish == "written"]
    assert texts[0].count("[SKIP]") == int(5 * drop)
    assert "</think>" not in texts[0].rstrip()[:-8]


def test_by_the_first_token_it_is_the_same_here() -> None:
    assert run(by="first_token")[0][1:] == ["1"] * 4


def test_entropy_over_the_likeliest() -> None:
    table = np.log(np.array([[0.5, 0.5], [0.25, 0.25]], dtype=np.float32))
    tops = TopLogprobs((("a", "b"), ("a", "b")), table)
    sample = Sample("ab", generated_tokens=2, top_logprobs=tops, logprobs=np.zeros(2, np.float32))
    assert told(sample, first=False) == pytest.approx(2 * np.log(2))
    assert told(sample, first=True) == 0
    assert told(Sample("abc"), first=False) == 3
