from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import Any

import numpy as np
import pytest

import searchers.tree.particle_gibbs as module
from reasoning.budget import Budget
from reasoning.errors import VerificationError
from reasoning.generate import Sampling
from reasoning.search import Search
from reasoning.testing.smc_contract import Enumerated
from reasoning.testing.toys import (
    Choices,
    Steps,
    ToyGenerator,
    ToyModel,
    ToyVerifier,
    all_runs,
    markov,
    random_tree,
)
from reasoning.tree import Node, Sample
from searchers.tree.engine import grow_in_rounds
from searchers.tree.leaf import Leaf
from searchers.tree.particle_filter import particle_filter
from searchers.tree.particle_gibbs import particle_gibbs

SCORES = {"a": 0.8, "b": 0.3, "1": 0.6, "2": 0.9}
TWO_STEPS = markov({"": {"a": 0.7, "b": 0.3}, "a": {"1": 0.9, "2": 0.1}, "b": {"1": 0.4, "2": 0.6}})
UNEVEN = markov({"": {"1": 0.4, "a": 0.6}, "a": {"1": 0.3, "b": 0.7}, "b": {"2": 1.0}})

SHORT = markov({"": {"1": 0.4, "a": 0.6}, "a": {"2": 1.0}})


def score(steps: Steps) -> float:
    return SCORES[steps[-1]]


def make(
    model: ToyModel,
    *,
    choices: Choices | None = None,
    verifier: ToyVerifier | None = None,
    budget: Budget | None = None,
    seed: int = 0,
) -> Search:
    search = Search(
        model.problem,
        ToyGenerator(model, choices=choices),
        verifier=verifier or ToyVerifier(model, score),
        sampling=Sampling(max_tokens=50),
        budget=budget,
        seed=seed,
    )
    if choices is not None:
        search.rng = lambda *_: Enumerated(choices)  # type: ignore[method-assign,assignment,return-value]
    return search


def run(model: ToyModel, **setting: Any) -> Search:
    kept = {k: setting.pop(k) for k in ("choices", "verifier", "budget", "seed") if k in setting}
    search = make(model, **kept)
    asyncio.run(particle_gibbs(search, **setting))
    return search


# -------------------------------------------------------------------------- exact results


def after_one_sweep(
    model: ToyModel, start: Steps, monkeypatch: pytest.MonkeyPatch, n: int, tau: float
) -> dict[Steps, float]:
    """The exact distribution of the path kept after a sweep around `start`."""

    def once(choices: Choices) -> Steps:
        search, seen = make(model, choices=choices), []

        async def sweep(search: Search, width: int, *args: Any, **kwargs: Any) -> list[Leaf]:
            spine: list[Node] = kwargs["spine"]
            seen.append(spine)
            if len(seen) == 1:  # in place of the first sweep: just the path to start from
                node = search.root
                for i, name in enumerate(start):
                    finish: Any = "end" if i + 1 == len(start) else "stop"
                    text = model.piece(start[:i], name)
                    node = search.tree.add(
                        node, i + 7, Sample(text, finish=finish, generated_tokens=1)
                    )
                    await search.score(node)
                return [Leaf(node, open=False, value=score(start))]
            if len(seen) == 3:
                return []
            return await grow_in_rounds(search, width, *args, **kwargs)

        monkeypatch.setattr(module, "grow_in_rounds", sweep)
        work = particle_gibbs(search, n=n, sweeps=3, tau=tau, weights="incremental")
        asyncio.run(work)
        return model.parse(seen[2][-1].text)[0]

    totals: dict[Steps, float] = defaultdict(float)
    for p, steps in all_runs(once):
        totals[steps] += p
    return totals


@pytest.mark.parametrize(
    ("model", "n", "tau"),
    [(TWO_STEPS, 2, 1.0), (UNEVEN, 2, 1.0), (UNEVEN, 2, 0.5), (SHORT, 3, 1.0)],
    ids=["two steps", "uneven", "uneven, sharp", "short, 3 particles"],
)
def test_a_sweep_leaves_the_target_unchanged(
    model: ToyModel, n: int, tau: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Start from p(solution) * odds ** (1 / tau), do a sweep: the same distribution, exactly."""
    target = {s: p * (score(s) / (1 - score(s))) ** (1 / tau) for s, p in model.complete()}
    whole = sum(target.values())
    after: dict[Steps, float] = defaultdict(float)
    for start, mass in target.items():
        moved = after_one_sweep(model, start, monkeypatch, n, tau)
        assert sum(moved.values()) == pytest.approx(1)
        for steps, p in moved.items():
            after[steps] += mass / whole * p
    assert after == pytest.approx({s: mass / whole for s, mass in target.items()})


@pytest.mark.parametrize("weights", ["absolute", "incremental"])
def test_one_sweep_is_a_particle_filter(weights: Any) -> None:
    model = random_tree(3, depth=4)
    verifier = ToyVerifier(model)
    gibbs = run(model, verifier=verifier, n=5, sweeps=1, weights=weights)
    other = make(model, verifier=verifier)
    gibbs.rng = other.rng  # type: ignore[method-assign]
    names: dict[str, Any] = {"particle_filter": ("particle_gibbs", 0)}
    rng = other.rng
    other.rng = lambda name, *key: rng(*names[str(name)], *key)  # type: ignore[method-assign]
    asyncio.run(particle_filter(other, n=5, weights=weights))
    trees = [[(n.path, n.text, n.scores) for n in search.tree] for search in (gibbs, other)]
    assert trees[0] == trees[1]
    total = sum(c.weight for c in other.candidates)
    for mine, its in zip(gibbs.candidates, other.candidates, strict=True):
        assert mine.weight == pytest.approx(its.weight / total)


# --------------------------------------------------------------------------- by example


def test_later_sweeps_draw_one_first_step_less() -> None:
    search = run(TWO_STEPS, n=4, sweeps=3)
    assert len(search.root.children) == 4 + 3 + 3


def test_particles_branch_off_the_reference() -> None:
    """Where the reference's prefix is the only good one, free particles continue from it."""
    model = markov({"": {"a": 0.05, "b": 0.95}, "a": {"1": 1.0}, "b": {"2": 1.0}})
    values = {"a": 0.999, "b": 0.001, "1": 0.999, "2": 0.001}
    verifier = ToyVerifier(model, lambda steps: values[steps[-1]])
    for seed in range(20):
        search = run(model, verifier=verifier, n=8, sweeps=2, seed=seed)
        good = [n for n in search.root.children if n.text[0] == "a"]
        if good and good[0].slot < 8:
            # All of the first sweep, then all but the reference itself.
            assert sum(len(n.children) for n in good) == 8 + 7
            break
    else:
        pytest.fail("no seed drew the rare step")


def test_the_reference_is_kept_even_if_it_is_the_worst(monkeypatch: pytest.MonkeyPatch) -> None:
    spines, finals = [], []

    async def watched(search: Search, *args: Any, **kwargs: Any) -> list[Leaf]:
        leaves = await grow_in_rounds(search, *args, **kwargs)
        spines.append(kwargs["spine"])
        finals.append([leaf.node for leaf in leaves])
        return leaves

    monkeypatch.setattr(module, "grow_in_rounds", watched)
    for seed in range(5):
        run(random_tree(1, depth=4), verifier=_unfair(), n=3, sweeps=4, seed=seed)
    for spine, final in zip(spines, finals, strict=True):
        assert not spine or spine[-1] in final
        assert len(final) <= 3


def _unfair() -> ToyVerifier:
    from reasoning.testing.toys import noisy

    model = random_tree(1, depth=4)
    return ToyVerifier(model, noisy(lambda _: 0.5, seed=3, scale=1.0))


def test_population_size_is_constant(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []

    async def watched(search: Search, *args: Any, **kwargs: Any) -> list[Leaf]:
        leaves = await grow_in_rounds(search, *args, **kwargs)
        sizes.append(sum(leaf.slots for leaf in leaves))
        return leaves

    monkeypatch.setattr(module, "grow_in_rounds", watched)
    for seed in range(10):
        run(random_tree(2, depth=5), verifier=_of(2), n=5, sweeps=3, seed=seed)
    assert set(sizes) == {5}


def _of(seed: int) -> ToyVerifier:
    return ToyVerifier(random_tree(seed, depth=5))


def test_weights_add_up_to_the_sweeps() -> None:
    search = run(TWO_STEPS, n=4, sweeps=3)
    assert sum(c.weight for c in search.candidates) == pytest.approx(3)


def test_each_solution_is_one_candidate() -> None:
    search = run(UNEVEN, n=4, sweeps=4)
    assert [c.path for c in search.candidates] == sorted(
        node.path for node in search.tree if node.finished
    )


@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_constant_scores(value: float) -> None:
    model = random_tree(2, depth=4)
    for weights in ("absolute", "incremental"):
        search = run(model, verifier=ToyVerifier(model, lambda _: value), n=3, sweeps=3, tau=0.05,
                     weights=weights)  # fmt: skip
        assert all(np.isfinite(c.weight) for c in search.candidates)


def test_a_verifier_that_fails() -> None:
    model = random_tree(2, depth=4)
    verifier = ToyVerifier(model, failure=lambda _: VerificationError("no"))
    assert run(model, verifier=verifier, n=3, sweeps=2).candidates


def test_never_ending_paths_are_cut_off() -> None:
    model = markov({"": {"a": 1.0}, "a": {"a": 1.0}})
    search = run(model, n=2, sweeps=3, max_steps=3)
    assert max(n.depth for n in search.tree) == 3
    assert len(search.candidates) >= 1


@pytest.mark.parametrize("tokens", [0, 1, 9, 13])
def test_short_budgets(tokens: int) -> None:
    search = run(TWO_STEPS, n=4, sweeps=9, budget=Budget(tokens))
    assert search.usage.generated_tokens == tokens
    assert bool(search.candidates) == (tokens > 0)
