"""The searcher that follows a policy, and the policy's file."""

from __future__ import annotations

import asyncio
import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from evals.replay.samples import Drawn, Recording, Stored, rejecting
from evals.replay.strategies import adaptive as replayed
from evals.replay.strategies import looked
from reasoning.aggregators import Candidate
from reasoning.backends.scripted import Scripted
from reasoning.errors import RecipeError
from reasoning.generate import Prompt
from reasoning.problem import Problem
from reasoning.runs import names
from reasoning.runs.plan import plan
from reasoning.runs.recipe import parse
from reasoning.search import Search
from reasoning.session import solve_async
from reasoning.tree import Node, Sample
from reasoning.verify import Verifier
from searchers.kernels.policy import (
    Bound,
    Gain,
    Look,
    Policy,
    Preset,
    Route,
    Rung,
    Steps,
    Sure,
    Weights,
    read_candidates,
    signals_of,
)
from searchers.sampling.adaptive import adaptive

BOUND = Bound(model="nano", task="nano", problems=1, samples=9)
AGREE = Steps(signal="agreement", edges=(1.0,), samples=(5, 0))
SURE = Sure(by=Weights(weights={"agreement": 1}), edges=(0.9,), rate=(0.3, 0.9),
            low=(0.1, 0.8), high=(0.5, 1.0))  # fmt: skip


def policy(*looks: Look, start: int = 2, **more: Any) -> Policy:
    return Policy(form="bins", start=start, looks=looks, bound=BOUND, **more)


def script(said: str) -> Any:
    """Sample i says the i-th letter of `said`."""

    def say(prompt: Prompt, seed: int) -> Sample:
        letter = said[prompt.slot]
        return Sample(rf"\boxed{{{letter}}}", finish="end", generated_tokens=ord(letter) - 90)

    return say


def solved(said: str, found: Policy, **more: Any) -> Any:
    return asyncio.run(
        solve_async(
            "q", searcher="adaptive", policy=found, generator=Scripted(script(said)), **more
        )
    )


TWO = policy(
    Look(at=2, rule=AGREE),
    Look(at=5, rule=Gain(gain=Weights(intercept=0.5, weights={"agreement": -1.0}), to=9)),
)


@pytest.mark.parametrize(
    ("said", "waves", "answer"),
    [("aabbbbbbb", [2], "a"), ("abbabaaaa", [2, 5], "b"), ("abcddddaa", [2, 5, 9], "d")],
)
def test_draws_what_the_policy_wants_live_and_replayed(
    said: str, waves: list[int], answer: str
) -> None:
    """At 5 with 3 of one answer the gain is below 0; with 2 it is not."""
    result = solved(said, TWO)
    assert (result.usage.calls, str(result.answer)) == (waves[-1], answer)
    letters = sorted(set(said), key=said.index)
    drawn = [Drawn(letters.index(c), c == answer, True, ord(c) - 90) for c in said]
    orders = Stored("p", drawn).ordered(np.arange(9)[None])("last")
    found = replayed(orders, [9], policy=TWO)
    assert found.samples.tolist() == [[waves[-1]]]
    assert found.tokens.tolist() == [[result.usage.generated_tokens]]
    serial = [max(ord(c) - 90 for c in said[a:b]) for a, b in pairwise([0, *waves])]
    assert found.serial.tolist() == [[sum(serial)]]
    assert said[found.emitted.places[0, 0]] == answer
    assert replayed(orders, [1], policy=TWO).samples.tolist() == [[1]]


def test_one_look_less_is_that_strategy() -> None:
    """Without a look a policy is self-consistency of so many samples."""
    fixed = solved("abbabbabb", policy(start=7))
    vote = asyncio.run(
        solve_async("q", searcher="self_consistency", n=7, generator=Scripted(script("abbabbabb")))
    )
    assert (str(fixed.answer), fixed.usage.calls) == (str(vote.answer), vote.usage.calls)
    assert fixed.usage.generated_tokens == vote.usage.generated_tokens


def test_rungs_are_the_policy_for_more_or_less() -> None:
    cheap, dear = Rung(tokens=10, start=1), Rung(tokens=40, start=2, looks=TWO.looks)
    found = TWO.model_copy(update={"rungs": (cheap, dear)})
    assert [found.at(t).start for t in (0, 10, 39.9, 40, 99)] == [1, 1, 1, 2, 2]
    assert found.at(40).looks == TWO.looks
    assert TWO.at(5) is TWO
    assert solved("aabbbbbbb", found, tokens=12).usage.calls == 1
    assert solved("abbabaaaa", found, tokens=50).measures == {"allowance": 50}
    with pytest.raises(ValidationError, match="rise by their tokens"):
        Policy.model_validate(TWO.model_dump() | {"rungs": [dear, cheap]})


def test_abstains_where_it_is_not_sure() -> None:
    sure = TWO.model_copy(update={"sure": SURE})
    assert solved("aa", sure, abstain=0.5).answer is not None
    doubtful = solved("abcddddaa", sure, abstain=0.5)
    assert doubtful.answer is None
    assert doubtful.measures == {"predicted": 0.3, "predicted_low": 0.1, "predicted_high": 0.5}


def test_signals() -> None:
    nan = np.full((1, 4), np.nan)
    found = signals_of(
        np.array([[0, 0, 1, -1]]),
        np.array([[1.0, 2, 3, 2]]),
        np.array([[0.5, 0.1, 0.6, 0]]),
        nan,
        nan,
    )
    values = {name: float(x[0]) for name, x in found.items()}
    assert values["agreement"] == 0.5
    assert values["lead"] == values["silent"] == 0.25
    assert values["entropy"] == pytest.approx(-(2 / 3) * np.log(2 / 3) - np.log(1 / 3) / 3)
    assert values["support"] == 0.5
    assert values["best"] == 0.6
    assert values["length"] == pytest.approx(np.log(3))
    assert values["logprob"] == values["confidence"] == 0


def test_files(tmp_path: Path) -> None:
    file = tmp_path / "p.json"
    file.write_text(TWO.model_dump_json())
    assert names.checked(adaptive, {"policy": str(file)})["policy"] == TWO
    text = TWO.model_dump_json()
    wrong = {
        "{}": "Field required",
        text[:-2]: "Invalid JSON",
        text.replace('"version":2', '"version":3'): "version",
    }
    for text, why in wrong.items():
        file.write_text(text)
        with pytest.raises(RecipeError, match=why):
            names.checked(adaptive, {"policy": str(file)})
    with pytest.raises(RecipeError, match="reasoning fit"):
        names.checked(adaptive, {"policy": str(tmp_path / "none.json")})
    before = json.loads(TWO.model_dump_json(exclude={"rungs"})) | {"version": 1}
    file.write_text(json.dumps(before))  # of an earlier release
    assert names.checked(adaptive, {"policy": str(file)})["policy"].looks == TWO.looks
    with pytest.raises(ValidationError, match="no signal"):
        Steps(signal="mood", edges=(), samples=(1,))
    with pytest.raises(ValidationError, match="one more than edges"):
        Steps(signal="lead", edges=(0.5,), samples=(1,))
    with pytest.raises(ValidationError, match="looks must begin"):
        policy(Look(at=3, rule=AGREE))


def test_used_elsewhere_it_warns(tmp_path: Path) -> None:
    file = tmp_path / "p.json"
    file.write_text(TWO.model_dump_json())
    data = {"task": {"name": "nano", "n": 2}, "generator": "nano",
            "strategies": [{"searcher": "adaptive", "policy": str(file)}]}  # fmt: skip
    assert plan(parse(data)).notes == []
    data["generator"] = {"name": "nano", "model": "nano_think"}
    (note,) = plan(parse(data)).notes
    assert "nano nano_think, not nano" in note


def test_a_policy_by_what_nobody_tells_is_refused() -> None:
    with pytest.raises(RecipeError, match="confidence_k"):
        solved("aab", policy(Look(at=2, rule=AGREE.model_copy(update={"signal": "confidence"}))))


def test_a_policy_by_score_needs_a_verifier() -> None:
    search = Search(Problem("p", "q"), Scripted(script("aab")))
    with pytest.raises(RecipeError, match="verifier"):
        asyncio.run(adaptive(search, policy=policy(chooser="best")))


# ------------------------------------------------------------------------- giving samples up

STEPPED = ["a1\n\na2\n\n\\boxed{a}", "b1\n\nb2\n\n\\boxed{b}", "c1\n\n\\boxed{c}", "\\boxed{a}"]
WORTH = {"a1": 0.9, "a2": 0.04, "b1": 0.5, "b2": 0.6, "c1": 0.01}


class Marks(Verifier):
    """Scores a step by what it says, the last one .8."""

    name = "marks"

    async def score(self, problem: Problem, node: Node, *, meter: Any) -> tuple[float, ...]:
        return (WORTH.get(node.sample.text.strip(), 0.8),)


def stepwise(prompt: Prompt, seed: int) -> Sample:
    path = [*prompt.path]
    parts = STEPPED[path[0]].split("\n\n")
    last = len(path) == len(parts)
    text = parts[len(path) - 1] + ("" if last else "\n\n")
    return Sample(text, finish="end" if last else "stop", generated_tokens=len(text))


@pytest.mark.parametrize("bar", [0.0, 0.05, 0.55])
def test_samples_are_given_up_live_and_replayed(bar: float) -> None:
    found = policy(start=4, reject=bar, chooser="weighted_majority")
    search = Search(Problem("p", "q"), Scripted(stepwise), verifier=Marks())
    asyncio.run(adaptive(search, policy=found))
    drawn = []
    for i, text in enumerate(STEPPED):
        letter = text[-2]
        said = [WORTH.get(part, 0.8) for part in text.split("\n\n")]
        whole = sum(len(part) + 2 for part in text.split("\n\n")) - 2
        ends = np.cumsum([len(part) + 2 for part in text.split("\n\n")])
        drawn.append(Drawn("abc".index(letter), i == 1, True, float(whole), tuple(said),
                           ends=tuple(float(min(e, whole)) for e in ends)))  # fmt: skip
    kept = rejecting(Recording("r", [Stored("p", drawn)]), bar).problems[0]
    if bar:
        assert search.usage.generated_tokens == sum(s.tokens or 0 for s in kept.samples)
        alive = [s.key >= 0 for s in kept.samples]
        assert alive == ([False, True, False, True] if bar == 0.05 else [False, False, False, True])
        assert sorted(c.path[0] for c in search.candidates) == [i for i, a in enumerate(alive) if a]
        assert len(search.tree) == {0.05: 7, 0.55: 5}[bar]
        # What a policy would see then is what it sees in a replay.
        ends = [n for n in search.tree if not n.children]
        said = [search.answer(n) if n.finished else None for n in ends]
        live = [Candidate(n.path, a, score=search.reward(n), node=n)
                for n, a in zip(ends, said, strict=True)]  # fmt: skip
        orders = Stored("p", kept.samples).ordered(np.arange(4)[None])("last")
        stored = looked(orders, 4)
        for name, value in read_candidates(live).items():
            assert value == pytest.approx(stored[name]), name
    else:
        assert kept.samples == drawn
        assert len(search.tree) == 4


@pytest.mark.parametrize(("said", "hot"), [("aabb", 0), ("abbb", 2)])
def test_a_route_picks_how_the_rest_is_drawn(said: str, hot: int) -> None:
    """Two samples that agree are enough; else two more, hotter and by another prompt."""
    cold, warm = (
        Preset(name=n, samples=k, temperature=t, max_tokens=m, prompt=p)
        for n, k, t, m, p in (
            ("cold", 0, 0.4, None, None),
            ("hot", 2, 1.2, 99, "{question} Step by step."),
        )
    )
    route = Route(signal="agreement", edges=(1.0,), options=(1, 0))
    found = policy(start=2, first=cold, presets=(cold, warm), route=route)
    seen: list[tuple[float, int, str]] = []

    class Watched(Scripted):
        async def generate(self, prompt: Prompt, params: Any, **more: Any) -> Sample:
            asked = prompt.messages[-1].content
            seen.append((params.temperature, params.max_tokens, asked))
            return await super().generate(prompt, params, **more)

    search = Search(Problem("p", "q"), Watched(script(said)))
    asyncio.run(adaptive(search, policy=found))
    assert seen == [(0.4, 1024, "q")] * 2 + [(1.2, 99, "q Step by step.")] * hot
    assert len(search.candidates) == 2 + hot
    with pytest.raises(ValidationError, match="preset that there is not"):
        policy(start=2, first=cold, presets=(cold,), route=route)
