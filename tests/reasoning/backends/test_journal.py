"""The journal: what was paid for is never paid for again, and races cost what they would live."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from reasoning.backends.journal import Journal, journal
from reasoning.backends.scripted import Scripted
from reasoning.budget import Budget
from reasoning.clock import Clock, RealClock
from reasoning.errors import EngineError, RecipeError, StoreError
from reasoning.generate import Generator, Meter, Prompt, Sampling
from reasoning.places import Places, by_tokens
from reasoning.problem import Problem
from reasoning.search import Search
from reasoning.testing import Deadline, ToyGenerator, random_tree
from reasoning.tree import Sample
from searchers.sampling.first_finish import first_finish
from searchers.sampling.self_consistency import self_consistency
from searchers.sampling.short_m_at_k import short_m_at_k

MODEL = random_tree(11, depth=5)
LENGTHS = (9, 2, 7, 4, 5, 2, 13)


def said(prompt: Prompt, _: int) -> Sample:
    n = LENGTHS[prompt.slot % len(LENGTHS)]
    text = "word " * (n - 1) + f"\\boxed{{{prompt.slot}}}"
    return Sample(text, generated_tokens=n)


class Dead(Generator):
    """Whoever asks this has not remembered."""

    async def generate(
        self, prompt: Prompt, params: Sampling, *, seed: int, meter: Meter
    ) -> Sample:
        raise EngineError(f"asked for {prompt.path} {params} {seed} {meter}")


def search(generator: Any, seed: int = 0, max_tokens: int = 40) -> Search:
    problem = MODEL.problem
    return Search(
        problem,
        generator,
        sampling=Sampling(max_tokens=max_tokens),
        seed=seed,
        clock=generator.clock(problem),
    )


async def steps(found: Search) -> None:
    for node in await found.draws(found.root, 3):
        for child in await found.draws(node, 2):
            found.emit(child)


def reopened(path: Path, generator: Generator | None = None) -> Journal:
    return Journal(generator or Dead(), path=path)


def test_a_rerun_pays_nothing_and_gives_the_same(tmp_path: Path) -> None:
    path = tmp_path / "j.jsonl"
    first = Journal(ToyGenerator(MODEL), path=path)
    one = search(first)
    asyncio.run(steps(one))
    asyncio.run(first.aclose())
    second = reopened(path)
    two = search(second)
    asyncio.run(steps(two))
    assert two.tree.to_jsonl() == one.tree.to_jsonl()
    assert two.usage == one.usage
    assert (first.paid_calls, first.paid_tokens) == (one.usage.calls, one.usage.generated_tokens)
    assert (second.paid_calls, second.paid_tokens) == (0, 0)
    second.close()


@pytest.mark.parametrize("cut", [1, 10, 60])
def test_a_torn_last_line_is_drawn_again(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "j.jsonl"
    first = Journal(ToyGenerator(MODEL), path=path)
    one = search(first)
    asyncio.run(steps(one))
    first.close()
    path.write_bytes(path.read_bytes()[:-cut])
    lost = 0 if cut == 1 else 1  # without its newline alone the line is whole
    second = reopened(path, ToyGenerator(MODEL))
    two = search(second)
    asyncio.run(steps(two))
    second.close()
    assert two.tree.to_jsonl() == one.tree.to_jsonl()
    assert second.paid_calls == lost
    third = reopened(path)
    asyncio.run(steps(search(third)))
    assert third.paid_calls == 0
    third.close()


def test_bytes_that_are_no_text_are_drawn_again(tmp_path: Path) -> None:
    path = tmp_path / "j.jsonl"
    first = Journal(ToyGenerator(MODEL), path=path)
    asyncio.run(steps(search(first)))
    first.close()
    path.write_bytes(b"\xff\xfe\x00\n" + path.read_bytes() + b"\x00" * 9)
    second = reopened(path)
    asyncio.run(steps(search(second)))
    assert second.paid_calls == 0
    second.close()


def test_what_a_killed_run_had_is_on_disk(tmp_path: Path) -> None:
    """Every line is written when its call ends: nobody needs to close the journal."""
    path = tmp_path / "j.jsonl"
    first = Journal(ToyGenerator(MODEL), path=path)
    asyncio.run(steps(search(first)))
    lines = path.read_text().splitlines()
    assert len(lines) == first.paid_calls
    assert all(json.loads(line)["problem"] == "toy" for line in lines)
    first.close()


def test_what_was_cut_short_is_known_only_for_its_limit() -> None:
    kept = Journal(Scripted(["a b c d e f"]))

    def draw(max_tokens: int) -> str:
        found = search(kept, max_tokens=max_tokens)
        node = asyncio.run(found.draw(found.root, until="end"))
        assert node
        return f"{node.text} {node.sample.finish} {kept.paid_calls}"

    assert draw(3) == "a b c length 1"
    assert draw(3) == "a b c length 1"
    assert draw(4) == "a b c d length 2"
    assert draw(9) == "a b c d e f end 3"
    assert draw(7) == "a b c d e f end 3"  # a sample that ended serves every larger limit
    assert draw(6) == "a b c d e f end 3"
    assert draw(5) == "a b c d e length 4"


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 1},
        {"slot": 1},
        {"sampling": {"temperature": 0.5}},
        {"sampling": {"choice": ("a", "b")}},
        {"problem": Problem("p", "q", prompt="another prompt")},
        {"problem": Problem("p", "q", system="another system message")},
        {"problem": Problem("p2", "q")},
    ],
    ids=lambda change: next(iter(change)),
)
def test_another_call_is_another_sample(change: dict[str, Any]) -> None:
    kept = Journal(Scripted(["a"]))

    def draw(**given: Any) -> int:
        problem = given.get("problem", Problem("p", "q"))
        found = Search(problem, kept, seed=given.get("seed", 0), sampling=Sampling(max_tokens=5))
        for _ in range(given.get("slot", 0)):
            found.write(found.root, "")
        asyncio.run(found.draw(found.root, **given.get("sampling", {})))
        return kept.paid_calls

    assert draw() == draw() == 1
    assert draw(**change) == 2


# -------------------------------------------------------------------------------- races


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 0, 2)])
def test_strategies_that_share_samples_pay_what_they_would_alone(order: tuple[int, ...]) -> None:
    """Section 6's cost, whoever drew the samples first; and each sample is drawn once."""
    shared = Journal(Scripted(said), shared=True, token_seconds=1.0)
    runs = [(self_consistency, {"n": 7}), (first_finish, {"n": 7}), (short_m_at_k, {"k": 7})]
    last = [max(LENGTHS), min(LENGTHS), sorted(LENGTHS)[2]]
    for i in order:
        found = search(shared)
        strategy, params = runs[i]
        start = found.clock.now()
        asyncio.run(strategy(found, **params))  # type: ignore[operator]
        assert found.usage.generated_tokens == sum(min(n, last[i]) for n in LENGTHS)
        assert found.clock.now() - start == last[i]
    assert shared.paid_calls == 7
    assert shared.paid_tokens == sum(LENGTHS)


def test_the_order_of_a_shared_race_is_that_of_lengths_whatever_the_engine_does() -> None:
    slow_first = Scripted(said, delay=lambda seed: 100.0 if seed % 2 else 0.0)
    shared = Journal(slow_first, shared=True, token_seconds=1.0)
    found = search(shared)
    asyncio.run(first_finish(found, n=7))
    assert [c.path for c in found.candidates] == [(1,)]
    assert found.clock.now() == 2


def test_a_deadline_on_a_shared_race() -> None:
    shared = Journal(Scripted(said), shared=True, token_seconds=1.0)

    async def work() -> Search:
        found = search(shared)
        with Deadline(found.clock, 4.5):
            await self_consistency(found, n=7)
        return found

    found = asyncio.run(work())
    assert found.usage.generated_tokens == sum(min(n, 4) for n in LENGTHS)
    assert shared.paid_calls == 7


def test_steps_of_shared_samples_take_their_tokens_in_virtual_time() -> None:
    shared = Journal(ToyGenerator(MODEL), shared=True, token_seconds=1.0)
    found = search(shared)

    async def work() -> None:
        node = await found.draw(found.root)
        assert node
        before = found.clock.now()
        child = await found.draw(node)
        assert child
        assert found.clock.now() == before + child.sample.generated_tokens

    asyncio.run(work())


def test_failures_are_paid_and_not_remembered() -> None:
    class Breaks(Generator):
        broken = True

        async def generate(
            self, prompt: Prompt, params: Sampling, *, seed: int, meter: Meter
        ) -> Sample:
            meter(3)
            if self.broken:
                raise ValueError(f"{prompt} {params} {seed}")
            return Sample("ok", generated_tokens=3)

    for shared in (False, True):
        inner = Breaks()
        kept = Journal(inner, shared=shared)
        found = search(kept)
        assert asyncio.run(found.draw(found.root, until="end")) is None
        assert found.usage.generated_tokens == 3
        inner.broken = False
        again = search(kept)
        assert asyncio.run(again.draw(again.root, until="end"))
        assert (kept.paid_calls, kept.paid_tokens) == (2, 6)


# ------------------------------------------------------------------------------- others


def test_a_journal_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    kept = Journal(Scripted(["a"]), path=tmp_path / "none" / "j.jsonl")
    found = search(kept)
    with pytest.raises(StoreError, match="cannot be written"):
        asyncio.run(found.draw(found.root))


def test_what_is_forgotten_is_drawn_again() -> None:
    kept = Journal(Scripted(["a"]))
    for paid in (1, 2):
        found = search(kept)
        asyncio.run(found.draw(found.root))
        assert kept.paid_calls == paid
        kept.forget(MODEL.problem)


def test_it_passes_on_what_the_generator_tells() -> None:
    class Own(Scripted):
        sampling = Sampling(max_tokens=77)

    inner = Own(["a"])
    assert Journal(inner).sampling == inner.sampling


def test_by_name() -> None:
    made = journal(generator={"name": "scripted", "replies": ["a"]}, shared=True)
    assert made.shared
    assert isinstance(made.generator, Scripted)
    with pytest.raises(RecipeError, match="unknown generator 'scriptd'; did you mean 'scripted'"):
        journal(generator="scriptd")


@pytest.mark.parametrize("shared", [False, True])
def test_likelihoods_are_read_once(tmp_path: Path, shared: bool) -> None:
    async def read(generator: Journal) -> tuple[list[list[float]], int]:
        found = search(generator)
        nodes = await found.draws(found.root, 2)
        asked = [(node, question) for node in nodes for question in (True, False)]
        rows = [await found.likelihood(node, question=question) for node, question in asked]
        return [row.tolist() for row in rows if row is not None], found.usage.prompt_tokens

    path = tmp_path / "j.jsonl"
    first = Journal(ToyGenerator(MODEL), path=path, shared=shared)
    told = asyncio.run(asyncio.wait_for(read(first), 60))
    assert len(told[0]) == 4
    assert first.paid_calls == 6
    first.close()
    again = Journal(ToyGenerator(MODEL), path=path, shared=shared)
    assert asyncio.run(asyncio.wait_for(read(again), 60)) == told
    assert again.paid_calls == 0
    again.close()
    assert not Journal(Dead()).reads


# ------------------------------------------------------------------- strategies by themselves


def test_strategies_that_do_not_share_pay_for_themselves() -> None:
    kept = Journal(Scripted(said))
    for name in ("one", "two", "one"):
        found = search(kept.of(name))
        asyncio.run(self_consistency(found, n=7))
        assert found.usage.generated_tokens == sum(LENGTHS)
    assert kept.paid_calls == 14, "the third is a rerun of the first"
    shared = Journal(Scripted(said), shared=True)
    assert shared.of("one") is shared


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_a_live_race_is_the_same_behind_others_and_when_rerun(order: tuple[int, ...]) -> None:
    kept = Journal(Scripted(said, token_seconds=0.1))
    runs = [(self_consistency, max(LENGTHS)), (first_finish, min(LENGTHS))]
    for _ in range(2):
        for i in order:
            strategy, tokens = runs[i]
            found = search(kept.of(strategy.__name__, live=True))
            start = found.clock.now()
            asyncio.run(strategy(found, n=7))
            assert found.usage.generated_tokens == sum(min(n, tokens) for n in LENGTHS)
            assert found.clock.now() - start == pytest.approx(tokens / 10)


def test_what_is_replayed_in_real_time_takes_it_only_if_live(tmp_path: Path) -> None:
    class Slept(RealClock):
        time = 0.0

        def now(self) -> float:
            return self.time

        async def sleep(self, delay: float) -> None:
            self.time += delay

    class Timed(Scripted):
        hand = Slept()

        def clock(self, problem: Problem) -> Clock:
            return self.hand

    def draw(generator: Generator) -> float:
        start = Timed.hand.time
        asyncio.run(self_consistency(search(generator), n=2))
        return Timed.hand.time - start

    path = tmp_path / "j.jsonl"
    for took in (4.0, 0.0):  # drawn, then known from the file
        kept = Journal(Timed(["a b c d"], token_seconds=0.5), path=path)
        assert draw(kept.of("s")) == took
        assert draw(kept.of("s")) == 0.0
        assert draw(kept.of("s", live=True)) > 0.0
        kept.close()


def test_lines_of_other_versions_are_drawn_again_without_a_word(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "j.jsonl"
    path.write_text('{"problem": "toy", "key": "k", "sample": {"text": "a", "finish": "end"}}\n')
    kept = Journal(Scripted(["a"]), path=path)
    asyncio.run(search(kept).draw(search(kept).root))
    assert kept.paid_calls == 1
    assert not caplog.records
    kept.close()
    assert reopened(path).paid_calls == 0


def test_top_logprobs_survive_the_file(tmp_path: Path) -> None:
    path = tmp_path / "j.jsonl"

    def draw(kept: Journal) -> Any:
        found = search(kept)
        node = asyncio.run(found.draw(found.root, top_logprobs=3))
        kept.close()
        assert node is not None
        return node.sample.to_json(digits=None)

    first = draw(Journal(Scripted(["a b c"]), path=path))
    assert "top_logprobs" in first
    assert draw(reopened(path, Scripted(["never said"]))) == first


def test_parts_of_a_sample_are_known_apart(tmp_path: Path) -> None:
    """Under a limit a sample comes in two calls; a rerun gives both for nothing."""
    path = tmp_path / "j.jsonl"
    trees = []
    for generator in (Scripted(said), Dead()):
        kept = Journal(generator, path=path)
        problem = MODEL.problem
        budget = Budget(sum(LENGTHS))
        budget.tokens.least = 1  # so that shares are small enough to be cut
        found = Search(problem, kept, sampling=Sampling(max_tokens=40), budget=budget)
        asyncio.run(self_consistency(found, n=7))
        trees.append(found.tree.to_jsonl())
        kept.close()
    assert trees[0] == trees[1]
    assert "boxed{6}" in trees[0]
    assert found.usage.calls > 7


def test_keys_of_long_paths_are_made_once() -> None:
    """A path of n steps is hashed once for each step, not once for each call and step."""
    told = 0

    def counted(sample: Sample) -> bytes:
        nonlocal told
        told += 1
        return by_tokens(sample)

    kept = Journal(Scripted(["word"]))
    kept._places = Places(counted)
    found = search(kept)

    async def work() -> None:
        node = found.root
        for _ in range(50):
            await found.draws(node, 2)
            node = found.write(node, "on ")

    asyncio.run(work())
    assert kept.paid_calls == 100
    assert told == 49


# ------------------------------------------------------------------------------------ tools


def test_a_tool_is_called_once_for_each_place_and_strategy(tmp_path: Path) -> None:
    calls: list[int] = []

    async def add(a: int, b: int) -> dict[str, Any]:
        calls.append(a)
        return {"sum": a + b, "parts": (a, b)}

    path = tmp_path / "j.jsonl"
    for name, made in (("one", 2), ("one", 2), ("two", 4)):
        kept = Journal(Scripted(["a"]), path=path)
        found = search(kept.of(name))

        async def work(found: Search = found) -> list[Any]:
            return [await found.call(add, 1, 2), await found.call(add, 3, 4)]

        assert asyncio.run(work()) == [
            {"sum": 3, "parts": [1, 2]},
            {"sum": 7, "parts": [3, 4]},
        ]
        assert len(calls) == made
        kept.close()


def test_tools_that_give_what_cannot_be_kept_are_named() -> None:
    async def opaque() -> object:
        return object()

    async def nothing(x: object) -> None:
        del x

    found = search(Journal(Scripted(["a"])))
    with pytest.raises(RecipeError, match=r"opaque: its result cannot be kept.*text, num"):
        asyncio.run(found.call(opaque))
    with pytest.raises(RecipeError, match=r"tool .*nothing: its arguments"):
        asyncio.run(found.call(nothing, {1, 2}))
    assert asyncio.run(found.call(nothing, [1, 2])) is None


def test_tools_of_one_name_at_one_place_are_told_apart(tmp_path: Path) -> None:
    made: list[str] = []
    path = tmp_path / "j.jsonl"
    for _ in range(2):
        kept = Journal(Scripted(["a"]), path=path)
        found = search(kept)

        async def work(found: Search = found) -> list[Any]:
            first, second = lambda: made.append("1") or 1, lambda: made.append("2") or 2
            return [await found.call(tool) for tool in (first, second, first)]

        assert asyncio.run(work()) == [1, 2, 1]
        assert made == ["1", "2"], "each once, also when it is resumed"
        kept.close()
