"""The journal: what was paid for is never paid for again, and races cost what they would live."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from reasoning.backends.journal import Journal, journal
from reasoning.backends.scripted import Scripted
from reasoning.errors import EngineError, RecipeError, StoreError
from reasoning.generate import Generator, Meter, Prompt, Sampling
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


class Dead:
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
    for node in await found.expand(found.root, 3):
        for child in await found.expand(node, 2):
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
        node = asyncio.run(found.extend(found.root, 0, until="end"))
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
        {"temperature": 0.5},
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
        call = found.extend(found.root, given.get("slot", 0), temperature=given.get("temperature"))
        asyncio.run(call)
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
        async with Deadline(found.clock, 4.5):
            await self_consistency(found, n=7)
        return found

    found = asyncio.run(work())
    assert found.usage.generated_tokens == sum(min(n, 4) for n in LENGTHS)
    assert shared.paid_calls == 7


def test_steps_of_shared_samples_take_their_tokens_in_virtual_time() -> None:
    shared = Journal(ToyGenerator(MODEL), shared=True, token_seconds=1.0)
    found = search(shared)

    async def work() -> None:
        node = await found.extend(found.root, 0)
        assert node
        before = found.clock.now()
        child = await found.extend(node, 0)
        assert child
        assert found.clock.now() == before + child.sample.generated_tokens

    asyncio.run(work())


def test_failures_are_paid_and_not_remembered() -> None:
    class Breaks:
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
        assert asyncio.run(found.extend(found.root, 0, until="end")) is None
        assert found.usage.generated_tokens == 3
        inner.broken = False
        again = search(kept)
        assert asyncio.run(again.extend(again.root, 0, until="end"))
        assert (kept.paid_calls, kept.paid_tokens) == (2, 6)


# ------------------------------------------------------------------------------- others


def test_a_journal_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    kept = Journal(Scripted(["a"]), path=tmp_path / "none" / "j.jsonl")
    found = search(kept)
    with pytest.raises(StoreError, match="cannot be written"):
        asyncio.run(found.extend(found.root, 0))


def test_what_is_forgotten_is_drawn_again() -> None:
    kept = Journal(Scripted(["a"]))
    for paid in (1, 2):
        found = search(kept)
        asyncio.run(found.extend(found.root, 0))
        assert kept.paid_calls == paid
        kept.forget(MODEL.problem)


def test_it_passes_on_what_the_generator_tells() -> None:
    inner = Scripted(["a"])
    inner.sampling = Sampling(max_tokens=77)  # type: ignore[attr-defined]
    assert Journal(inner).sampling.max_tokens == 77
    with pytest.raises(AttributeError):
        _ = Journal(inner).nothing


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
        nodes = await found.expand(found.root, 2)
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
    assert not hasattr(Journal(Dead()), "score_text")
