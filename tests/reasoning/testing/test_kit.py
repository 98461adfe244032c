"""The conformance kit itself: it catches what it is for, and its toys are what they say."""

from __future__ import annotations

import asyncio
import math
from asyncio import TaskGroup
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reasoning import Problem, Prompt, Sample, Sampling, Scores, Search
from reasoning.budget import Budget
from reasoning.generate import Meter
from reasoning.testing import Choices, ToyGenerator, ToyVerifier, all_runs, noisy, random_tree
from reasoning.testing import generator_contract as gen
from reasoning.testing import searcher_contract as sea
from reasoning.testing import verifier_contract as ver
from reasoning.testing.searcher_run import check_accounts
from reasoning.testing.verifier_contract import ask
from reasoning.tree import Node, RolloutTree

MODEL = random_tree(7, depth=4)


# --------------------------------------------------------------------- searchers that err


async def by_arrival(search: Search) -> None:
    landed: list[Node] = []

    async def one(slot: int) -> None:
        if node := await search.draw(search.root, until="end"):
            landed.append(node)
            search.emit(node, weight=len(landed))

    async with TaskGroup() as group:
        for slot in range(4):
            group.create_task(one(slot))


async def greedy_subtrees(search: Search) -> None:
    """Subtrees that run ahead and share a budget."""

    async def run(slot: int) -> None:
        node = await search.draw(search.root)
        while node and not node.finished:
            node = await search.draw(node)
        if node:
            search.emit(node)

    async with TaskGroup() as group:
        for slot in range(4):
            group.create_task(run(slot))


async def leaves_a_task(search: Search) -> None:
    task = asyncio.ensure_future(search.draw(search.root, until="end"))
    if node := await search.draw(search.root, until="end"):
        search.emit(node)
    del task


async def holds_and_asks(search: Search) -> None:
    lease = await search.budget.tokens.lease(1)
    await search.draw(search.root)
    if lease:
        lease.settle()


async def keeps_a_lease(search: Search) -> None:
    if node := await search.draw(search.root, until="end"):
        search.emit(node)
    await search.budget.tokens.lease(1)


async def never_ends(search: Search) -> None:
    while not await search.draw(search.root):
        pass


async def silent(search: Search) -> None:
    await search.draws(search.root, 2)


async def swallows(search: Search) -> None:
    try:
        await search.draws(search.root, 2, until="end")
    except ExceptionGroup:
        return


async def needs_scores(search: Search) -> None:
    for node in await search.draws(search.root, 2, until="end"):
        await search.score(node)
        search.emit(node, weight=node.scores["toy"][-1])


@pytest.mark.parametrize(
    ("searcher", "check", "message"),
    [
        (by_arrival, sea.check_latency, "other delays"),
        (greedy_subtrees, sea.check_token_limits, "other delays under"),
        (leaves_a_task, sea.check_delivers, "left 1 tasks behind"),
        (holds_and_asks, sea.check_delivers, "asked for a lease while holding one"),
        (keeps_a_lease, sea.check_delivers, "left a lease of tokens open"),
        (never_ends, sea.check_token_limits, "does this ever end"),
        (silent, sea.check_delivers, "emitted nothing"),
        (swallows, sea.check_fatal_errors, "EngineError"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_bad_searchers_are_caught(
    searcher: Callable[..., Any], check: Callable[[sea.Case], None], message: str
) -> None:
    with pytest.raises(AssertionError, match=message):
        check(sea.Case(searcher=searcher))


def test_a_searcher_that_trusts_its_verifier_is_caught() -> None:
    with pytest.raises((KeyError, IndexError)):
        sea.check_verifier_failures(sea.Case(searcher=needs_scores))


def test_an_account_that_does_not_add_up_is_caught() -> None:
    search = Search(MODEL.problem, ToyGenerator(MODEL), budget=Budget())
    asyncio.run(search.draws(search.root, 2))
    check_accounts(search)
    search.usage.generated_tokens += 1
    with pytest.raises(AssertionError, match="the budget"):
        check_accounts(search)


def test_arrival_is_allowed_to_those_that_say_so() -> None:
    sea.check_latency(sea.Case(searcher=by_arrival, races=True))


def test_split_budgets_make_subtrees_independent() -> None:
    async def split_subtrees(search: Search) -> None:
        async def run(view: Search, _: int) -> None:
            node = await view.draw(view.root)
            while node and not node.finished:
                node = await view.draw(node)
            if node:
                view.emit(node)

        await search.split(4, run)

    sea.check_token_limits(sea.Case(searcher=split_subtrees))


# -------------------------------------------------------- generators and verifiers that err


class Says:
    """A generator that answers as the function has it."""

    def __init__(self, sample: Callable[[Sampling, int], Sample], factor: float = 1.0) -> None:
        self.sample = sample
        self.factor = factor

    async def generate(
        self, prompt: Prompt, params: Sampling, *, seed: int, meter: Meter
    ) -> Sample:
        del prompt
        sample = self.sample(params, seed)
        meter(int(sample.generated_tokens * self.factor))
        return sample


@pytest.mark.parametrize(
    ("make", "check", "message"),
    [
        (
            lambda: Says(lambda _, __: Sample("a", generated_tokens=2), 0.5),
            gen.check_two_loops,
            "1 tokens were metered for a sample of 2",
        ),
        (
            lambda: Says(lambda _, __: Sample("a b", generated_tokens=2)),
            gen.check_samples,
            "2 tokens of at most 1",
        ),
        (lambda: Says(lambda _, __: Sample("")), gen.check_samples, "0 tokens"),
        (
            lambda: Says(lambda _, __: Sample("a", generated_tokens=1, finish="length")),
            gen.check_samples,
            "cut off for its length after 1 of 2",
        ),
        (
            lambda: Says(lambda _, __: Sample("a\n\nb", generated_tokens=1)),
            gen.check_stops,
            "stop strings",
        ),
        (
            lambda: Says(
                lambda _, __: Sample("a\n\n" + "b" * 20, generated_tokens=1, finish="stop")
            ),
            gen.check_stops,
            "goes on after a stop string",
        ),
        (
            lambda: Says(lambda _, __: Sample("a", token_ids=(1, 2), generated_tokens=1)),
            gen.check_two_loops,
            "2 token_ids of 1 tokens",
        ),
        (
            lambda: Says(lambda _, __: Sample("a", generated_tokens=1)),
            gen.check_seeds,
            "8 seeds gave one text",
        ),
    ],
)
def test_bad_generators_are_caught(
    make: Callable[[], Any], check: Callable[[gen.GeneratorCase], None], message: str
) -> None:
    with pytest.raises(AssertionError, match=message):
        check(gen.GeneratorCase(make=make))


class Judges:
    name = "judge"

    def __init__(self, steps: Callable[[Node], Any]) -> None:
        self.steps = steps

    async def score(self, problem: Problem, node: Node, *, meter: Meter) -> Scores:
        del problem
        return self.steps(node)


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        (lambda _: (math.nan,), "gave nan"),
        (lambda _: (2.0,), r"outside \[0, 1\]"),
        (lambda _: (), "gave no score"),
        (lambda node: node.scores.setdefault("judge", (0.5,)), "wrote into the node"),
    ],
)
def test_bad_verifiers_are_caught(steps: Callable[[Node], Any], message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        ver.check_verdicts(ver.VerifierCase(make=lambda: Judges(steps)))


def test_unsteady_verifiers_are_caught() -> None:
    calls = iter(range(1000))
    case = ver.VerifierCase(make=lambda: Judges(lambda _: (next(calls) / 1000,)), longest=0)
    with pytest.raises(AssertionError, match=r"gave .* then"):
        ver.check_stable(case)


# --------------------------------------------------------------------------------- toys


@given(st.integers(0, 30), st.integers(1, 4), st.integers(1, 3))
def test_toys_are_distributions(seed: int, depth: int, width: int) -> None:
    model = random_tree(seed, depth=depth, width=width)
    whole = model.complete()
    assert math.fsum(p for _, p in whole) == pytest.approx(1)
    assert len({steps for steps, _ in whole}) == len(whole)
    assert sum(model.answers().values()) == pytest.approx(1)
    assert model.value() == pytest.approx(model.answers().get("0", 0.0))
    assert model.best_rest() == max(p for _, p in whole)
    for steps, p in whole:
        assert model.probability(steps) == pytest.approx(p)
        assert model.parse(model.text(steps)) == (steps, "")
        assert model.parse(model.text(steps)[:-1])[0] == steps[:-1]


@pytest.mark.parametrize("until", ["step", "end"])
def test_draws_have_the_model_s_probabilities_and_say_so(until: Any) -> None:
    """Step by step, all at once, or cut amid a step: the same distribution, exactly."""

    async def draw(choices: Choices, most: int) -> tuple[str, float]:
        search = Search(
            MODEL.problem,
            ToyGenerator(MODEL, choices=choices),
            sampling=Sampling(max_tokens=99),
            budget=Budget(),
        )
        search.step = type(search.step)(max_tokens=most)
        node: Node | None = search.root
        logprob = 0.0
        while node and not node.finished:
            node = await search.draw(node, until=until)
            assert node
            assert node.sample.logprobs is not None
            logprob += float(node.sample.logprobs.sum())
        assert node
        return node.text, logprob

    for most in (1, 2, 99):
        found: dict[str, float] = {}
        for p, (text, logprob) in all_runs(lambda c, most=most: asyncio.run(draw(c, most))):
            found[text] = found.get(text, 0.0) + p
            if most == 99:
                assert logprob == pytest.approx(math.log(p), abs=1e-5)
        expected = {MODEL.text(steps): p for steps, p in MODEL.complete()}
        assert found == pytest.approx(expected)


def test_seeded_draws_come_near_the_distribution() -> None:
    """Within 5 standard errors, over 1,000 seeds."""
    generator = ToyGenerator(MODEL)
    n = 1000

    async def work() -> dict[str, int]:
        counts: dict[str, int] = {}
        for seed in range(n):
            search = Search(MODEL.problem, generator, seed=seed)
            node = await search.draw(search.root, until="end")
            assert node
            answer = search.answer(node)
            assert answer
            counts[answer.key] = counts.get(answer.key, 0) + 1
        return counts

    counts = asyncio.run(work())
    for name, p in MODEL.answers().items():
        assert abs(counts.get(name, 0) - n * p) < 5 * math.sqrt(n * p * (1 - p))


def test_toys_taken_up_again_have_the_model_s_probabilities() -> None:
    """A draw that a limit cuts after a token goes on with what may follow: exactly."""

    async def draw(choices: Choices) -> str:
        toy, begun = ToyGenerator(MODEL, choices=choices), None
        root = RolloutTree("toy").root
        for most in (1, 2, 99):
            asked = Prompt(MODEL.problem, root, 0, begun=begun)
            sample = await toy.generate(
                asked, Sampling(max_tokens=most), seed=0, meter=lambda _: None
            )
            begun = sample if begun is None else begun + sample
            if sample.finish == "end":
                break
        assert begun is not None
        return begun.text

    found: dict[str, float] = {}
    for p, text in all_runs(lambda choices: asyncio.run(draw(choices))):
        found[text] = found.get(text, 0.0) + p
    assert found == pytest.approx({MODEL.text(steps): p for steps, p in MODEL.complete()})


def test_toys_pass_over_what_they_would_not_say() -> None:
    async def work() -> None:
        search = Search(MODEL.problem, ToyGenerator(MODEL))
        (name, p), *_ = sorted(MODEL.step_distribution(), key=lambda row: -row[1])
        probe = await search.probe(search.root, " And the first step is", top=2)
        assert probe is not None
        assert probe.sample.top_logprobs is not None
        assert probe.sample.top_logprobs.logprobs[0, 0] == pytest.approx(math.log(p))
        hint = search.write(search.root, "Hint: do it well.")
        step = await search.draw(search.write(hint, MODEL.piece((), name)))
        assert step is not None
        assert step.sample.text in {
            MODEL.piece((name,), after) for after, _ in MODEL.step_distribution((name,))
        }

    asyncio.run(work())


def test_toy_verifiers() -> None:
    exact, outcome = ToyVerifier(MODEL), ToyVerifier(MODEL, outcome=True)
    rough = ToyVerifier(MODEL, noisy(MODEL.value, seed=1, scale=0.2))
    steps, _ = max(MODEL.complete(), key=lambda pair: len(pair[0]))

    async def work() -> None:
        search = Search(MODEL.problem, ToyGenerator(MODEL))
        node = search.tree.add(search.root, 0, Sample(MODEL.text(steps)))
        values = tuple(MODEL.value(steps[: i + 1]) for i in range(len(steps)))
        assert (await ask(exact, MODEL.problem, node)).steps == values
        assert (await ask(outcome, MODEL.problem, node)).steps == values[-1:]
        noised = (await ask(rough, MODEL.problem, node)).steps
        assert noised != values
        assert noised == (await ask(rough, MODEL.problem, node)).steps

    asyncio.run(work())
