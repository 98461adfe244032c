"""MITS: what the question adds, which chains grow, which one wins."""

from __future__ import annotations

import asyncio
import math
from typing import Any

import numpy as np
import pytest

from reasoning.aggregators.first import first
from reasoning.backends.recorded import Recorded
from reasoning.backends.scripted import Scripted
from reasoning.budget import Budget
from reasoning.errors import GenerationError, RecipeError
from reasoning.generate import Meter, Prompt, Sampling
from reasoning.problem import Problem
from reasoning.search import Search, Step
from reasoning.testing.toys import ToyGenerator, random_tree
from reasoning.tree import FloatArray, Node, Sample
from searchers.tree.mits import mits


class Laid(Scripted):
    """Log-probabilities of a step with and without the question, by path."""

    def __init__(self, script: Any, asked: Any, unasked: Any, **setting: Any) -> None:
        super().__init__(script, **setting)
        self.asked = asked
        self.unasked = unasked

    def reply(self, prompt: Prompt, params: Sampling, seed: int) -> Sample:
        del params
        text = self.script(prompt, seed)  # type: ignore[operator]
        finish = "end" if "boxed" in str(text) else "stop"
        logprobs = np.array([self.asked(prompt.path)], dtype=np.float32)
        return Sample(str(text), logprobs=logprobs, finish=finish, generated_tokens=1)

    async def score_text(
        self, prompt: Prompt, sample: Sample, *, question: bool, meter: Meter
    ) -> FloatArray:
        del sample
        assert not question
        meter(10)
        value = self.unasked(prompt.path)
        if value is None:
            raise GenerationError("cannot read")
        return np.array([value], dtype=np.float32)


def run(generator: Any, *, tokens: int | None = None, **params: Any) -> Search:
    search = Search(
        Problem("p", "q"),
        generator,
        sampling=Sampling(max_tokens=50),
        step=Step(max_tokens=10),
        budget=Budget(tokens),
    )
    asyncio.run(mits(search, **params))
    return search


def two_steps(prompt: Prompt, seed: int) -> str:
    del seed
    path = prompt.path
    return f"\\boxed{{{path[0]}}}" if len(path) == 2 else f"s{path[0]}\n\n"


def grown(search: Search) -> list[tuple[int, ...]]:
    return [node.path for node in search.tree if node.children]


def test_steps_that_the_question_explains_grow() -> None:
    """Slot 0 is the likeliest, but just as likely without the question."""
    laid = Laid(
        two_steps,
        asked=lambda path: [-0.1, -2.0, -1.0][path[0]],
        unasked=lambda path: [-0.1, -3.0, -1.5][path[0]],
    )
    search = run(laid, beam=1)
    assert grown(search) == [(1,)]
    assert search.usage.prompt_tokens == 10 * len(search.tree)
    assert search.usage.calls == 2 * len(search.tree)


def test_length_does_not_count_per_step() -> None:
    """One chain gains 3 in one step, another 2 + 2 in two: by step the first, by sum the other."""

    def script(prompt: Prompt, seed: int) -> str:
        del seed
        path = prompt.path
        if len(path) == 1:
            return "\\boxed{short}" if path[0] == 0 else f"s{path[0]}\n\n"
        return f"\\boxed{{long{path[-1]}}}"

    for per_step, expected in ((True, "short"), (False, "long0")):
        laid = Laid(
            script,
            asked=lambda _: -1.0,
            unasked=lambda path: -4.0 if path == (0,) else -3.0 if path[0] == 1 else -1.0,
        )
        search = run(laid, beam=1, per_step=per_step)
        answer = (c := first(search.candidates)) and c.answer
        assert answer is not None
        assert answer.text == expected


def test_agreement_multiplies() -> None:
    """The best chain stands alone, two that agree are nearly as good."""
    answers = ["a", "b", "b"]
    laid = Laid(
        lambda prompt, _: f"\\boxed{{{answers[prompt.slot]}}}",
        asked=lambda _: -1.0,
        unasked=lambda path: [-4.0, -3.5, -3.6][path[0]],
    )
    assert first(run(laid).candidates).answer.text == "b"  # type: ignore[union-attr]
    assert first(run(laid, top=1).candidates).answer.text == "a"  # type: ignore[union-attr]
    # With negative PMI too: -1, -1.3, -1.1 are 0.3, 0.0, 0.2 above the least.
    laid.unasked = lambda path: [-0.0, 0.3, 0.1][path[0]]
    ranks = {c.path: c.rank for c in run(laid).candidates}
    assert ranks == {(2,): 0, (0,): 1, (1,): 2}


def test_without_a_beam_everything_grows() -> None:
    laid = Laid(two_steps, asked=lambda _: -1.0, unasked=lambda _: -2.0)
    search = run(laid, beam=None)
    assert len(search.candidates) == 9


def test_uncertain_steps_get_more_children() -> None:
    def script(prompt: Prompt, seed: int) -> str:
        del seed
        return "\\boxed{1}" if len(prompt.path) == 3 else f"s{prompt.slot}\n\n"

    surprise = {0: 0.1, 1: 1.0, 2: 5.0}
    laid = Laid(script, asked=lambda path: -surprise[path[0]], unasked=lambda _: -9.0)
    search = run(laid, beam=None, warm_up=3, children=3)
    assert [len(search.tree[(i,)].children) for i in range(3)] == [2, 3, 5]
    search = run(Laid(script, lambda path: -surprise[path[0]], lambda _: -9.0), beam=None)
    assert [len(search.tree[(i,)].children) for i in range(3)] == [3, 3, 3], "too few to tell"


def test_chains_that_cannot_be_read_come_last() -> None:
    laid = Laid(
        two_steps,
        asked=lambda _: -1.0,
        unasked=lambda path: None if path[0] == 0 else -2.0,
    )
    search = run(laid, beam=2)
    assert grown(search) == [(1,), (2,)]
    assert search.usage.failed_calls == 1
    nothing = run(Laid(two_steps, lambda _: -1.0, lambda _: None), beam=2)
    assert first(nothing.candidates)


def test_pmi_is_the_difference_of_likelihoods() -> None:
    """On the scripted generator, whose likelihoods can be asked for independently."""
    search = run(ToyGenerator(random_tree(6, depth=4)), beam=None, max_steps=4, top=1)

    def pmi(node: Node) -> float:
        total = 0.0
        for step in node.lineage():
            assert step.sample.logprobs is not None
            unasked = asyncio.run(search.likelihood(step, question=False))
            assert unasked is not None
            total += float(step.sample.logprobs.sum() - unasked.sum())
        return total / node.depth

    winner = min(search.candidates, key=lambda candidate: candidate.rank)
    values = [pmi(search.tree[c.path]) for c in search.candidates if c.answer]
    assert pmi(search.tree[winner.path]) == pytest.approx(max(values))


def test_a_generator_that_cannot_read_is_told_so() -> None:
    stored = {"q": [{"text": "\\boxed{1}", "n_tokens": 3}]}
    search = Search(Problem("q", "q"), Recorded(stored, "file", 0.1))
    with pytest.raises(RecipeError, match="cannot tell"):
        asyncio.run(search.likelihood(search.tree.add(search.root, 0, Sample("x"))))


@pytest.mark.parametrize("tokens", [0, 1, 2, 5, 9, 17, 40])
def test_any_budget_is_kept(tokens: int) -> None:
    search = run(ToyGenerator(random_tree(5, depth=5)), tokens=tokens, beam=2)
    assert search.usage.generated_tokens <= tokens
    assert bool(search.candidates) == (tokens > 0)


def test_no_value_is_nan() -> None:
    search = run(ToyGenerator(random_tree(5, depth=5)), beam=2)
    assert all(math.isfinite(candidate.rank) for candidate in search.candidates)
