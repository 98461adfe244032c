"""The embedded process reward model."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from reasoning.backends.nano.model import FloatArray
from reasoning.backends.nano.reward import WEIGHTS, StepModel
from reasoning.errors import VerificationError
from tests.reasoning.backends.loops import run, together

STEPS = ("The answer", "is 42.", "Ann has 3 apples.", "Then")


@pytest.fixture(scope="module")
def rewards(folder: Path) -> Iterator[StepModel]:
    rewards = StepModel(folder)
    yield rewards
    rewards.close()


def test_a_score_depends_on_the_steps_up_to_it_alone(folder: Path, rewards: StepModel) -> None:
    whole = StepModel(folder, cache_tokens=0).score_steps("user", STEPS)
    assert whole.shape == (4,)
    assert ((whole > 0) & (whole < 1)).all()
    for n in range(len(STEPS) + 1):  # one step longer each time, from the cache
        np.testing.assert_array_equal(rewards.score_steps("user", STEPS[:n]), whole[:n])
    batch = [("user", STEPS[:n]) for n in range(5)] + [("a", STEPS), ("user", STEPS[::-1])]
    scores = StepModel(folder).score_batch(batch)
    for n in range(5):
        np.testing.assert_array_equal(scores[n], whole[:n])
    assert not np.array_equal(scores[5], whole)
    assert scores[6][0] != whole[0]


def test_known_scores_are_not_computed_again(rewards: StepModel) -> None:
    first = rewards.score_steps("known", STEPS)
    rows: list[int] = []
    compute = rewards._engine._compute

    def record(wants: Sequence[Any], hidden: FloatArray) -> Any:
        rows.append(len(wants))
        return compute(wants, hidden)

    rewards._engine._compute = record
    try:
        np.testing.assert_array_equal(rewards.score_steps("known", STEPS), first)
        assert rows == []
        longer = rewards.score_steps("known", [*STEPS, "Ann"])
    finally:
        rewards._engine._compute = compute
    np.testing.assert_array_equal(longer[:4], first)
    assert rows == [1]


def test_scores_can_be_awaited_and_cancelled(rewards: StepModel) -> None:
    async def main() -> None:
        results = await together(*(rewards.score("b", STEPS[:n]) for n in range(5)))
        assert [len(scores) for scores in results] == list(range(5))
        task = asyncio.ensure_future(rewards.score("c", STEPS))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert rewards._engine.running == rewards._engine.waiting == 0
        with pytest.raises(VerificationError, match=r"tokens; the model's context is 256"):
            await rewards.score("d", STEPS * 30)

    run(main())


@pytest.mark.skipif(not WEIGHTS.exists(), reason="the checkpoint is not there")
def test_the_shipped_reward_model_scores_steps() -> None:
    rewards = StepModel()
    scores = rewards.score_steps("What is 12 + 5?", ["12 + 5 = 17.", r"The answer is \boxed{17}."])
    assert scores.shape == (2,)
    assert ((scores > 0) & (scores < 1)).all()
    rewards.close()
