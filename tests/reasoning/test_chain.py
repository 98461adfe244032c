"""Strategies of several stages: what each is given, what is chosen, what a deadline leaves."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from reasoning import Problem, Search, solve
from reasoning.aggregators import Candidate, Choice
from reasoning.answers import Answer
from reasoning.answers.math import Math
from reasoning.answers.text import Text
from reasoning.backends.scripted import Scripted
from reasoning.chain import Chain, asks
from reasoning.clock import VirtualClock
from reasoning.errors import ChoiceError, RecipeError
from reasoning.generate import Prompt, Sampling
from reasoning.result import Result, run_search
from reasoning.runs.stages import chained, entry
from reasoning.testing import ToyGenerator, random_tree
from reasoning.tree import Sample

BOXES = [f"\\boxed{{{i}}}" for i in (2, 1, 1, 3)]


async def again(search: Search) -> None:
    """Writes one candidate more than it was given, each below one of those."""
    for candidate in search.given:
        assert candidate.node is not None
        search.emit(search.write(candidate.node, "\n\\boxed{9}"))


async def idle(search: Search) -> None:
    """Finds nothing."""
    del search


def run(*stages: Any, n: int = 4, **options: Any) -> Result:
    draw = ("self_consistency", {"n": n})
    return solve("q", stages=[draw, *stages], generator=Scripted(BOXES), **options)


def test_one_searcher_is_a_chain_of_one() -> None:
    short = solve("q", searcher="self_consistency", n=4, generator=Scripted(BOXES))
    assert replace(short, candidates=[], chosen=None) == replace(
        run(), tree=short.tree, candidates=[], chosen=None
    )
    assert (short.answer, short.confidence) == ("1", 0.5)
    assert short.chosen is short.candidates[1]
    assert short.text == "\\boxed{1}"


def test_a_filter_comes_before_the_vote() -> None:
    def late(candidates: Sequence[Candidate]) -> list[Candidate]:
        return list(candidates)[3:]

    found = run({"aggregator": late}, "majority")
    assert found.answer == "3"
    assert len(found.candidates) == 4, "what was drawn, whatever was filtered"
    assert run({"aggregator": late}).answer == "3", "the searcher's own aggregator chooses"


def test_a_searcher_goes_on_from_what_was_given() -> None:
    found = run({"searcher": again}, "first")
    assert found.answer == "9"
    assert [c.path for c in found.candidates] == [(i, 0) for i in range(4)]
    one = run("majority", {"searcher": again})
    assert [c.path for c in one.candidates] == [(1, 0)], "the majority alone was given"


def test_a_stage_with_empty_hands_loses_nothing() -> None:
    assert run({"searcher": idle}).answer == "1"


def test_an_aggregator_may_ask_models_and_pays_for_it() -> None:
    async def ask(candidates: Sequence[Candidate], search: Search) -> Choice:
        node = await search.draw(search.root, until="end")
        assert node is not None
        return Choice(next(c for c in candidates if c.answer), 0.25)

    found = run({"aggregator": ask})
    assert (found.answer, found.confidence, found.usage.calls) == ("2", 0.25, 5)
    assert asks(ask)


def test_abstaining() -> None:
    def never(candidates: Sequence[Candidate]) -> Choice:
        del candidates
        return Choice(None, 0.0)

    found = run({"aggregator": never})
    assert (found.answer, found.chosen, found.confidence) == (None, None, 0.0)
    assert run({"aggregator": never}, "majority").answer is None


@pytest.mark.parametrize("given", ["1", Answer("1", "1"), 3, ["1"]])
def test_what_is_no_choice_fails_the_search(given: object) -> None:
    with pytest.raises(ChoiceError, match=r"gave back .*; it chooses one of the candidates"):
        run({"aggregator": lambda candidates: given})


def test_a_share_bounds_a_stage_alone() -> None:
    generator = Scripted(["a b c d e f g h i \\boxed{1}"])
    draw = ("self_consistency", {"n": 10, "share": 0.3})
    found = solve(
        "q",
        stages=[draw, ("self_consistency", {"n": 3})],
        generator=generator,
        limits={"tokens": 100},
        sampling=Sampling(max_tokens=10),
    )
    assert found.usage.generated_tokens == 30 + 30
    assert found.answer == "1"
    assert found.stop_reason == "tokens", "the first stage was curtailed"


@pytest.mark.parametrize("at", [0.5, 1.5, 2.5, 3.5, 50.0])
def test_a_deadline_loses_nothing(at: float) -> None:
    """Samples of 1 to 3 s, then a stage that never ends: the vote is on what had landed."""

    async def work() -> Result:
        async def stuck(candidates: Sequence[Candidate], search: Search) -> Candidate:
            await clock.sleep(1000.0)
            return candidates[0]

        generator = Asleep(BOXES)
        search = Search(Problem("p", "q"), generator, clock=clock)
        return await run_search(search, chained(None, [draw, {"aggregator": stuck}], None, {}), at)

    class Asleep(Scripted):
        async def generate(self, prompt: Prompt, params: Sampling, **rest: Any) -> Sample:
            await clock.sleep(1.0 + prompt.slot)
            rest["meter"](1)
            return Sample(BOXES[prompt.slot], finish="end", generated_tokens=1)

    draw = ("self_consistency", {"n": 3})
    clock = VirtualClock()
    found = asyncio.run(work())
    assert found.stop_reason == "seconds"
    landed = min(3, int(at))
    assert len(found.candidates) == landed
    assert found.answer == [None, "2", "2", "1"][landed]


def test_stages_depend_on_no_latency() -> None:
    model = random_tree(3, depth=3)
    seen = set()
    for delay in (0.0, 0.5):
        generator = ToyGenerator(model, token_seconds=delay)
        found = solve(
            model.problem,
            stages=[("self_consistency", {"n": 6}), {"searcher": again}, "majority"],
            generator=generator,
            limits={"tokens": 40},
        )
        seen.add((found.answer, found.usage.generated_tokens, len(found.tree)))
    assert len(seen) == 1


def test_answers_are_grouped_by_meaning_once() -> None:
    asked: list[tuple[str, str]] = []

    class Kind(Math):
        def find(self, text: str, finished: bool) -> Answer:
            return Answer(text, text)

        async def alike(self, one: Answer, others: Sequence[Answer]) -> list[bool]:
            asked.extend((one.text, other.text) for other in others)
            return [one.text.lower() == other.text.lower() for other in others]

    problem = Problem("p", "q", answers=Kind())
    stages = [("self_consistency", {"n": 3}), {"searcher": idle}, "majority"]
    found = solve(problem, stages=stages, generator=Scripted(["b", "a", "B"]))
    assert found.answer == "b"
    assert [c.answer and c.answer.key for c in found.candidates] == ["b", "a", "b"]
    assert len(asked) == len(set(asked)) == 2


@pytest.mark.parametrize(
    ("stages", "word"),
    [
        (["majority"], "the first stage is a searcher"),
        ([("self_consistency", {"n": 2}), "majorty"], "did you mean 'majority'"),
        ([("self_consistency", {"n": 2, "share": 2})], "share=2"),
        ([("self_consistency", {"m": 2})], "unknown parameter"),
        ([("self_consistency", 4)], "are a mapping, not 4"),
        ([("self_consistency", {}, 4)], "a name and its parameters"),
        (["a.b:c"], "may be a searcher or an aggregator"),
        ([{"self_consistency": {"n": 1}, "majority": {}}], "a stage is a name"),
        ([], "either a searcher or stages"),
    ],
)
def test_mistakes(stages: list[Any], word: str) -> None:
    with pytest.raises(RecipeError, match=word):
        solve("q", stages=stages, generator="scripted")


def test_what_a_chain_needs_is_said_before_anything_is_spent() -> None:
    generator = Scripted(lambda prompt, seed: pytest.fail("nothing is drawn"))
    free = Problem("p", "q", answers=Text())
    for problem, stages, word in (
        (free, ["self_consistency"], "majority counts equal answers"),
        ("q", ["best_of_n"], "best_of_n chooses by score"),
        ("q", ["self_consistency", "deepconf_filter"], "sampling.confidence_k: 20"),
    ):
        first, *rest = stages
        with pytest.raises(RecipeError, match=word):
            solve(problem, stages=[(first, {"n": 2}), *rest], generator=generator)
    judged: list[Any] = [("self_consistency", {"n": 2}), "weighted_majority"]
    with pytest.raises(RecipeError, match="self_consistency scores nothing; take searcher best_of"):
        solve("q", stages=judged, generator=generator, verifier="nano_prm")
    found = solve(free, stages=[("self_consistency", {"n": 2}), "first"], generator=Scripted("a"))
    assert found.answer == "a"


def test_entries_read_alike_however_they_are_stated() -> None:
    stated: list[Any] = [
        {"best_of_majority": {"alpha": 0.2}},
        ("best_of_majority", {"alpha": 0.2}),
        {"aggregator": "best_of_majority", "alpha": 0.2},
        {"aggregator": {"name": "best_of_majority", "alpha": 0.2}},
    ]
    assert len({str(entry(s)) for s in stated}) == 1
    assert isinstance(chained("sample", (), "first", {}), Chain)


def test_a_searcher_that_is_no_coroutine_is_told() -> None:
    def plain(search: Search) -> None:
        del search

    with pytest.raises(RecipeError, match="plain gave back None and is no coroutine"):
        solve("q", searcher=plain, generator=Scripted(BOXES))


def test_comparing_answers_ends_with_the_time_and_spelling_counts_after_it() -> None:
    """Two towers of powers whose comparison takes for ever, and an answer found twice."""
    clock = VirtualClock()

    class Towers(Math):
        async def alike(self, one: Answer, others: Sequence[Answer]) -> list[bool]:
            await clock.sleep(1e9)
            return await super().alike(one, others)

    texts = [f"\\boxed{{{x}}}" for x in ("9^{9^{9^9}}", "7^{7^{7^7}}", "5", "5")]
    search = Search(Problem("p", "q", answers=Towers()), Scripted(texts), clock=clock)
    strategy = chained("self_consistency", (), None, {"n": 4})
    found = asyncio.run(run_search(search, strategy, 3.0))
    assert (found.answer, found.stop_reason, found.usage.seconds) == ("5", "seconds", 3.0)
    assert len(found.candidates) == 4
