"""solve: one call from a question to an answer."""

from __future__ import annotations

import asyncio
import functools
import math
from contextlib import nullcontext
from typing import Any

import pytest

from reasoning import Limits, Problem, Sampling, Search, Step, solve, solve_async
from reasoning.aggregators import Candidate
from reasoning.backends.scripted import Scripted
from reasoning.clock import VirtualClock
from reasoning.errors import (
    EngineError,
    GenerationError,
    RecipeError,
    TransientError,
    UserError,
    VerificationError,
)
from reasoning.generate import Prompt
from reasoning.result import run_search
from reasoning.runs.stages import chained
from reasoning.session import run_sync, start
from reasoning.testing import ToyGenerator, ToyVerifier, random_tree

BOXES = ["\\boxed{1}", "\\boxed{2}", "\\boxed{2}", "no answer"]
MODEL = random_tree(7, depth=4)


def test_from_a_question_to_an_answer() -> None:
    result = solve("q", searcher="self_consistency", n=4, generator=Scripted(BOXES))
    assert (result.answer, result.stop_reason) == ("2", "finished")
    assert [c.answer and c.answer.key for c in result.candidates] == ["1", "2", "2", "no answer"]
    assert len(result.tree) == result.usage.calls == 4
    assert result.failures == []


def test_a_choice_by_score_needs_a_verifier_before_anything_is_drawn() -> None:
    def script(prompt: Prompt, seed: int) -> str:
        raise AssertionError

    for more in ({"searcher": "best_of_n", "n": 2}, {"searcher": "sample", "aggregator": "best"}):
        with pytest.raises(RecipeError, match="chooses by score and there is no verifier"):
            solve("q", generator=Scripted(script), **more)


def test_without_a_generator_an_example_says_how_to_name_one() -> None:
    for none in ({}, {"generator": None}):
        with pytest.raises(RecipeError, match=r'needs a generator.* generator="nano"'):
            solve("q", searcher="sample", **none)


def test_names_and_objects_mix() -> None:
    by_name = solve("q", searcher="best_of_n", n=3, generator="scripted", verifier="logprob")
    verifier = ToyVerifier(MODEL)
    generator = ToyGenerator(MODEL)
    by_object = solve(
        MODEL.problem,
        searcher="best_of_n",
        n=3,
        generator=generator,
        verifier=verifier,
        aggregator={"name": "best"},
        sampling={"temperature": 0.5},
        step=Step(max_tokens=3),
        limits={"tokens": 100},
    )
    assert by_name.answer
    assert by_name.usage.verifier_calls == 3
    assert by_object.usage.verifier_calls == verifier.calls == 3


def test_a_searcher_may_be_any_function() -> None:
    async def twice(search: Search, *, times: int = 2) -> None:
        for _ in range(times):
            if node := await search.draw(search.root, until="end"):
                search.emit(node)

    assert len(solve("q", searcher=twice, generator=Scripted(BOXES)).candidates) == 2
    bound = functools.partial(twice, times=3)
    assert len(solve("q", searcher=bound, generator=Scripted(BOXES)).candidates) == 3
    with pytest.raises(RecipeError, match="unknown parameter of twice 'tmes'"):
        solve("q", searcher=twice, tmes=3, generator=Scripted(BOXES))


def test_equal_answers_are_one_however_written() -> None:
    boxes = ["\\boxed{3}", "\\boxed{0.5}", "\\boxed{\\frac{1}{2}}"]
    result = solve("q", searcher="self_consistency", n=3, generator=Scripted(boxes))
    assert result.answer == "0.5"
    assert len({c.answer.key for c in result.candidates if c.answer}) == 2


@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        (Limits(), "finished"),
        (Limits(tokens=0), "tokens"),
        (Limits(tokens=3), "tokens"),
        (Limits(tokens=1000), "finished"),
        (Limits(verifier_calls=2), "verifier_calls"),
        (Limits(seconds=1.5), "seconds"),
        (Limits(seconds=100), "finished"),
        (Limits(tokens=1, seconds=0.5), "seconds"),
    ],
)
def test_stop_reasons(limits: Limits, reason: str) -> None:
    result = solve(
        MODEL.problem,
        searcher="best_of_n",
        n=4,
        generator=ToyGenerator(MODEL, token_seconds=1.0),
        verifier=ToyVerifier(MODEL),
        sampling=Sampling(max_tokens=12),
        limits=limits,
    )
    assert result.stop_reason == reason
    if limits.tokens is not None:
        assert result.usage.generated_tokens <= limits.tokens
    if limits.seconds is not None:
        assert result.usage.seconds <= limits.seconds


def test_what_was_emitted_before_the_deadline_is_the_answer() -> None:
    slow = Scripted(BOXES, delay=lambda _: 0.0, token_seconds=1.0)
    replies = ["word " * 9 + "\\boxed{1}", "\\boxed{2}"]
    slow.script = replies

    async def eager(search: Search) -> None:
        async with asyncio.TaskGroup() as group:
            for slot in range(2):
                group.create_task(one(search, slot))

    async def one(search: Search, slot: int) -> None:
        if node := await search.draw(search.root, until="end"):
            search.emit(node)

    result = solve("q", searcher=eager, generator=slow, limits={"seconds": 5})
    assert (result.answer, result.stop_reason) == ("2", "seconds")
    assert result.usage.seconds == 5
    assert result.usage.wasted_tokens == 5


@pytest.mark.parametrize("error", [EngineError("gone"), UserError("mistake"), RecipeError("n")])
@pytest.mark.parametrize("searcher", ["sample", "self_consistency", "first_finish", "best_of_n"])
def test_errors_come_out_of_task_groups_as_they_are(searcher: str, error: Exception) -> None:
    def failure(prompt: Prompt, _: int) -> Exception | None:
        return error if prompt.slot == 0 else None

    params: dict[str, Any] = {} if searcher == "sample" else {"n": 3}
    generator = ToyGenerator(MODEL, failure=failure)
    with pytest.raises(type(error)) as caught:
        solve(
            MODEL.problem,
            searcher=searcher,
            generator=generator,
            verifier=ToyVerifier(MODEL),
            **params,
        )
    assert caught.value is error
    assert generator.live == 0


def test_a_bug_in_a_searcher_is_told() -> None:
    async def buggy(search: Search) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(broken(search))

    async def broken(search: Search) -> None:
        raise ZeroDivisionError(search.problem.id)

    with pytest.raises(ZeroDivisionError, match="question"):
        solve("q", searcher=buggy, generator=Scripted(BOXES))


def test_failures_are_told_and_do_not_stop_the_search() -> None:
    replies = [GenerationError("told to fail"), "\\boxed{2}"]
    result = solve("q", searcher="self_consistency", n=2, generator=Scripted(replies))
    assert result.answer == "2"
    assert result.usage.failed_calls == 1
    assert result.failures == ["generating (0,): GenerationError: told to fail"]


def test_no_answer_is_none() -> None:
    result = solve(Problem("q", "q"), searcher="sample", generator=Scripted(["I do not know."]))
    assert (result.answer, result.stop_reason) == (None, "finished")


def test_seeds_decide() -> None:
    def tree(seed: int) -> str:
        generator = ToyGenerator(MODEL)
        result = solve(
            MODEL.problem, searcher="self_consistency", n=4, generator=generator, seed=seed
        )
        return "".join(node.text for node in result.tree)

    assert tree(1) == tree(1)
    assert len({tree(seed) for seed in range(5)}) > 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"searcher": "samplee"}, "unknown searcher 'samplee'; did you mean 'sample'"),
        ({"generator": "scriptd"}, "unknown generator"),
        ({"verifier": "nothing"}, "unknown verifier"),
        ({"aggregator": "mean"}, "unknown aggregator"),
        ({"n": 3}, "unknown parameter of sample 'n'"),
        ({"sampling": {"temprature": 1}}, "unknown parameter of Sampling 'temprature'"),
        ({"sampling": {"max_tokens": 0}}, "max_tokens=0 does not fit"),
        ({"limits": {"token": 1}}, "unknown parameter of Limits 'token'"),
        ({"limits": {"tokens": -1}}, "tokens=-1 does not fit"),
        ({"limits": {"seconds": 0}}, "seconds=0 does not fit"),
        ({"step": {"stop": 3}}, "stop=3 does not fit"),
        ({"sampling": 5}, "Sampling is 5; give reasoning.Sampling"),
        ({"limits": Limits}, "Limits is <class .*; give reasoning.Limits"),
        ({"step": "x"}, "Step is 'x'; give reasoning.Step"),
        ({"sampling": Sampling(max_tokens=0)}, "max_tokens=0 does not fit"),
        ({"limits": Limits(tokens=-1)}, "tokens=-1 does not fit"),
        ({"limits": Limits(seconds=math.nan)}, "seconds=nan does not fit"),
        ({"limits": {"tokens": True}}, "tokens=True does not fit: it is no number"),
        ({"prices": 5}, "prices is 5; it is a mapping from names"),
        ({"models": ["scripted"]}, "models is .*; it is a mapping from names"),
        ({"verifiers": 5}, "verifiers is 5; it is a mapping from names"),
        ({"models": {"": "scripted"}}, "a model cannot be called ''"),
        ({"seed": "x"}, "seed is 'x'; it is a whole number"),
        ({"seed": 1.5}, "seed is 1.5; it is a whole number"),
        ({"searcher": None, "stages": 5}, "stages are a list, not 5"),
    ],
)
def test_mistakes_are_named(change: dict[str, Any], message: str) -> None:
    settings: dict[str, Any] = {"searcher": "sample", "generator": "scripted", **change}
    with pytest.raises(RecipeError, match=message):
        solve("q", **settings)


@pytest.mark.parametrize("question", ["", " \n"])
def test_a_question_asks_something(question: str) -> None:
    with pytest.raises(RecipeError, match="the question is empty"):
        solve(question, searcher="sample", generator="scripted")


def test_what_solve_makes_it_closes() -> None:
    closed: list[str] = []

    class Closes(Scripted):
        async def aclose(self) -> None:
            closed.append("closed")

    mine = Closes(BOXES)
    solve("q", searcher="sample", generator=mine)
    assert closed == []  # not ours to close


def test_a_generator_gets_ready_before_the_time_of_the_search_runs() -> None:
    class Slow(Scripted):
        ready = False

        async def astart(self) -> None:
            await self.clock(Problem("question", "q")).sleep(1000)
            self.ready = True

        async def generate(self, *args: Any, **kwargs: Any) -> Any:
            assert self.ready
            return await super().generate(*args, **kwargs)

    result = solve("q", searcher="sample", generator=Slow(BOXES), limits={"seconds": 10})
    assert (result.answer, result.stop_reason) == ("1", "finished")
    assert result.usage.seconds < 10


def test_solve_inside_a_running_loop() -> None:
    async def notebook() -> str | None:
        return solve("q", searcher="sample", generator=Scripted(BOXES)).answer

    assert asyncio.run(notebook()) == "1"

    async def fails() -> None:
        raise KeyError("inside")

    async def failing() -> None:
        run_sync(fails())

    with pytest.raises(KeyError, match="inside"):
        asyncio.run(failing())


def test_many_at_once() -> None:
    generator = ToyGenerator(MODEL, token_seconds=1.0)

    async def work() -> list[str | None]:
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(
                    solve_async(
                        Problem(f"p{i}", "q"),
                        searcher="self_consistency",
                        n=3,
                        generator=generator,
                        limits={"seconds": 4.0},
                    )
                )
                for i in range(5)
            ]
        return [task.result().answer for task in tasks]

    together = asyncio.run(work())
    alone = [
        solve(
            Problem(f"p{i}", "q"),
            searcher="self_consistency",
            n=3,
            generator=generator,
            limits={"seconds": 4.0},
        ).answer
        for i in range(5)
    ]
    assert together == alone


def test_cancelled_from_outside_it_raises() -> None:
    generator = ToyGenerator(MODEL, token_seconds=1.0)

    async def work() -> None:
        search = Search(MODEL.problem, generator, clock=generator.clock(MODEL.problem))
        strategy = chained("self_consistency", (), None, {"n": 3})
        task = asyncio.ensure_future(run_search(search, strategy, seconds=50))
        search.clock.call_later(1.5, task.cancel)
        await asyncio.wait([task])
        assert task.cancelled()
        assert generator.live == 0

    asyncio.run(work())


def test_an_aggregator_may_be_any_function() -> None:
    def last(candidates: list[Candidate]) -> Candidate | None:
        return candidates[-2]

    result = solve(
        "q", searcher="self_consistency", n=4, generator=Scripted(BOXES), aggregator=last
    )
    assert result.answer == "2"


@pytest.mark.parametrize(
    ("errors", "calls"),
    [
        ([TransientError("busy"), TransientError("busy", retry_after=2.0)], 3),
        ([TransientError("busy")] * 9, 4),
        ([VerificationError("no")], 1),
        ([EngineError("gone")], 1),
        ([RecipeError("wrong")], 1),
    ],
)
def test_a_start_is_tried_again_where_that_may_help(errors: list[Exception], calls: int) -> None:
    made = 0

    class Plugin:
        async def astart(self) -> None:
            nonlocal made
            made += 1
            if made <= len(errors):
                raise errors[made - 1]

    clock = VirtualClock()
    kind = RecipeError if isinstance(errors[0], RecipeError) else EngineError
    with nullcontext() if calls > len(errors) else pytest.raises(kind):
        asyncio.run(start(Plugin(), clock))
    assert made == calls
    if calls == 3:
        assert clock.now() == 0.5 + 2.0


@pytest.mark.parametrize(
    ("given", "word"),
    [
        ({"temperature": 0.5}, r"Known: hedge, n\. .*sampling=\{'temperature': \.\.\.\}"),
        ({"limit": {"tokens": 9}}, r"Was limits= meant\?"),
        ({"zzz": 1}, r"Known: hedge, n\.$"),
    ],
)
def test_what_is_no_parameter_of_a_searcher_is_told_its_place(
    given: dict[str, Any], word: str
) -> None:
    with pytest.raises(RecipeError, match=word):
        solve("Q", searcher="self_consistency", n=2, generator=Scripted([]), **given)
