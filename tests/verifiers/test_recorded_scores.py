"""Scores served from a recording."""

from __future__ import annotations

import asyncio
import math
from pathlib import Path
from typing import Any

import pytest

from reasoning.errors import VerificationError
from reasoning.problem import Problem
from reasoning.runs import names
from reasoning.testing.verifier_contract import ask
from reasoning.tree import RolloutTree, Sample

PROBLEM = Problem("p", "?")


def score(info: dict[str, Any] | None, **options: Any) -> tuple[float, ...]:
    verifier = names.build("verifier", {"name": "recorded_scores", **options})
    node = RolloutTree("p").add(RolloutTree("p").root, 2, Sample("text", info=info))
    return asyncio.run(ask(verifier, PROBLEM, node)).steps


def test_scores_of_steps_come_first() -> None:
    assert score({"scores": [0.5, 1, 0.25], "score_last": 0.25}) == (0.5, 1.0, 0.25)
    assert score({"score_last": 0.75}) == (0.75,)


def test_logits_go_through_the_sigmoid() -> None:
    (middle,) = score({"scores": [0.0]}, logit=True)
    low, high = score({"scores": [-800.0, 800.0]}, logit=True)
    assert (low, middle, high) == (0.0, 0.5, 1.0)
    (two,) = score({"score_last": 2}, logit=True)
    assert two == pytest.approx(1 / (1 + math.exp(-2)), rel=1e-15)


@pytest.mark.parametrize(
    ("info", "message"),
    [
        (None, "sample 3 of problem 'p' has neither scores nor score_last"),
        ({"scores": []}, "neither scores nor score_last"),
        ({"scores": "0.5"}, "not a finite number"),
        ({"scores": 0.5}, "neither scores"),
        ({"scores": [0.5, None]}, "None, not a finite number"),
        ({"scores": [math.nan]}, "nan, not a finite number"),
        ({"scores": [0.5, 4.2]}, r"4.2 is outside \[0, 1\].*verifier.logit: true"),
        ({"score_last": -0.1}, r"outside \[0, 1\]"),
    ],
)
def test_what_cannot_be_served(info: dict[str, Any] | None, message: str) -> None:
    with pytest.raises(VerificationError, match=message):
        score(info)


def test_a_real_recording_of_logits(data: Path) -> None:
    """Outcome rewards separate right from wrong: AUC .97 by the source's own labels."""
    from reasoning.backends.recorded import read

    found = read(data / "rollouts" / "math100_qwen25math_n8_rm.jsonl.gz", {})
    pairs = [
        (score({"scores": sample["scores"]}, logit=True)[0], sample["correct"])
        for samples in list(found.values())[:20]
        for sample in samples
    ]
    assert all(0 < value < 1 for value, _ in pairs)
    right = [value for value, correct in pairs if correct]
    wrong = [value for value, correct in pairs if not correct]
    wins = sum((r > w) + (r == w) / 2 for r in right for w in wrong)
    assert wins / (len(right) * len(wrong)) > 0.9
