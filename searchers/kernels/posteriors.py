"""Beliefs about rewards, to be sampled from (Thompson, 1933).

Two conjugate families for one arm at a time, and the hierarchical model that ties arms together.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[np.float64]


class Posterior(Protocol):
    """What is believed of one arm's mean reward."""

    def observe(self, reward: float) -> Posterior: ...
    def draw(self, rng: np.random.Generator) -> float: ...


@dataclass(frozen=True, slots=True)
class NormalInverseGamma:
    """Rewards normal with unknown mean and variance; the belief is conjugate.

    mu | sigma2 ~ N(mean, sigma2 / kappa), sigma2 ~ InvGamma(nu / 2, nu tau2 / 2). Kappa and nu
    count prior observations of the mean and of the variance tau2.
    """

    mean: float = 0.0
    kappa: float = 1.0
    nu: float = 1.0
    tau2: float = 0.1

    def observe(self, reward: float) -> NormalInverseGamma:
        """The belief after one more reward; observing many one by one is observing them at once."""
        kappa, nu = self.kappa + 1, self.nu + 1
        gap = reward - self.mean
        spread = self.nu * self.tau2 + self.kappa * gap * gap / kappa
        return NormalInverseGamma(self.mean + gap / kappa, kappa, nu, spread / nu)

    def draw(self, rng: np.random.Generator) -> float:
        """A mean."""
        sigma2 = self.nu * self.tau2 / rng.chisquare(self.nu)
        return self.mean + math.sqrt(sigma2 / self.kappa) * float(rng.standard_normal())


@dataclass(frozen=True, slots=True)
class Beta:
    """Rewards in [0, 1] as fractional successes; Jeffreys' prior. Others are clipped."""

    a: float = 0.5
    b: float = 0.5

    def observe(self, reward: float) -> Beta:
        success = min(1.0, max(0.0, reward))
        return Beta(self.a + success, self.b + 1 - success)

    def draw(self, rng: np.random.Generator) -> float:
        """A success rate."""
        return float(rng.beta(self.a, self.b))


@dataclass(frozen=True, slots=True)
class Mixed:
    """Arms j with rewards y = alpha_j + sigma_y e, where alpha_j = mu + sigma_a z_j.

    mu ~ N(mean, mean_sd), sigma_a ~ HalfNormal(between_sd), sigma_y ~ HalfNormal(within_sd); e and
    z_j standard normal. Given the two sigmas everything is normal and integrates in closed form,
    so the posterior needs no Markov chain: the sigmas are drawn from a grid of `points` by
    `points` (logarithmic, two thousandths to four times their scales), the rest exactly.
    """

    mean: float = 0.5
    mean_sd: float = 0.2
    between_sd: float = 0.2
    within_sd: float = 0.3
    points: int = 64

    def draw(self, arms: Sequence[Sequence[float]], rng: np.random.Generator) -> Array:
        """One posterior predictive reward for each arm [J], then one for an arm unseen: [J + 1].

        Every arm has one reward or more; without arms it is a draw from the prior predictive.
        """
        log_weights, between, within = self.sigmas(arms)
        mark = np.argmax(log_weights + rng.gumbel(size=log_weights.shape))
        sa, sy = between.flat[mark], within.flat[mark]
        n = np.array([len(arm) for arm in arms], dtype=np.float64)
        centre = np.array([math.fsum(arm) / len(arm) for arm in arms])
        # mu given the arms' means, each of which is mu plus noise of variance sa^2 + sy^2 / n.
        precision = 1 / (sa**2 + sy**2 / n)
        total = 1 / self.mean_sd**2 + precision.sum()
        middle = (self.mean / self.mean_sd**2 + (precision * centre).sum()) / total
        mu = middle + rng.standard_normal() / math.sqrt(total)
        # alpha_j given mu and its own rewards, and mu alone for the unseen arm.
        n, centre = np.append(n, 0.0), np.append(centre, 0.0)
        total = 1 / sa**2 + n / sy**2
        middle = (mu / sa**2 + n * centre / sy**2) / total
        alpha = middle + rng.standard_normal(len(n)) / np.sqrt(total)
        return np.asarray(alpha + sy * rng.standard_normal(len(n)))

    def sigmas(self, arms: Sequence[Sequence[float]]) -> tuple[Array, Array, Array]:
        """The grid [points, points]: log posterior weight (unnormalised), sigma_a, sigma_y."""
        unit = np.geomspace(2e-3, 4.0, self.points)
        # A cell of a logarithmic grid is as wide as its sigma; the half-normal density times that.
        prior = np.log(unit) - unit**2 / 2
        between, within = np.meshgrid(self.between_sd * unit, self.within_sd * unit, indexing="ij")
        log_weights = prior[:, None] + prior[None, :]
        # With everything measured from `mean`: mu has precision 1 / mean_sd^2 and pull 0 at first.
        precision = np.full_like(within, 1 / self.mean_sd**2)
        pull, square = np.zeros_like(within), np.zeros_like(within)
        for arm in arms:
            n, centre = len(arm), math.fsum(arm) / len(arm)
            scatter = math.fsum((y - centre) ** 2 for y in arm)
            variance = between**2 + within**2 / n
            log_weights = log_weights - (n - 1) * np.log(within) - scatter / (2 * within**2)
            log_weights = log_weights - 0.5 * np.log(variance)
            precision = precision + 1 / variance
            pull = pull + (centre - self.mean) / variance
            square = square + (centre - self.mean) ** 2 / variance
        log_weights = log_weights + 0.5 * (pull**2 / precision - square - np.log(precision))
        return np.asarray(log_weights), between, within
