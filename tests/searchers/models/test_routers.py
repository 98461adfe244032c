"""Routers of steps: who writes what, what is asked for it, and what is paid."""

from __future__ import annotations

import asyncio
from math import inf, log
from typing import Any

import numpy as np
import pytest

from reasoning.backends.scripted import Scripted, words
from reasoning.budget import Budget
from reasoning.generate import EVERYONES, Prompt, Sampling
from reasoning.problem import Problem
from reasoning.search import Search, Step
from reasoning.testing.contracts import SEARCHER_CHECKS, Case
from reasoning.testing.searcher_contract import check_other_process
from reasoning.tree import Node, Sample, TopLogprobs
from reasoning.verify import Verifier
from searchers.kernels.uncertainty import entropies
from searchers.models.arbitrage import arbitrage
from searchers.models.entropy_switch import entropy_switch
from searchers.models.foreal import foreal
from searchers.models.glimp_router import glimp_router

LINES = ["one\n\n", "two\n\n", "\\boxed{3}"]


def even(k: int) -> TopLogprobs:
    """k tokens that are equally likely: log2(k) bits."""
    return TopLogprobs((tuple("abcdefghij"[:k]),), np.full((1, k), -log(k), np.float32))


class Author(Scripted):
    """Says the steps in turn, signed; its first token has `spread` choices where it stands."""

    def __init__(self, name: str, spread: tuple[int, ...] = (1, 1, 1), nats: float = -0.1) -> None:
        self.name, self.spread, self.nats = name, spread, nats
        super().__init__(self.say)

    @property
    def honours(self) -> frozenset[str]:
        return EVERYONES | {"top_logprobs"}

    def say(self, prompt: Prompt, seed: int) -> str:
        done = prompt.text.count("\n\n")
        return f"{self.name} {LINES[done]}" if done < len(LINES) else "\\boxed{3}"

    def reply(self, prompt: Prompt, params: Sampling, seed: int) -> Sample:
        if params.max_tokens == 1 and params.top_logprobs:
            tops = even(self.spread[prompt.text.count("\n\n")])
            return Sample("?", finish="length", generated_tokens=1, top_logprobs=tops)
        return super().reply(prompt, params, seed)

    async def score_text(
        self, prompt: Prompt, sample: Sample, *, question: bool, meter: Any
    ) -> Any:
        del prompt, question, meter
        return np.full(len(words(sample.text)), self.nats, np.float32)


class Marks(Verifier):
    """A mark for the author of a step, by the step's number."""

    name, text_only = "marks", True

    def __init__(self, **marks: tuple[float, ...]) -> None:
        self.marks = marks

    async def score(self, problem: Problem, node: Node, *, meter: Any) -> tuple[float, ...]:
        del problem, meter
        return (self.marks[node.sample.text.split()[0]][node.depth - 1],)


def routed(searcher: Any, *, verifier: Any = None, **params: Any) -> tuple[str, Search]:
    """Who wrote each step of the solution, s or L, and the search."""
    small, large = params.pop("authors", (Author("s"), Author("L")))
    s = Search(Problem("p", "q"), large, verifier=verifier, models={"small": small}, step=Step())
    asyncio.run(searcher(s, small="small", **params))
    best = min(s.candidates, key=lambda c: c.rank)
    steps = s.tree[best.path].attempt()
    return "".join("s" if n.sample.model == "small" else "L" for n in steps), s


def test_entropies() -> None:
    assert entropies(None) == []
    both = even(4) + even(1)
    assert entropies(both) == pytest.approx([log(4), 0.0])
    half = TopLogprobs((("a", "b"),), np.array([[log(0.3), log(0.1)]], np.float32))
    assert entropies(half) == pytest.approx([-0.75 * log(0.75) - 0.25 * log(0.25)])


# ------------------------------------------------------------------------------- glimpses


@pytest.mark.parametrize(
    ("threshold", "who"), [(0.0, "LLL"), (1.0, "sLs"), (log(4) - 1e-6, "sLs"), (1.5, "sss")]
)
def test_the_large_model_writes_where_the_small_one_is_unsure(threshold: float, who: str) -> None:
    authors = (Author("s", spread=(2, 4, 1)), Author("L"))
    found, s = routed(glimp_router, authors=authors, threshold=threshold)
    assert found == who
    assert s.usage.probe_tokens == 3
    assert s.usage.models["small"].calls == 3 + who.count("s")


def test_the_answer_behind_the_thought_is_the_large_models() -> None:
    said = {"": "I think</think>So \\boxed{1}", "I think</think>": "Truly \\boxed{2}"}
    small = Author("s")
    small.script = lambda prompt, seed: said[prompt.text]
    large = Author("L")
    large.script = small.script
    found, s = routed(glimp_router, authors=(small, large), threshold=3.0)
    assert found == "sL"
    assert [c.answer.text for c in s.candidates if c.answer] == ["2"]


# ------------------------------------------------------------------------------- arbitrage


GAINS = Marks(s=(0.5, 0.5, 0.9), L=(0.5, 0.8, 0.7))


@pytest.mark.parametrize(
    ("delta", "who"), [(None, "sLs"), (inf, "sss"), (-inf, "LLL"), (-0.2, "LLs"), (0.31, "sss")]
)
def test_the_oracle_pays_both_and_takes_the_better(delta: float | None, who: str) -> None:
    found, s = routed(arbitrage, verifier=GAINS, by="gain", delta=delta)
    assert found == who
    assert (s.usage.calls, s.usage.models["small"].calls, s.usage.verifier_calls) == (6, 3, 6)


@pytest.mark.parametrize(("delta", "who"), [(None, "LLs"), (0.5, "sss"), (inf, "LLL")])
def test_a_draft_is_kept_for_its_reward(delta: float | None, who: str) -> None:
    found, s = routed(arbitrage, verifier=GAINS, by="reward", delta=delta)
    assert found == who
    assert (s.usage.calls, s.usage.verifier_calls) == (3 + who.count("L"), 3)


@pytest.mark.parametrize(("nats", "who"), [(-0.25, "sss"), (-0.35, "LLL")])
def test_a_draft_is_kept_if_the_large_model_would_say_it(nats: float, who: str) -> None:
    authors = (Author("s"), Author("L", nats=nats))
    assert routed(arbitrage, authors=authors, by="likelihood")[0] == who


@pytest.mark.parametrize("by", ["reward", "likelihood"])
def test_the_other_forms_keep_the_contract(by: str) -> None:
    case = Case(searcher=arbitrage, params={"small": "other", "by": by}, models=("other",))
    for check in SEARCHER_CHECKS:
        if check is not check_other_process:
            check(case)


# ------------------------------------------------------------------- in the middle of a text


TEXT = "a b c. d e f. \\boxed{1}"


def speaker(text: str = TEXT) -> Author:
    """Goes on with the text, wherever it stands."""
    author = Author("")
    author.script = lambda prompt, seed: text[len(prompt.text) :]
    return author


@pytest.mark.parametrize(
    ("params", "who", "large"),
    [
        ({"p": 0.0}, "sss", 0),
        ({"n": 2}, "LsLsL", 5),
        ({"n": 9}, "LLL", 9),
        ({"n": 2, "p": 0.0, "first": 1}, "Lsss", 2),
    ],
)
def test_the_large_model_leads_sentences(params: dict[str, Any], who: str, large: int) -> None:
    found, s = routed(foreal, authors=(speaker(), speaker()), stop=(". ",), **params)
    assert found == who
    assert s.tree[s.candidates[0].path].text == TEXT
    small = s.usage.models["small"].generated_tokens if "s" in who else 0
    assert s.usage.generated_tokens - small == large


class Unsure(Scripted):
    """Says t0 t1 ... for ever; what is multiple of 5 and the next one have `spread` choices."""

    def __init__(self, spread: int) -> None:
        self.spread = spread
        super().__init__([])

    @property
    def honours(self) -> frozenset[str]:
        return EVERYONES | {"top_logprobs"}

    def reply(self, prompt: Prompt, params: Sampling, seed: int) -> Sample:
        at = len(words(prompt.text))
        tokens = [f"{'' if i == 0 else ' '}t{i}" for i in range(at, at + params.max_tokens)]
        tops = [even(self.spread if i % 5 < 2 else 1) for i in range(at, at + params.max_tokens)]
        table = tops[0]
        for more in tops[1:]:
            table += more
        n = len(tokens)
        return Sample("".join(tokens), finish="length", generated_tokens=n, top_logprobs=table)


def tokens_of(s: Search) -> str:
    """The writer of every token of the longest path."""
    node = max(s.tree, key=lambda n: n.depth)
    names = [(n.sample.model, n.sample.generated_tokens) for n in node.attempt()]
    return "".join(("s" if model else "L") * n for model, n in names)


def switched(**params: Any) -> str:
    s = Search(
        Problem("p", "q"),
        Unsure(4),
        models={"small": Unsure(4)},
        sampling=Sampling(max_tokens=10),
        step=Step(),
    )
    asyncio.run(entropy_switch(s, small="small", **params))
    return tokens_of(s)


def test_the_model_changes_with_the_mean_entropy_of_the_window() -> None:
    """Bits by token: 2 2 0 0 0 2 2 0 0 0; means of two: 2 2 1 0 0 1 2 1 0."""
    how = {"window": 2, "every": 1, "threshold": 1.5}
    assert switched(least=0, **how) == "sLLssssLss"
    assert switched(least=3, **how) == "sssssssLLL"
    assert switched(least=0, **{**how, "threshold": 4.33}) == "s" * 10
    assert switched(least=0, **{**how, "every": 5}) == "s" * 10  # it sees only the chunk's end
    assert switched(least=0, **{**how, "every": 5, "window": 5, "threshold": 0.7}) == "sssssLLLLL"


# --------------------------------------------------------------------------------- in common


@pytest.mark.parametrize(
    ("searcher", "params"),
    [
        (glimp_router, {"threshold": 1.0}),
        (arbitrage, {"by": "gain", "verifier": GAINS}),
        (foreal, {"n": 2, "stop": ("\n\n",)}),
        (entropy_switch, {"every": 2}),
    ],
)
@pytest.mark.parametrize("limit", [0, 1, 3, 5])
def test_what_a_short_budget_reached_is_put_forward(
    searcher: Any, params: dict[str, Any], limit: int
) -> None:
    params = dict(params)
    s = Search(
        Problem("p", "q"),
        Author("L"),
        verifier=params.pop("verifier", None),
        models={"small": Author("s")},
        budget=Budget(limit),
        step=Step(),
    )
    asyncio.run(searcher(s, small="small", **params))
    assert s.usage.generated_tokens <= limit
    drawn = [n for n in s.tree if n.sample.finish != "probe"]
    assert bool(s.candidates) == bool(drawn)
