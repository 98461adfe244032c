"""Cascades: who is asked, what tells that one is sure, what it costs, and whose answer stands."""

from __future__ import annotations

import asyncio
from math import log
from typing import Any

import numpy as np
import pytest

from reasoning.aggregators.first import first
from reasoning.backends.scripted import Scripted, cut
from reasoning.budget import Budget
from reasoning.generate import EVERYONES, Prompt, Sampling
from reasoning.problem import Problem
from reasoning.search import Search
from reasoning.testing.contracts import SEARCHER_CHECKS, Case
from reasoning.testing.searcher_contract import check_other_process
from reasoning.tree import Node, Sample, TopLogprobs
from reasoning.verify import Verifier
from searchers.kernels.deferral import features
from searchers.kernels.uncertainty import mean_over, spelled
from searchers.models.cascade import cascade


class Sayer(Scripted):
    """Says a text of which every token has these log-probabilities; Yes with `right` in a probe."""

    def __init__(self, text: str, nats: list[float], right: float = 0.5) -> None:
        self.text, self.nats, self.right = text, nats, right
        super().__init__([text])

    @property
    def honours(self) -> frozenset[str]:
        return EVERYONES | {"top_logprobs"}

    def reply(self, prompt: Prompt, params: Sampling, seed: int) -> Sample:
        if prompt.suffix:
            table = np.array([[log(self.right), log(1 - self.right)]], np.float32)
            tops = TopLogprobs((("Yes", " No"),), table)
            return Sample("Yes", finish="length", generated_tokens=1, top_logprobs=tops)
        sample = cut(self.text, params)
        values = np.array(self.nats[: sample.generated_tokens], np.float32)
        tops = None
        if params.top_logprobs:  # the token said is the second likeliest
            texts = tuple(("other", word) for word in _words(sample.text))
            tops = TopLogprobs(texts, np.stack([values + 0.1, values], axis=1))
        return Sample(sample.text, logprobs=values, generated_tokens=len(values), top_logprobs=tops)


def _words(text: str) -> list[str]:
    first, *rest = text.split(" ")
    return [first, *(f" {word}" for word in rest)]


class Known(Verifier):
    name, text_only = "known", True

    async def score(self, problem: Problem, node: Node, *, meter: Any) -> tuple[float, ...]:
        del problem, meter
        return (0.7 if "small" in node.text else 0.9,)


def run(small: Scripted, limit: int | None = None, **params: Any) -> tuple[str | None, Search]:
    large = Sayer("large \\boxed{2}", [-1.0, -1.0])
    s = Search(
        Problem("p", "q"), large, models={"small": small}, verifier=Known(), budget=Budget(limit)
    )
    asyncio.run(cascade(s, order=("small", ""), **params))
    found = first(s.candidates)
    return found and found.answer and found.answer.text, s


SMALL = Sayer("small \\boxed{1}", [-0.4, -0.2], right=0.8)


@pytest.mark.parametrize(
    ("by", "value"), [("logprob", -0.3), ("answer", -0.2), ("p_true", 0.8), ("verifier", 0.7)]
)
def test_from_the_threshold_on_the_small_model_is_believed(by: str, value: float) -> None:
    answer, s = run(SMALL, by=by, thresholds=(value - 1e-6,))
    assert (answer, len(s.candidates)) == ("1", 1)
    answer, s = run(SMALL, by=by, thresholds=(value + 1e-6,))
    assert (answer, len(s.candidates)) == ("2", 2)
    assert s.usage.generated_tokens == 4 + (by == "p_true")
    assert s.usage.models["small"].generated_tokens == 2 + (by == "p_true")


def test_the_rule_defers_for_the_gain_it_expects() -> None:
    """Gain .1 - .5 * -.3 - 20 * .002 = .21."""
    rule = {"intercept": 0.1, "logprob": -0.5, "tokens": -20.0}
    assert run(SMALL, by="gain", gain=rule, thresholds=(-0.2,))[0] == "2"
    assert run(SMALL, by="gain", gain=rule, thresholds=(-0.22,))[0] == "1"
    assert run(SMALL, by="gain")[0] == "1"  # no rule expects no gain


def test_what_a_rule_knows() -> None:
    """Two tokens of mean -.3: the whole has probability e^-.6 = .549, entropy .688."""
    found = features(-0.3, 2)
    assert found == pytest.approx(
        {
            "intercept": 1,
            "tokens": 0.002,
            "logprob": -0.3,
            "probability": 0.5488,
            "entropy": 0.6884,
        },
        abs=1e-4,
    )
    assert features(None, 2) == {"intercept": 1, "tokens": 0.002}
    assert features(0.0, 5)["entropy"] == features(-99.0, 99)["entropy"] == 0
    assert run(SMALL, by="gain", gain={"entropy": 1.0}, thresholds=(-0.68,))[0] == "2"
    assert run(SMALL, by="gain", gain={"probability": 1.0}, thresholds=(-0.56,))[0] == "1"


def test_whoever_gave_no_answer_is_not_sure() -> None:
    answer, s = run(Sayer("hm hm", [-0.1, -0.1]), thresholds=(-9.0,))
    assert (answer, s.usage.calls) == ("2", 2)


def test_a_model_that_fails_is_passed_over_and_one_without_an_answer_does_not_stand() -> None:
    failing = Scripted([RuntimeError("down")])
    assert run(failing)[0] == "2"
    s = Search(Problem("p", "q"), Scripted(["hm"]), models={"small": SMALL})
    asyncio.run(cascade(s, order=("small", ""), thresholds=(9.0,)))
    chosen = first(s.candidates)
    assert chosen is not None
    assert chosen.node is s.tree[(0,)]


def test_the_last_threshold_holds_for_all_that_follow() -> None:
    models = {name: Sayer(f"x \\boxed{{{i}}}", [-0.3, -0.3]) for i, name in enumerate("abc")}
    s = Search(Problem("p", "q"), Scripted([]), models=models)
    asyncio.run(cascade(s, order=("a", "b", "c"), thresholds=(-0.2, -0.4)))
    assert [n.sample.model for n in s.tree] == ["a", "b"]


@pytest.mark.parametrize(("limit", "answer"), [(0, None), (1, None), (2, "1"), (3, "1"), (4, "2")])
def test_a_limit_keeps_the_answer_that_is_there(limit: int, answer: str | None) -> None:
    found, s = run(SMALL, limit, thresholds=(0.0,))
    assert found == answer
    assert s.usage.generated_tokens <= limit


def test_tokens_are_told_from_the_alternatives() -> None:
    sample = Sayer("a bb \\boxed{1} c", [-0.1, -0.2, -0.3, -0.4]).reply(
        Prompt(Problem("p", "q"), Search(Problem("p", "q"), SMALL).root, 0),
        Sampling(max_tokens=9, top_logprobs=2),
        0,
    )
    assert spelled(sample) == ["a", " bb", " \\boxed{1}", " c"]
    assert mean_over(sample, "1") == pytest.approx(-0.3)
    assert mean_over(sample, "bb \\boxed") == pytest.approx(-0.25)
    assert mean_over(sample, "z") is None
    assert mean_over(Sample("a"), "a") is None
    strange = Sample("zz", logprobs=sample.logprobs, top_logprobs=sample.top_logprobs)
    assert spelled(strange) is None


@pytest.mark.parametrize("by", ["logprob", "answer", "p_true", "gain"])
def test_the_other_forms_keep_the_contract(by: str) -> None:
    params = {"order": ("", "other"), "by": by, "thresholds": (-0.2 if by != "p_true" else 0.5,)}
    case = Case(searcher=cascade, params=params, models=("other",))
    for check in SEARCHER_CHECKS:
        if check is not check_other_process:
            check(case)
