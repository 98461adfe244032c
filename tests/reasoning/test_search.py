"""The search context: what is paid, retried, filed, scored and emitted."""

from __future__ import annotations

import asyncio
import math
from asyncio import TaskGroup
from collections.abc import Callable, Coroutine
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar, cast

import numpy as np
import pytest

from reasoning.answers.math import Math
from reasoning.backends.scripted import Scripted
from reasoning.budget import Budget
from reasoning.errors import (
    EngineError,
    GenerationError,
    RecipeError,
    TransientError,
    UserError,
    VerificationError,
)
from reasoning.generate import Generator, Meter, Prompt, Sampling
from reasoning.problem import Problem
from reasoning.search import Retry, Search, Step
from reasoning.seeds import fold
from reasoning.testing import ToyGenerator, ToyVerifier, markov
from reasoning.testing.contracts import check_accounts
from reasoning.tree import Node, Sample, Turn
from reasoning.usage import Price
from reasoning.verify import Scores, Verifier

T = TypeVar("T")
PROBLEM = Problem("p", "question")


def search(generator: Any = None, **settings: Any) -> Search:
    generator = generator or Scripted(["one two\n\nthree four"])
    settings.setdefault("sampling", Sampling(max_tokens=20))
    settings.setdefault("clock", generator.clock(PROBLEM))
    return Search(PROBLEM, generator, **settings)


def run(work: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(work)


class Flaky(Generator):
    """Fails as told, attempt by attempt, after metering two tokens; then says `ok`."""

    def __init__(self, *errors: BaseException) -> None:
        self.errors = list(errors)
        self.seeds: list[int] = []

    async def generate(
        self, prompt: Prompt, params: Sampling, *, seed: int, meter: Meter
    ) -> Sample:
        del prompt, params
        self.seeds.append(seed)
        meter(2)
        if self.errors:
            raise self.errors.pop(0)
        return Sample("ok", generated_tokens=2)


class Waits:
    """A clock that notes how long it is told to wait, and does not."""

    def __init__(self) -> None:
        self.waits: list[float] = []

    def now(self) -> float:
        return sum(self.waits)

    async def sleep(self, delay: float) -> None:
        self.waits.append(delay)

    def call_later(self, delay: float, callback: Callable[[], object]) -> Any:
        raise NotImplementedError


# ------------------------------------------------------------------------------ extend


def test_a_step_stops_where_it_should_and_the_end_is_the_end() -> None:
    found = search()
    step = run(found.draw(found.root))
    whole = run(found.draw(found.root, until="end"))
    assert step
    assert whole
    assert (step.sample.text, step.sample.finish) == ("one two\n\n", "stop")
    assert (whole.sample.text, whole.sample.finish) == ("one two\n\nthree four", "end")
    assert step.finished is False
    assert whole.finished is True


def test_limits_of_a_step_and_of_a_path() -> None:
    found = search(
        Scripted(["a b c d e f g"]), sampling=Sampling(max_tokens=5), step=Step(max_tokens=3)
    )
    one = run(found.draw(found.root))
    assert one
    assert (one.sample.text, one.sample.finish) == ("a b c", "length")
    two = run(found.draw(one))
    assert two
    assert two.sample.generated_tokens == 2
    assert run(found.draw(two)) is None  # the path is full
    assert found.budget.exhausted is None
    assert found.usage.calls == 2
    assert found.usage.critical_tokens == 5


def test_the_seed_of_a_call_is_its_place() -> None:
    seeds = []
    for run_seed in (1, 2):
        generator = Flaky()
        found = search(generator, seed=run_seed)
        node = run(found.draw(found.root, until="end"))
        assert node
        run(found.draw(node, until="end"))
        run(found.draw(node, until="end"))
        seeds.append(generator.seeds)
    first = fold(fold(1, "p"), 0)
    assert seeds[0] == [first, fold(first, 0), fold(first, 1)]
    assert not set(seeds[0]) & set(seeds[1])


def test_temperature_of_one_call() -> None:
    given: list[float] = []

    class Asks(Flaky):
        async def generate(self, prompt: Prompt, params: Sampling, **kwargs: Any) -> Sample:
            given.append(params.temperature)
            return await super().generate(prompt, params, **kwargs)

    found = search(Asks(), sampling=Sampling(max_tokens=9, temperature=0.7))
    run(found.draw(found.root))
    run(found.draw(found.root, temperature=0.0))
    assert given == [0.7, 0.0]


def test_slots_are_given_in_the_order_of_the_calls_not_of_their_ends() -> None:
    found = search(Scripted(["slow", "quick"], delay=lambda seed: 0.0))
    first, second = found.draw(found.root), found.draw(found.root)
    assert [n and n.text for n in (run(second), run(first))] == ["quick", "slow"]
    assert [n.text for n in found.root.children] == ["slow", "quick"]


def test_draws_continue_where_they_were() -> None:
    found = search(Scripted(["a", "b", "c", "d", "e"]))

    async def work() -> list[list[str]]:
        async with TaskGroup() as group:
            tasks = [group.create_task(found.draws(found.root, n)) for n in (2, 1)]
        last = await found.draws(found.root, 2)
        return [[n.text for n in nodes] for nodes in (*(t.result() for t in tasks), last)]

    assert run(work()) == [["a", "b"], ["c"], ["d", "e"]]
    assert [n.path for n in found.tree] == [(i,) for i in range(5)]


def test_draws_go_past_slots_filled_by_hand() -> None:
    found = search()
    found.tree.add(found.root, 1, Sample("by hand"))
    assert [n.slot for n in run(found.draws(found.root, 2))] == [2, 3]


def test_a_turn_that_starts_afresh() -> None:
    prompts: list[tuple[str, str]] = []

    def script(prompt: Prompt, _: int) -> str:
        prompts.append((prompt.messages[-1].content, prompt.text))
        return "again." if prompt.turn else "first. " if not prompt.text else "more. "

    found = search(Scripted(script))

    async def work() -> None:
        one = await found.draw(found.root)
        assert one
        two = await found.draw(one, turn=Turn.user("improve it", afresh=True))
        assert two
        three = await found.draw(two)
        assert three
        assert (two.text, three.text) == ("again.", "again.more. ")

    run(work())
    expected = [("question", ""), ("improve it", ""), ("improve it", "again.")]
    assert prompts == expected


# ------------------------------------------------------------------------------ failures


def test_transient_failures_are_tried_again() -> None:
    clock = Waits()
    generator = Flaky(TransientError("busy", retry_after=7.0), TransientError("busy"))
    found = search(generator, clock=clock)
    node = run(found.draw(found.root))
    assert node
    assert node.text == "ok"
    assert len(set(generator.seeds)) == 1  # the same sample, not another
    assert clock.waits[0] == 7.0
    assert 0.5 <= clock.waits[1] <= 1.0
    usage = found.usage
    assert (usage.generated_tokens, usage.wasted_tokens, usage.retried_calls) == (6, 4, 2)
    assert (usage.calls, usage.failed_calls) == (3, 0)
    assert found.failures == []
    check_accounts(found)


def test_pauses_are_bounded_jittered_and_the_same_every_time() -> None:
    retry = Retry(attempts=6, pause=1.0, longest=5.0)
    assert [retry.delay(i, None, 0.0) for i in range(5)] == [1, 2, 4, 5, 5]
    assert retry.delay(1, None, 0.999) == pytest.approx(1.001)
    assert retry.delay(0, 100.0, 0.5) == 5.0
    assert retry.delay(4, 0.0, 0.5) == 0.0
    waits = []
    for _ in range(2):
        clock = Waits()
        found = search(Flaky(*[TransientError("busy")] * 5), clock=clock, retry=retry)
        assert run(found.draw(found.root))
        waits.append(clock.waits)
    assert waits[0] == waits[1]
    assert all(max(1, 2**i) / 2 <= w <= 5 for i, w in enumerate(waits[0]) if i < 3)


def test_a_call_that_never_succeeds_is_a_failed_node() -> None:
    clock = Waits()
    found = search(Flaky(*[TransientError("busy")] * 9), clock=clock)
    assert run(found.draw(found.root)) is None
    (node,) = found.tree
    assert node.sample.finish == "failed"
    assert node.sample.info == {"error": "TransientError: busy"}
    assert len(clock.waits) == 3
    assert found.failures == ["generating (0,): TransientError: busy"]
    assert (found.usage.generated_tokens, found.usage.wasted_tokens) == (8, 8)
    check_accounts(found)


@pytest.mark.parametrize("error", [GenerationError("no"), RuntimeError("bug"), KeyError("x")])
def test_other_failures_fail_at_once(error: Exception) -> None:
    generator = Flaky(error)
    found = search(generator)
    assert run(found.draws(found.root, 2)) == [found.tree[(1,)]]
    assert len(generator.seeds) == 2
    assert found.usage.failed_calls == 1
    assert found.candidates == []
    check_accounts(found)


@pytest.mark.parametrize("error", [EngineError("gone"), UserError("mistake"), RecipeError("n")])
def test_errors_that_end_the_run_do(error: Exception) -> None:
    found = search(Flaky(error))
    with pytest.raises(type(error)) as caught:
        run(found.draw(found.root))
    assert caught.value is error
    assert found.budget.tokens.reserved == 0
    check_accounts(found)


def test_waste_counts_against_the_limit() -> None:
    found = search(Flaky(*[TransientError("busy")] * 9), clock=Waits(), budget=Budget(5))
    assert run(found.draw(found.root)) is None
    assert found.budget.tokens.spent <= 6  # this fake says more than it was granted
    assert found.budget.exhausted == "tokens"


# ------------------------------------------------------------------------------- limits


def test_running_out_is_no_exception() -> None:
    found = search(Scripted(["a b c"]), budget=Budget(7), sampling=Sampling(max_tokens=4))
    nodes = run(found.draws(found.root, 4))
    assert [n.sample.generated_tokens for n in nodes] == [3, 3, 1]
    assert [n.sample.finish for n in nodes] == ["end", "end", "length"]
    assert found.budget.exhausted == "tokens"
    assert run(found.draw(found.root)) is None
    assert found.usage.calls == 3
    check_accounts(found)


def test_whole_solutions_share_what_is_left() -> None:
    """All start at once, each with an equal share; whoever ends early leaves it to the others."""
    texts = ["a b", "a b c d e f", "a b c d e f g h"]
    found = search(Scripted(texts), budget=Budget(15), sampling=Sampling(max_tokens=9))
    nodes = run(found.draws(found.root, 3, until="end"))
    assert [n.text for n in nodes] == ["a b", "a b c d e f", "a b c d e f g"]
    assert [n.sample.finish for n in nodes] == ["end", "end", "length"]
    assert found.budget.exhausted == "tokens"
    assert found.usage.generated_tokens == 15
    check_accounts(found)


def test_views_share_the_tree_and_split_the_budget() -> None:
    found = search(Scripted(["a b c"]), budget=Budget(5, 3))

    async def work(view: Search, i: int) -> None:
        assert view.budget.tokens.limit == (3, 2)[i]
        node = await view.draw(view.root)
        assert node
        view.emit(node)

    run(found.split(2, work))
    assert [c.path for c in found.candidates] == [(0,), (1,)]
    assert found.usage.generated_tokens == 5
    assert found.budget.exhausted == "tokens"
    assert run(found.draw(found.root)) is None
    check_accounts(found)


# ------------------------------------------------------------------------------ scoring


MODEL = markov({"": {"a": 0.5, "b": 0.5}, "a": {"1": 1.0}, "b": {"1": 0.5, "2": 0.5}})


def test_a_node_is_scored_once_however_many_ask() -> None:
    generator = ToyGenerator(MODEL)
    verifier = ToyVerifier(MODEL, delay=lambda _: 1.0, clock=generator.clock)
    found = search(generator, verifier=verifier)

    async def work() -> None:
        nodes = await found.draws(found.root, 3, until="end")
        async with TaskGroup() as group:
            for _ in range(4):
                group.create_task(found.score(*nodes, nodes[0]))
        assert all(node.scores["toy"] for node in nodes)
        await found.score(*nodes)

    run(work())
    assert verifier.calls == found.usage.verifier_calls == 3


def test_who_waits_for_a_score_survives_whoever_was_getting_it() -> None:
    generator = ToyGenerator(MODEL)
    verifier = ToyVerifier(MODEL, delay=lambda _: 1.0, clock=generator.clock)
    found = search(generator, verifier=verifier)

    async def work() -> None:
        node = await found.draw(found.root)
        assert node
        first, second = (asyncio.ensure_future(found.score(node)) for _ in range(2))
        await asyncio.sleep(0)
        first.cancel()
        await asyncio.wait([first, second])
        assert first.cancelled()
        assert node.scores["toy"]

    run(work())
    assert found.usage.verifier_calls == 2
    assert found.budget.verifier_calls.reserved == 0


@pytest.mark.parametrize(
    ("value", "message"),
    [(float("nan"), "not a finite number"), (float("inf"), "not a finite number")],
)
def test_scores_that_are_no_numbers_are_failures(value: float, message: str) -> None:
    found = search(ToyGenerator(MODEL), verifier=ToyVerifier(MODEL, lambda _: value))
    (node,) = run(found.draws(found.root, 1))
    run(found.score(node))
    run(found.score(node))
    assert node.scores == {"toy": ()}
    assert message in found.failures[0]
    assert found.usage.verifier_calls == 1  # a failure is not tried for ever
    found.emit(node)
    assert found.candidates[0].steps == ()


@pytest.mark.parametrize("given", [0.5, None, "high"])
def test_what_is_no_verdict_is_a_failure(given: object) -> None:
    class Wrong(Verifier):
        name = "wrong"

        async def score(self, problem: Problem, node: Node, *, meter: Meter) -> Scores:
            del problem, node
            return given  # type: ignore[return-value]

    found = search(verifier=Wrong())
    (node,) = run(found.draws(found.root, 1))
    run(found.score(node))
    assert node.scores == {"wrong": ()}
    assert found.usage.failed_calls == 1


def test_numpy_scores_can_be_stored() -> None:
    found = search(ToyGenerator(MODEL), verifier=ToyVerifier(MODEL, lambda _: np.float32(0.5)))
    (node,) = run(found.draws(found.root, 1))
    run(found.score(node))
    found.emit(node, np.float32(0.25), rank=np.int64(3))
    assert '"scores": {"toy": [0.5]}, "weight": 0.25, "rank": 3.0' in found.tree.to_jsonl()


def test_verifier_calls_are_limited_and_retried() -> None:
    errors: list[Exception | None] = [TransientError("busy"), None, VerificationError("no")]
    found = search(
        ToyGenerator(MODEL),
        verifier=ToyVerifier(MODEL, failure=lambda _: errors.pop(0)),
        budget=Budget(verifier_calls=3),
        clock=Waits(),
    )
    nodes = run(found.draws(found.root, 3))
    for node in nodes:
        run(found.score(node))
    assert [node.scores.get("toy") for node in nodes][1:] == [(), None]
    assert found.usage.verifier_calls == 3
    assert found.usage.retried_calls == 1
    assert found.budget.exhausted == "verifier_calls"


def test_what_scores_cost_is_counted_whatever_became_of_them() -> None:
    """A score, a failure, two attempts of which one succeeds, and a cancelled call."""
    errors: list[Any] = [None, VerificationError("no"), TransientError("busy"), None]
    errors.append(asyncio.CancelledError())
    verifier = ToyVerifier(MODEL, failure=lambda _: errors.pop(0))
    found = search(ToyGenerator(MODEL), verifier=verifier, clock=Waits())
    nodes = run(found.draws(found.root, 4))
    for node in nodes[:3]:
        run(found.score(node))
    with pytest.raises(asyncio.CancelledError):
        run(found.score(nodes[3]))
    assert found.usage.verifier_tokens == found.usage.verifier_calls == 5  # a step is a token
    assert found.usage.failed_calls == 1


def test_without_a_verifier_nothing_can_be_scored() -> None:
    found = search()
    with pytest.raises(RecipeError, match="there is no verifier; name one"):
        run(found.score(found.root))


# --------------------------------------------------------------------------- likelihood


def test_likelihood_with_and_without_the_question() -> None:
    found = search(ToyGenerator(MODEL))

    async def work() -> None:
        step = await found.draw(found.root)
        assert step
        whole = await found.draw(step, until="end")
        assert whole
        with_question = await found.likelihood(whole)
        without = await found.likelihood(whole, question=False)
        options = len(MODEL.step_distribution((step.text.strip(),)))
        assert with_question is not None
        assert without is not None
        assert with_question.tolist() == whole.sample.logprobs.tolist()  # type: ignore[union-attr]
        assert without.sum() == pytest.approx(-np.log(options))
        assert len(without) == whole.sample.generated_tokens

    run(work())
    assert found.usage.prompt_tokens > 0
    assert found.budget.tokens.spent == found.usage.generated_tokens


def test_not_every_generator_tells_likelihoods() -> None:
    found = search(Flaky())
    node = run(found.draw(found.root))
    assert node
    with pytest.raises(RecipeError, match="Flaky cannot tell"):
        run(found.likelihood(node))


# --------------------------------------------------------------------------- candidates


def test_candidates_are_ordered_by_path_and_told_once() -> None:
    found = search(Scripted([f"\\boxed{{{i}}}" for i in range(4)]))
    nodes = run(found.draws(found.root, 4, until="end"))
    for i in (2, 0, 3, 2):
        found.emit(nodes[i], weight=i + 1, rank=-i)
    assert [(c.path, c.weight, c.rank) for c in found.candidates] == [
        ((0,), 1, 0), ((2,), 3, -2), ((3,), 4, -3)
    ]  # fmt: skip
    assert [c.answer.key for c in found.candidates if c.answer] == ["0", "2", "3"]


def test_the_tasks_own_way_to_find_answers_is_for_finished_solutions() -> None:
    problem = Problem("p", "question", answers=Math(None, lambda text: text.split()[-1]))
    found = Search(problem, Scripted(["it is 7"]), sampling=Sampling(max_tokens=9))
    whole = run(found.draw(found.root))
    assert whole
    assert found.answer(whole).key == "7"  # type: ignore[union-attr]
    cut = found.tree.add(found.root, 1, Sample("it is 7", finish="length"))
    assert found.answer(cut) is None
    marked = found.tree.add(found.root, 2, Sample("\\boxed{8} and so", finish="length"))
    assert found.answer(marked).key == "8"  # type: ignore[union-attr]


def test_randomness_comes_from_seed_problem_and_key() -> None:
    def draw(seed: int, problem: str, *key: str | int) -> float:
        found = Search(Problem(problem, "q"), Scripted(["a"]), seed=seed)
        return found.rng(*key).random()

    assert draw(1, "p", "resample", 3) == draw(1, "p", "resample", 3)
    others = [(1, "p", "resample", 4), (2, "p", "resample", 3), (1, "q", "resample", 3), (1, "p")]
    values = {draw(1, "p", "resample", 3), *(draw(*other) for other in others)}
    assert len(values) == 5


def test_cancelled_calls_are_filed_with_what_they_had_produced() -> None:
    found = search(Scripted(["a b c d"], token_seconds=1.0))

    async def work() -> None:
        task = asyncio.ensure_future(found.draw(found.root, until="end"))
        found.clock.call_later(2.5, task.cancel)
        await asyncio.wait([task])
        assert task.cancelled()

    run(work())
    (node,) = found.tree
    assert (node.sample.finish, node.sample.generated_tokens) == ("cancelled", 2)
    assert (found.usage.wasted_tokens, found.usage.cancelled_calls) == (2, 1)
    assert (found.usage.prompt_tokens, found.usage.unknown_prompts) == (0, 1)
    check_accounts(found)


class Reading(Scripted):
    """Says at the end of a call that its prompt has seven tokens, two of them cached."""

    async def generate(
        self, prompt: Prompt, params: Sampling, *, seed: int, meter: Meter
    ) -> Sample:
        sample = await super().generate(prompt, params, seed=seed, meter=meter)
        return replace(sample, prompt_tokens=7, cached_tokens=2)


@pytest.mark.parametrize("first", ["the whole one", "the cancelled one"])
def test_a_cancelled_call_has_read_what_another_was_told_to_have_read(first: str) -> None:
    """Once it has produced anything: one that waits in a line may never have been looked at."""
    prices = {"": Price(input=1e6, output=1e6, cached=0.0)}
    found = search(Reading(["a b c d"], token_seconds=1.0), prices=prices)

    async def leave(after: float) -> None:
        task = asyncio.ensure_future(found.draw(found.root, until="end"))
        found.clock.call_later(after, task.cancel)
        await asyncio.wait([task])

    async def work() -> None:
        if first == "the whole one":
            await found.draw(found.root, until="end")
        await leave(2.5)
        await leave(0.5)
        if first == "the cancelled one":
            assert found.usage.unknown_prompts == 1
            await found.draw(found.root, until="end")

    run(work())
    usage = found.usage
    assert (usage.prompt_tokens, usage.cached_tokens, usage.unknown_prompts) == (14, 4, 0)
    assert (usage.generated_tokens, usage.wasted_tokens) == (6, 2)
    assert usage.money == 10 + 6
    check_accounts(found)


def test_prompts_of_other_models_and_turns_are_others() -> None:
    found = search(Reading(["a b c d"], token_seconds=1.0))

    async def work() -> None:
        await found.draw(found.root, until="end")
        task = asyncio.ensure_future(
            found.draw(found.root, until="end", turn=Turn.user("Are you sure?"))
        )
        found.clock.call_later(2.5, task.cancel)
        await asyncio.wait([task])

    run(work())
    assert found.usage.unknown_prompts == 1


def test_a_million_samples_under_a_small_limit_are_not_made_ready() -> None:
    found = search(Scripted(["a b"]), budget=Budget(20), sampling=Sampling(max_tokens=4))
    nodes = run(found.draws(found.root, 10**9, until="end"))
    assert found.usage.generated_tokens == 20
    assert len(nodes) <= 20
    assert found.budget.exhausted == "tokens"


def test_text_written_in_place_of_an_attempt() -> None:
    """The conversation stays, what was said is replaced, and where it was taken from is known."""

    async def work() -> tuple[Node, list[str]]:
        asked: list[str] = []

        def script(prompt: Prompt, seed: int) -> str:
            asked.append("|".join([*(m.content for m in prompt.messages), prompt.text]))
            return "a b c"

        s = search(Scripted(script))
        first = await s.draw(s.root, until="end")
        assert first is not None
        second = await s.draw(first, until="end", turn="Sure?")
        assert second is not None
        written = s.write(second, "a b d", instead=True)
        last = await s.draw(written, until="end")
        assert last is not None
        return last, asked

    last, asked = run(work())
    assert last.text == "a b da b c"
    assert last.path == (0, 0, 0, 0)
    assert last.parent is not None
    assert last.parent.sources == ((0, 0),)
    assert asked[1:] == ["question|a b c|Sure?|", "question|a b c|Sure?|a b d"]


def test_no_tokens_are_no_call() -> None:
    s = search()
    assert run(s.draw(s.root, until="end", max_tokens=0)) is None
    assert s.usage.calls == 0


def test_the_root_is_no_candidate() -> None:
    s = search()
    s.emit(s.root)
    assert s.candidates == []


def test_work_side_by_side_starts_at_the_same_time() -> None:
    """Also where the first of it is done before the second begins."""

    async def work(s: Search) -> None:
        async def one() -> Node | None:
            return await s.draw(s.root, until="end")

        await s.side_by_side([one, one])

        async def part(view: Search, _: int) -> None:
            await view.draw(view.root, until="end")

        await s.split(2, part)

    s = search()
    run(work(s))
    assert (s.usage.generated_tokens, s.usage.critical_tokens) == (16, 8)


def test_a_probe_is_no_part_of_a_path_and_no_candidate() -> None:
    async def work(s: Search) -> None:
        probe = await s.probe(s.root, " so")
        assert probe is not None
        with pytest.raises(ValueError, match="a probe is no candidate"):
            s.emit(probe)
        for follow in (s.draw, partial(s.write, text="x"), s.probe):
            with pytest.raises(ValueError, match="stands beside the path"):
                await follow(probe)

    run(work(search()))


@pytest.mark.parametrize(("weight", "rank"), [(math.nan, 0.0), (math.inf, 0.0), (1.0, math.nan)])
def test_weights_and_ranks_are_numbers(weight: float, rank: float) -> None:
    s = search()
    node = run(s.draw(s.root))
    assert node is not None
    with pytest.raises(ValueError, match="finite"):
        s.emit(node, weight, rank=rank)
    assert s.candidates == []


def test_a_call_that_failed_is_no_candidate() -> None:
    s = search(Scripted([GenerationError("no")]))
    assert run(s.draw(s.root)) is None
    with pytest.raises(ValueError, match="a call that failed is no candidate"):
        s.emit(s.root.children[0])


@pytest.mark.parametrize(
    "changes",
    [
        {"temperature": -1.0},
        {"temperature": "hot"},
        {"max_tokens": 2.5},
        {"max_tokens": "many"},
        {"stop": "ab"},
        {"stop": ("",)},
        {"top_logprobs": -1},
        {"temprature": 1.0},
    ],
)
def test_fields_of_one_call_are_checked_before_it(changes: dict[str, Any]) -> None:
    s = search()
    for _ in range(2):  # what was refused once is not known as fit
        with pytest.raises(RecipeError, match=next(iter(changes))):
            run(s.draw(s.root, until="end", **changes))
    assert s.usage.calls == 0


def test_a_field_that_cannot_be_honoured_is_refused_each_time() -> None:
    s = search()
    for _ in range(2):
        with pytest.raises(RecipeError, match=r"sampling\.min_p is 0\.5"):
            run(s.draw(s.root, min_p=0.5))
    assert s.usage.calls == 0


def test_an_end_is_a_step_or_the_end() -> None:
    s = search()
    with pytest.raises(ValueError, match="until is 'step' or 'end', not 'stepp'"):
        s.draw(s.root, until=cast("Any", "stepp"))


def test_who_asks_in_a_loop_hears_that_time_is_up() -> None:
    async def work(s: Search) -> None:
        async with asyncio.timeout(0):
            while await s.draw(s.root) is None:
                pass

    with pytest.raises(TimeoutError):
        run(work(search(budget=Budget(0))))


def test_views_that_share_a_limit_probe_one_place_without_waiting_for_each_other() -> None:
    """The first could wait for tokens that the second gives back, which waited for its probe."""

    async def look(view: Search, _: int) -> Node | None:
        return await view.probe(view.root, top=5)

    for limit, found in ((0, 0), (1, 1), (2, 2)):
        search = Search(MODEL.problem, ToyGenerator(MODEL), budget=Budget(limit))
        probes = run(search.split(2, look))
        assert sum(probe is not None for probe in probes) == found
        assert search.usage.generated_tokens == found


@pytest.mark.parametrize(
    ("misuse", "said"),
    [
        (lambda s: s.draw(None), "search.draw .* not None; draw, probe and best_partial give None"),
        (lambda s: s.emit(None), "search.emit .* not None; draw, probe and best_partial give None"),
        (lambda s: s.emit("x"), "search.emit is about a node of the tree, not 'x'; give one that"),
        (lambda s: s.write(None, "x"), "search.write .* not None"),
        (lambda s: s.write(s.root, 5), "search.write puts text into a path, not 5; make it"),
        (lambda s: s.write(5, "x"), "search.write .* not 5"),
        (lambda s: run(s.probe(None)), "search.probe .* not None"),
        (
            lambda s: run(s.probe(s.root, [])),
            "search.probe looks behind a text, not \\[\\]; make it",
        ),
        (
            lambda s: run(s.draws(s.root, 2.5)),
            "search.draws .* a whole number of samples, not 2.5;",
        ),
        (lambda s: run(s.score(None)), "search.score .* not None"),
    ],
    ids=[
        *["draw", "emit", "emit-text", "write-none", "write-number", "write-at"],
        *["probe", "probe-list", "draws", "score"],
    ],
)
def test_what_is_no_node_or_text_is_named(misuse: Callable[[Search], Any], said: str) -> None:
    with pytest.raises(TypeError, match=said):
        misuse(search(verifier=ToyVerifier(markov(3))))


def test_calls_without_number_are_refused_before_any_is_made() -> None:
    generator = Scripted(["\\boxed{1}"])
    found = search(generator)
    with pytest.raises(RecipeError, match=r"1000000000000 calls at once without a limit; .*limits"):
        run(found.draws(found.root, 10**12, until="end"))
    assert generator.calls == 0
    bounded = search(generator, budget=Budget(calls=3))
    assert len(run(bounded.draws(bounded.root, 10**30, until="end"))) == 3


def test_a_view_waits_on_the_clock_of_the_whole_search() -> None:
    """A share that has to wait for a round of the whole search begins when that round begins."""
    said = [Sample("a " * 6, finish="end", generated_tokens=6)]
    found = search(Scripted(said), budget=Budget(tokens=12), sampling=Sampling(max_tokens=8))

    async def work() -> None:
        view = found.share(12)
        async with TaskGroup() as group:
            group.create_task(found.draw(found.root, until="end"))
            group.create_task(found.draw(found.root, until="end"))
            await asyncio.sleep(0)
            group.create_task(view.draw(view.root, until="end"))

    run(work())
    assert found.usage.generated_tokens == 12
    assert found.usage.critical_tokens == 12, "one round behind the other"
