"""Every searcher that measures the evidence, on models whose evidence is known exactly."""

from __future__ import annotations

import asyncio
import inspect
import math
from typing import Any

import numpy as np
import pytest

from reasoning.budget import Budget
from reasoning.runs import names
from reasoning.search import Search
from reasoning.session import solve
from reasoning.testing.smc_contract import EvidenceCase, check_evidence
from reasoning.testing.toys import Steps, ToyGenerator, ToyVerifier, markov, random_tree
from searchers.kernels.potentials import log_evidence, log_potential

SHORT = markov({"": {"1": 0.4, "a": 0.6}, "a": {"2": 1.0}})
UNEVEN = markov({"": {"1": 0.4, "a": 0.6}, "a": {"2": 0.3, "b": 0.7}, "b": {"2": 1.0}})
COIN = markov({"": {"1": 0.5, "2": 0.5}})
SCORES = {"a": 0.8, "b": 0.35, "1": 0.6, "2": 0.9}


def score(steps: Steps) -> float:
    return SCORES[steps[-1]]


def odds(score: float) -> float:
    return score / (1 - score)


def rooted(score: float) -> float:
    return math.exp(-score / 2)


# For each the parameters under which it weighs as the textbook does, and the potential they make.
TEXTBOOK: dict[str, Any] = {"weights": "incremental"}
ROWS: dict[str, tuple[dict[str, Any], Any]] = {
    "particle_filter": ({**TEXTBOOK, "n": 2}, odds),
    "particle_filter, annealed": ({**TEXTBOOK, "n": 2, "annealing": "base", "tau": 1.0}, odds),
    "particle_filter, score": ({**TEXTBOOK, "n": 3, "potential": "score"}, lambda s: s),
    "particle_gibbs": ({**TEXTBOOK, "n": 2}, odds),
    "particle_gibbs, exp": ({**TEXTBOOK, "n": 2, "potential": "exp", "tau": 2.0}, rooted),
    "twisted_smc": ({"n": 2, "resampling": "multinomial", "bounds": True}, lambda s: s),
    "twisted_smc, always": (
        {"n": 2, "resampling": "residual", "bounds": True, "ess_threshold": 1.0},
        lambda s: s,
    ),
    "twisted_smc, never": ({"n": 2, "bounds": True, "ess_threshold": 0.0}, lambda s: s),
    "twisted_smc, exp": (
        {"n": 2, "resampling": "multinomial", "bounds": True, "potential": "exp", "tau": 2.0},
        rooted,
    ),
}


@pytest.mark.parametrize("row", ROWS)
def test_evidence(row: str) -> None:
    params, phi = ROWS[row]
    searcher = names.find("searcher", row.split(",")[0])
    kind = params.get("potential")
    signed = (lambda steps: -score(steps)) if kind == "exp" else score
    model = UNEVEN if row == "twisted_smc" else SHORT

    def weight(given: float) -> float:
        return float(phi(-given if kind == "exp" else given))

    case = EvidenceCase(searcher=searcher, model=model, score=signed, phi=weight, params=params)
    found = check_evidence(case)
    if found.upper is not None:
        assert found.lower < math.log(case.evidence) < found.upper


def test_whoever_measures_the_evidence_has_a_row() -> None:
    measuring = {
        name
        for name in names.known("searcher")
        if "log_z_lower" in inspect.getsource(names.find("searcher", name))
    }
    assert measuring == {row.split(",")[0] for row in ROWS}


@pytest.mark.parametrize(("n", "lower", "upper"), [(1, -0.6931, -0.2773), (2, -0.5816, -0.3736)])
def test_known_bounds(n: int, lower: float, upper: float) -> None:
    """p = (.5, .5), phi = (1, .25): log Z = -.4700; one particle's gaps are both KL divergences."""
    params = {"n": n, "resampling": "multinomial", "bounds": True}
    searcher = names.find("searcher", "twisted_smc")
    phi = {"1": 1.0, "2": 0.25}
    found = check_evidence(
        EvidenceCase(searcher=searcher, model=COIN, score=lambda s: phi[s[-1]], params=params)
    )
    assert found.lower == pytest.approx(lower, abs=5e-5)
    assert found.upper == pytest.approx(upper, abs=5e-5)


def test_the_gap_closes() -> None:
    phi, searcher = {"1": 1.0, "2": 0.25}, names.find("searcher", "twisted_smc")
    gaps = []
    for n in (1, 2, 3):
        params = {"n": n, "resampling": "multinomial", "bounds": True}
        found = check_evidence(
            EvidenceCase(searcher=searcher, model=COIN, score=lambda s: phi[s[-1]], params=params)
        )
        assert found.upper is not None
        gaps.append(found.upper - found.lower)
    assert gaps == sorted(gaps, reverse=True)


def test_bounds_change_no_vote() -> None:
    found = []
    for bounds in (False, True):
        search = _search(random_tree(3, depth=3))
        asyncio.run(names.find("searcher", "twisted_smc")(search, n=4, bounds=bounds))
        found.append([(c.path, c.weight) for c in search.candidates if c.weight])
    assert found[0] == found[1]


@pytest.mark.parametrize("name", ["particle_filter", "particle_gibbs", "twisted_smc"])
def test_a_budget_that_cuts_the_sweep_leaves_no_bound(name: str) -> None:
    search = _search(random_tree(3, depth=3), budget=Budget(5))
    params = {} if name == "twisted_smc" else TEXTBOOK
    asyncio.run(names.find("searcher", name)(search, n=4, **params))
    assert search.measures == {}


def test_absolute_weights_estimate_nothing() -> None:
    search = _search(random_tree(3, depth=3))
    asyncio.run(names.find("searcher", "particle_filter")(search, n=4))
    assert search.measures == {}


def test_the_bounds_are_in_the_result() -> None:
    model = random_tree(3, depth=3)
    result = solve(
        model.problem,
        generator=ToyGenerator(model),
        verifier=ToyVerifier(model),
        searcher="twisted_smc",
        n=4,
        bounds=True,
    )
    assert set(result.measures) == {"log_z_lower", "log_z_upper"}


def _search(model: Any, **more: Any) -> Search:
    return Search(model.problem, ToyGenerator(model), verifier=ToyVerifier(model), **more)


def test_potentials() -> None:
    x = np.array([0.0, 0.2, 3.0])
    assert log_potential(x, "score").tolist() == pytest.approx(
        [-math.inf, math.log(0.2), math.log(3)]
    )
    assert log_potential(x, "score", clip=0.1, tau=2.0)[0] == pytest.approx(math.log(0.1) / 2)
    assert log_potential(x, "exp", tau=2.0).tolist() == pytest.approx([0, 0.1, 1.5])
    assert log_potential(np.array([0.25]), "odds", clip=1e-7)[0] == pytest.approx(math.log(1 / 3))
    failed = np.array([-math.inf])
    assert log_potential(failed, "exp")[0] == -math.inf
    assert math.isfinite(log_potential(failed, "exp", clip=1e-7)[0])


def test_log_evidence() -> None:
    logs = np.log([2.0, 4.0, 100.0])
    assert log_evidence(logs, np.array([1, 2, 0]), 5) == pytest.approx(math.log(10 / 5))
    assert log_evidence(logs + 1000, np.array([1, 2, 0]), 5) == pytest.approx(1000 + math.log(2))
    assert log_evidence(np.array([-math.inf]), np.array([3]), 3) == -math.inf
    assert log_evidence(logs, np.zeros(3, dtype=np.int64), 3) == -math.inf
