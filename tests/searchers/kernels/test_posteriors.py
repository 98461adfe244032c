"""Beliefs: conjugate updates in closed form, the mixed model against its own prior."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from searchers.kernels.posteriors import Beta, Mixed, NormalInverseGamma

rewards = st.lists(st.floats(-2, 2), min_size=1, max_size=12)


def test_one_observation_of_the_normal_inverse_gamma() -> None:
    # kappa 1 -> 2, nu 1 -> 2, m (0 + 1) / 2, tau2 (1 * 0.1 + 1 * 1 * (1 - 0)^2 / 2) / 2
    seen = NormalInverseGamma().observe(1.0)
    assert (seen.mean, seen.kappa, seen.nu) == (0.5, 2.0, 2.0)
    assert seen.tau2 == pytest.approx(0.3)


@given(rewards)
def test_one_by_one_is_all_at_once(ys: list[float]) -> None:
    prior = belief = NormalInverseGamma(0.3, 2.0, 3.0, 0.2)
    for y in ys:
        belief = belief.observe(y)
    n, average = len(ys), float(np.mean(ys))
    kappa, nu = prior.kappa + n, prior.nu + n
    spread = (
        prior.nu * prior.tau2
        + float(np.sum((np.array(ys) - average) ** 2))
        + n * prior.kappa * (average - prior.mean) ** 2 / kappa
    )
    assert belief.kappa == kappa
    assert belief.nu == nu
    assert belief.mean == pytest.approx((prior.kappa * prior.mean + n * average) / kappa)
    assert belief.tau2 == pytest.approx(spread / nu)


@given(st.lists(st.floats(0, 1), max_size=12))
def test_beta_counts_fractions(ys: list[float]) -> None:
    belief = Beta()
    for y in ys:
        belief = belief.observe(y)
    assert belief.a == pytest.approx(0.5 + math.fsum(ys))
    assert belief.b == pytest.approx(0.5 + len(ys) - math.fsum(ys))


def test_beta_clips() -> None:
    assert Beta().observe(7.0) == Beta(1.5, 0.5)
    assert Beta().observe(-7.0) == Beta(0.5, 1.5)


def test_draws_have_the_posteriors_moments() -> None:
    rng = np.random.default_rng(1)
    belief = NormalInverseGamma(0.4, 3.0, 9.0, 0.2)
    draws = np.array([belief.draw(rng) for _ in range(40_000)])
    variance = 9.0 * 0.2 / (9.0 - 2) / 3.0  # Student's t with 9 degrees of freedom, scaled
    assert abs(draws.mean() - 0.4) < 5 * math.sqrt(variance / len(draws))
    error = (draws - draws.mean()) ** 2
    assert abs(error.mean() - variance) < 5 * error.std() / math.sqrt(len(draws))
    rate = Beta(2.0, 6.0)
    draws = np.array([rate.draw(rng) for _ in range(40_000)])
    assert abs(draws.mean() - 0.25) < 5 * draws.std() / math.sqrt(len(draws))


def test_mixed_without_arms_draws_from_the_prior_predictive() -> None:
    rng = np.random.default_rng(2)
    model = Mixed()
    draws = np.array([model.draw([], rng)[0] for _ in range(8000)])
    variance = 0.2**2 + 0.2**2 + 0.3**2  # E[sigma^2] of a half-normal is its scale squared
    error = (draws - 0.5) ** 2
    assert abs(draws.mean() - 0.5) < 5 * math.sqrt(variance / len(draws))
    assert abs(error.mean() - variance) < 5 * error.std() / math.sqrt(len(draws))


@pytest.mark.parametrize(
    "arms",
    [[[0.9]], [[0.1, 0.2], [0.8]], [[0.5, 0.4, 0.7], [0.2, 0.9], [0.6]]],
    ids=["one", "two", "three"],
)
def test_mixed_agrees_with_weighting_the_prior(arms: list[list[float]]) -> None:
    """Importance sampling from the prior: parameters weighted by the likelihood of the arms."""
    rng = np.random.default_rng(3)
    n = 400_000
    mu = 0.5 + 0.2 * rng.standard_normal(n)
    between = np.abs(0.2 * rng.standard_normal(n))
    within = np.abs(0.3 * rng.standard_normal(n))
    log_weight = np.zeros(n)
    alphas = []
    for arm in arms:
        alpha = mu + between * rng.standard_normal(n)
        alphas.append(alpha)
        for y in arm:
            log_weight -= np.log(within) + (y - alpha) ** 2 / (2 * within**2)
    weight = np.exp(log_weight - log_weight.max())
    weight /= weight.sum()
    model = Mixed()
    draws = np.array([model.draw(arms, rng) for _ in range(4000)])
    for column, values in enumerate([*alphas, mu]):
        mean = float(weight @ values)
        error = math.hypot(
            math.sqrt(float(weight**2 @ (values - mean) ** 2)),
            draws[:, column].std() / math.sqrt(len(draws)),
        )
        assert abs(draws[:, column].mean() - mean) < 5 * error
        spread = (within**2 if column < len(arms) else within**2 + between**2) + (
            values - mean
        ) ** 2
        expected = float(weight @ spread)
        error = math.hypot(
            math.sqrt(float(weight**2 @ (spread - expected) ** 2)),
            ((draws[:, column] - mean) ** 2).std() / math.sqrt(len(draws)),
        )
        assert abs(((draws[:, column] - mean) ** 2).mean() - expected) < 5 * error


def test_mixed_ranks_are_uniform() -> None:
    """Simulation-based calibration (Talts et al., 2018): a truth drawn from the prior is nowhere
    in particular among draws from the posterior."""
    rng = np.random.default_rng(4)
    model = Mixed(points=32)
    places, rounds, draws = 8, 400, 7
    ranks = np.zeros(places)
    for _ in range(rounds):
        mu = 0.5 + 0.2 * rng.standard_normal()
        between, within = abs(0.2 * rng.standard_normal()), abs(0.3 * rng.standard_normal())
        alpha = mu + between * rng.standard_normal(3)
        arms = [
            (a + within * rng.standard_normal(m)).tolist()
            for a, m in zip(alpha, (1, 3, 5), strict=True)
        ]
        truth = mu + between * rng.standard_normal() + within * rng.standard_normal()
        ranks[sum(model.draw(arms, rng)[-1] < truth for _ in range(draws))] += 1
    expected = rounds / places
    chi2 = float(((ranks - expected) ** 2 / expected).sum())
    assert chi2 < (places - 1) + 5 * math.sqrt(2 * (places - 1))


@pytest.mark.parametrize(
    "arms",
    [
        [[0.0] * 50, [0.0] * 50],
        [[1.0] * 200],
        [[0.0], [1.0]] * 10,
        [[1e-12, 0.0], [1.0]],
        [[-1000.0], [1000.0]],
    ],
)
def test_mixed_is_finite_whatever_it_sees(arms: list[list[float]]) -> None:
    draws = Mixed().draw(arms, np.random.default_rng(5))
    assert draws.shape == (len(arms) + 1,)
    assert np.isfinite(draws).all()


@given(st.lists(st.lists(st.floats(0, 1), min_size=1, max_size=5), min_size=1, max_size=4))
def test_mixed_weights_do_not_depend_on_the_order_of_arms(arms: list[list[float]]) -> None:
    model = Mixed(points=8)
    forward, backward = model.sigmas(arms)[0], model.sigmas(arms[::-1])[0]
    assert np.allclose(forward, backward, rtol=1e-6, atol=1e-6)
