"""Points are joined along one knob of compute, and nothing else."""

from __future__ import annotations

from evals.report.families import families


def test_a_sweep_over_temperature_makes_a_curve_for_each() -> None:
    names = [f"vote-n={n}-temperature={t}" for t in (0.5, 1.0) for n in (1, 4)]
    found = families([*names, "mcts-simulations=8", "best_of_n-n=16-weighted_majority"])
    assert list(found.values()) == [
        "vote-temperature=0.5",
        "vote-temperature=0.5",
        "vote-temperature=1.0",
        "vote-temperature=1.0",
        "mcts",
        "best_of_n-weighted_majority",
    ]
    assert set(families(["a-temperature=0", "a-temperature=1"]).values()) == {
        "a-temperature=0",
        "a-temperature=1",
    }


def test_of_two_knobs_that_vary_one_is_the_curve() -> None:
    names = [f"short-k={k}-m={m}" for k in (4, 8, 16) for m in (1, 3)]
    assert set(families(names).values()) == {"short-m=1", "short-m=3"}
    assert set(families(["short-k=4-m=3", "short-k=8-m=3"]).values()) == {"short"}
    limits = [f"vote-n=8-tokens={t}" for t in (500, 2000)]
    assert set(families(limits).values()) == {"vote"}
