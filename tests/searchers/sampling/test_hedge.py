"""Hedged sampling: the first sample is greedy, and nothing else changes."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from evals.statistics.independent import drawn
from reasoning import Sampling, solve
from reasoning.backends.scripted import Scripted
from reasoning.generate import Prompt
from reasoning.problem import Problem
from reasoning.runs.record import recorded
from reasoning.tree import Sample

PROBLEM = Problem("p", "q", gold="7")


class Watched(Scripted):
    def __init__(self) -> None:
        super().__init__(lambda prompt, seed: f"\\boxed{{{seed % 3}}}")
        self.asked: dict[int, float] = {}

    def reply(self, prompt: Prompt, params: Sampling, seed: int) -> Sample:
        self.asked[prompt.slot] = params.temperature
        return super().reply(prompt, params, seed)


def run(searcher: str, *, temperature: float = 0.7, **params: Any) -> tuple[Any, dict[int, float]]:
    generator = Watched()
    sampling = Sampling(max_tokens=16, temperature=temperature)
    verifier = "logprob" if searcher == "best_of_n" else None
    found = solve(
        PROBLEM, searcher=searcher, generator=generator, sampling=sampling, verifier=verifier,
        **params,
    )  # fmt: skip
    return found, generator.asked


PARALLEL: list[tuple[str, dict[str, Any]]] = [
    ("self_consistency", {"n": 5}),
    ("best_of_n", {"n": 5}),
    ("first_finish", {"n": 5}),
    ("short_m_at_k", {"k": 5, "m": 2}),
    ("adaptive_consistency", {"n": 5, "confidence": 0.999, "window": 2}),
    ("esc", {"n": 6, "window": 3}),
]


@pytest.mark.parametrize(("searcher", "params"), PARALLEL)
def test_the_first_is_greedy_and_the_others_are_what_they_were(
    searcher: str, params: dict[str, Any]
) -> None:
    plain, before = run(searcher, **params)
    hedged, after = run(searcher, hedge=True, **params)
    assert set(before.values()) == {0.7}
    assert after == {slot: 0.7 if slot else 0.0 for slot in after}
    texts = [[n.sample.text for n in r.tree if n.slot] for r in (plain, hedged)]
    assert texts[0] == texts[1]


def test_at_temperature_0_it_changes_nothing() -> None:
    plain, hedged = (
        run("self_consistency", n=3, temperature=0)[0],
        run("self_consistency", n=3, temperature=0, hedge=True)[0],
    )
    assert (plain.answer, [c.answer for c in plain.candidates]) == (
        hedged.answer, [c.answer for c in hedged.candidates],
    )  # fmt: skip


@pytest.mark.parametrize(("hedge", "left"), [(False, 5), (True, 4)])
def test_pass_at_k_leaves_it_out(hedge: bool, left: int, tmp_path: Path) -> None:
    result, _ = run("self_consistency", n=5, hedge=hedge)
    record = asyncio.run(recorded(PROBLEM, "s", result))
    found = drawn({"usage": record.usage, "candidates": record.candidates, "correct": False,
                   "stop_reason": record.stop_reason})  # fmt: skip
    assert found is not None
    assert len(found.samples.keys) == left
