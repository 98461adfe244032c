"""phi-Decoding on scripts whose log-probabilities are laid down."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest

from reasoning.aggregators.first import first
from reasoning.backends.scripted import Scripted
from reasoning.budget import Budget
from reasoning.clock import Deadline
from reasoning.errors import RecipeError
from reasoning.generate import Meter, Prompt, Sampling
from reasoning.problem import Problem
from reasoning.search import Search, Step
from reasoning.testing.toys import ToyGenerator, random_tree
from reasoning.tree import Sample
from searchers.tree.phi_decoding import phi_decoding


class Laid(Scripted):
    """Steps while a stop string is asked for, solutions otherwise; notes what it was asked."""

    def __init__(self, step: Any, rest: Any, **setting: Any) -> None:
        super().__init__([], **setting)
        self.step = step
        self.rest = rest
        self.asked: list[tuple[str, tuple[int, ...], float]] = []

    async def generate(
        self, prompt: Prompt, params: Sampling, *, seed: int, meter: Meter
    ) -> Sample:
        kind = "step" if params.stop else "rest"
        self.asked.append((kind, prompt.path, params.temperature))
        return await super().generate(prompt, params, seed=seed, meter=meter)

    def reply(self, prompt: Prompt, params: Sampling, seed: int) -> Sample:
        del seed
        text, logprob = (self.step if params.stop else self.rest)(prompt.path)
        return Sample(
            text,
            logprobs=np.array([logprob], dtype=np.float32),
            finish="stop" if params.stop and "boxed" not in text else "end",
            generated_tokens=1,
        )


def start(generator: Any, tokens: int | None = None, **setting: Any) -> Search:
    return Search(
        Problem("p", "q"),
        generator,
        sampling=Sampling(max_tokens=50),
        step=Step(max_tokens=10),
        budget=Budget(tokens),
        **setting,
    )


def run(generator: Any, tokens: int | None = None, **params: Any) -> Search:
    search = start(generator, tokens)
    asyncio.run(phi_decoding(search, **params))
    return search


def steps(search: Search) -> list[tuple[int, ...]]:
    """The nodes that were steps and have grown further ones."""
    return sorted({node.parent.path for node in search.tree if node.parent})


def test_the_shape_of_a_round() -> None:
    laid = Laid(lambda path: (f"s{path[-1]}\n\n", -1.0), lambda _: ("\\boxed{1}", -0.5))
    run(laid, beams=2, rollouts=3, max_steps=2, min_steps=9, step_temperature=0.6)
    kinds = [kind for kind, _, _ in laid.asked]
    assert kinds == ["step"] * 6 + ["rest"] * 6 + ["step"] * 6 + ["rest"] * 6 + ["rest"] * 2
    assert {t for kind, _, t in laid.asked if kind == "step"} == {0.6}
    assert {t for kind, _, t in laid.asked if kind == "rest"} == {1.0}


def test_unlikely_steps_get_no_look_ahead() -> None:
    laid = Laid(
        lambda path: (f"s{path[-1]}\n\n", -9.0 if path[-1] == 2 else -1.0),
        lambda _: ("\\boxed{1}", -0.5),
    )
    run(laid, beams=1, rollouts=4, max_steps=1)
    assert [path for kind, path, _ in laid.asked if kind == "rest"][:3] == [(0, 0), (1, 0), (3, 0)]


def test_beams_with_the_better_look_ahead_are_drawn() -> None:
    laid = Laid(
        lambda path: (f"s{path[-1]}\n\n", -1.0),
        lambda path: ("\\boxed{1}", -0.1 if path[0] == 2 else -9.0),
    )
    search = run(laid, beams=1, rollouts=4, max_steps=3, min_steps=9, stop_identical=False)
    assert all(path[0] == 2 for path in steps(search) if len(path) > 1)


def test_agreement_ends_the_steps() -> None:
    """All continuations rise and say the same: one cluster, so it stops at `min_steps`."""

    def rest(path: tuple[int, ...]) -> tuple[str, float]:
        return "the same words \\boxed{1}", -10.0 + len(path)

    for least in (2, 3):
        laid = Laid(lambda path: (f"s{path[-1]}\n\n", -1.0), rest)
        run(laid, beams=2, rollouts=2, min_steps=least, max_steps=6, stop_identical=False)
        depth = max(len(path) for kind, path, _ in laid.asked if kind == "step")
        assert depth == least
    laid = Laid(lambda path: (f"s{path[-1]}\n\n", -1.0), lambda p: ("word " * len(p), -9.0))
    run(laid, beams=2, rollouts=2, min_steps=2, max_steps=6, stop_identical=False)
    depth = max(len(path) for kind, path, _ in laid.asked if kind == "step")
    assert depth == 6, "nothing rises, so nothing is clustered and nothing agrees"


def test_identical_steps_end_the_steps() -> None:
    for stop, deepest in ((True, 2), (False, 4)):
        laid = Laid(lambda _: ("same\n\n", -1.0), lambda _: ("\\boxed{1}", -9.0))
        run(laid, beams=2, rollouts=2, min_steps=2, max_steps=4, stop_identical=stop)
        depth = max(len(path) for kind, path, _ in laid.asked if kind == "step")
        assert depth == deepest


def test_steps_that_end_the_solution_take_part_and_rest() -> None:
    laid = Laid(
        lambda path: ("\\boxed{7}" if path[-1] == 0 else "s\n\n", -0.1 if path[-1] == 0 else -2.0),
        lambda _: ("\\boxed{1}", -9.0),
    )
    search = run(laid, beams=1, rollouts=3, deviations=9, min_steps=9)
    answer = (c := first(search.candidates)) and c.answer
    assert answer is not None
    assert answer.text == "7"
    assert not search.tree[(0,)].children
    assert search.tree[(0,)].emitted == (1.0, 0.0)


def test_the_one_drawn_comes_first_and_solutions_on_the_way_behind() -> None:
    search = run(ToyGenerator(random_tree(5, depth=5)), beams=3, rollouts=3, min_steps=2)
    ranks = sorted(candidate.rank for candidate in search.candidates)
    assert ranks[0] == 0
    assert all(rank >= 1 for rank in ranks[1:])


@pytest.mark.parametrize("combine", ["mean", "exp"])
def test_the_papers_setting_runs(combine: str) -> None:
    search = run(
        ToyGenerator(random_tree(5, depth=6)),
        advantage_temperature=0.6,
        cluster_temperature=0.6,
        combine=combine,
        rise_only=False,
        top_up=False,
        stop_identical=False,
    )
    assert first(search.candidates)


@pytest.mark.parametrize("tokens", [0, 1, 2, 5, 9, 17, 40])
def test_any_budget_is_kept(tokens: int) -> None:
    search = run(ToyGenerator(random_tree(5, depth=5)), tokens, beams=2, rollouts=2)
    assert search.usage.generated_tokens <= tokens
    assert bool(search.candidates) == (tokens > 0)


def test_a_deadline_keeps_a_solution_seen_ahead() -> None:
    model = random_tree(5, depth=6)
    generator = ToyGenerator(model, delay=lambda _: 1.0)
    search = start(generator, clock=generator.clock(model.problem))

    async def go() -> None:
        with Deadline(search.clock, 2.5):
            await phi_decoding(search)

    asyncio.run(go())
    assert first(search.candidates)


def test_empty_steps_and_empty_looks_ahead() -> None:
    class Mute(Laid):
        def reply(self, prompt: Prompt, params: Sampling, seed: int) -> Sample:
            if prompt.slot % 2:
                return Sample("", finish="stop" if params.stop else "end")
            return super().reply(prompt, params, seed)

    mute = Mute(lambda path: (f"s{path[-1]}\n\n", -1.0), lambda _: ("\\boxed{1}", -0.5))
    assert first(run(mute, beams=2, rollouts=2).candidates)
    silent = Laid(lambda path: (f"s{path[-1]}\n\n", -1.0), lambda _: ("", -0.5))
    run(silent, beams=2, rollouts=2)


def test_no_logprobs_no_phi() -> None:
    blind = Scripted([Sample("x \\boxed{1}", generated_tokens=2)])
    with pytest.raises(RecipeError, match="Scripted gives none"):
        run(blind)


@pytest.mark.parametrize("which", ["advantage_temperature", "cluster_temperature"])
def test_both_temperatures_decide_how_sharply_beams_are_drawn(which: str) -> None:
    """Three of four continuations say the same, and the fourth gains more."""

    def rest(path: tuple[int, ...]) -> tuple[str, float]:
        odd = path[0] == 3
        return ("quite another thing" if odd else "the same words") + " \\boxed{1}", -1.0 + odd

    def drawn(temperature: float) -> int:
        """How often the fourth is the beam."""
        found = 0
        for seed in range(60):
            laid = Laid(lambda path: (f"s{path[-1]}\n\n", -1.0), rest)
            search = start(laid, seed=seed)
            temperatures = {"advantage_temperature": 1e3, "cluster_temperature": 1e3}
            temperatures[which] = temperature
            options: dict[str, Any] = {**temperatures, "beams": 1, "rollouts": 4, "clusters": 2}
            options |= {"max_steps": 2, "min_steps": 9, "rise_only": False}
            asyncio.run(phi_decoding(search, **options))
            found += any(path[0] == 3 for path in steps(search) if len(path) > 1)
        return found

    # Hot, both softmaxes are even: 1/4. Cold, the one gives the fourth all, the other nothing, and
    # the chance is the mean of both. Four standard errors are 15 of 60 at most.
    expected = (1 + 1 / 4) / 2 if which == "advantage_temperature" else (0 + 1 / 4) / 2
    hot, cold = drawn(1e3), drawn(1e-3)
    assert abs(hot - 60 / 4) < 13
    assert abs(cold - 60 * expected) < (15 if expected > 0.5 else 10)
    assert (cold > hot) == (expected > 0.5)
    assert cold != hot
