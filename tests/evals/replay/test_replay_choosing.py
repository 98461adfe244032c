"""Which ways of choosing a replay can stand for, and that it says so of the others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from evals.replay.evaluate import choose, evaluate, supported
from evals.replay.samples import Drawn, Recording, Stored
from reasoning.chain import asks
from reasoning.errors import RecipeError
from reasoning.runs import names

SCORES = (-3.0, -1.0, -1.0, 2.0)
ANSWERS = (0, 1, 1, 0)


def recording() -> Recording:
    """One problem, four scored samples; answer 0 is right."""
    drawn = [Drawn(a, a == 0, True, 10, (s,)) for a, s in zip(ANSWERS, SCORES, strict=True)]
    return Recording("r", [Stored("p", drawn)])


def right(label: str) -> float:
    (strategy,), reasons = supported(choose([label]), recording())
    assert not reasons
    (curve,) = evaluate(recording(), [strategy], budgets=[4], orders=2)
    return float(curve.values[0, 0])


def test_scores_of_any_sign_vote_by_their_scale() -> None:
    """Scaled to 0, .4, .4, 1 the right answer has 1.0 against .8."""
    assert right("weighted_majority-scale=minmax") == 1.0
    _, reasons = supported(choose(["weighted_majority"]), recording())
    assert "below 0" in reasons["weighted_majority"]


@pytest.mark.parametrize("name", ["marker_vote", "complexity"])
def test_what_reads_texts_is_refused(name: str) -> None:
    with pytest.raises(RecipeError, match=f"{name} reads the texts"):
        choose([name])


@pytest.mark.parametrize("name", ["logprob", "deepconf_filter"])
def test_what_is_not_stored_is_no_plain_vote(name: str) -> None:
    _, reasons = supported(choose([name]), recording())
    assert "0 of 4 samples have any" in reasons[name]


def test_every_way_of_choosing_is_replayed_or_refused_and_listed() -> None:
    page = (Path(__file__).parents[3] / "docs" / "offline.md").read_text(encoding="utf-8")
    listed = page.partition("## Ways of choosing")[2].partition("## ")[0]
    for name in names.known("aggregator"):
        assert f"`{name}`" in listed, name
        function: Any = names.find("aggregator", name)
        if asks(function):
            with pytest.raises(RecipeError, match="asks models"):
                choose([name])
