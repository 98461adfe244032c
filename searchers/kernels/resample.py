"""Weights of particles and how to resample them: pure kernels over arrays and a passed generator.

Weights are 0 or more on any scale; log-weights may be -inf, which is a weight of 0. If all weights
are 0, or all log-weights -inf, nothing tells the particles apart and they count as equal. Shapes:
[N] for N particles.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float64]
Ints: TypeAlias = NDArray[np.int64]
Scheme: TypeAlias = Literal["multinomial", "systematic", "stratified", "residual"]
Annealing: TypeAlias = Literal["off", "ess", "entropy", "base"]


def normalised(weights: Floats) -> Floats:
    """`weights` [N] scaled to sum 1."""
    peak = weights.max(initial=0.0)
    if peak <= 0:
        return np.full(len(weights), 1 / max(1, len(weights)))
    scaled = weights / peak
    shares: Floats = scaled / scaled.sum()
    return shares


def softmax(logits: Floats) -> Floats:
    """exp(logits) [N] scaled to sum 1; those that are +inf share everything."""
    peak = logits.max(initial=-np.inf)
    if np.isinf(peak):
        return normalised((logits == peak).astype(np.float64))
    return normalised(np.exp(logits - peak))


def log_softmax(logits: Floats, copies: Ints) -> Floats:
    """The log of what softmax gives each single copy, where path i has `copies[i]` of them [P].

    Logits are finite or -inf. A path without copies has no part in the sum; the value for it means
    nothing.
    """
    peak = logits[copies > 0].max(initial=-np.inf)
    if np.isinf(peak):
        return np.full(len(logits), -np.log(max(1, copies.sum())))
    held = np.minimum(logits - peak, 0.0)
    shares: Floats = held - np.log((copies * np.exp(held)).sum())
    return shares


def logit(values: Floats, clip: float = 1e-7) -> Floats:
    """Log-odds of `values` [N], which are held within `clip` of 0 and 1 first."""
    held = np.clip(values, clip, 1 - clip)
    odds: Floats = held / (1 - held)
    return np.log(odds)


def effective_sample_size(p: Floats) -> float:
    """1 / sum(p^2) of probabilities [N]: from 1 (one particle has it all) to N (all equal)."""
    return float(1 / np.square(p).sum())


def annealed_temperature(
    p: Floats,
    progress: float,
    *,
    method: Annealing = "ess",
    ess_threshold: float = 0.5,
    early_phase: float = 0.5,
) -> float:
    """The temperature at which entropic particle filtering resamples, 1 or more.

    Giannone et al. (2025, arXiv:2510.05825). `p` [N] are the resampling probabilities at
    temperature 1, `progress` in [0, 1] the share of the steps taken. It is 1 unless the effective
    sample size is below `ess_threshold` of N and `progress` below `early_phase`.
    """
    n = len(p)
    held = np.clip(p, 1e-7, 1 - 1e-7)
    ratio = effective_sample_size(held) / n
    if method == "off" or n < 2 or ratio >= ess_threshold or progress >= early_phase:
        return 1.0
    if method == "ess":
        return max(1.0, (1 - progress) / ratio)
    if method == "entropy":
        entropy = float(-(held * np.log(held)).sum() / np.log(n))
        return max(1.0, 1 / (entropy + (1 - entropy) * progress))
    return max(1.0, 2 - progress)


def multinomial(weights: Floats, n: int, rng: np.random.Generator) -> Ints:
    """Counts [N] of `n` independent draws."""
    return rng.multinomial(n, normalised(weights))


def systematic(weights: Floats, n: int, rng: np.random.Generator) -> Ints:
    """Counts [N] of `n` evenly spaced draws with one common offset; within 1 of expectation."""
    return _picked(weights, (np.arange(n) + rng.random()) / max(1, n))


def stratified(weights: Floats, n: int, rng: np.random.Generator) -> Ints:
    """Counts [N] of `n` draws, one from each n-th of the total weight; within 2 of expectation."""
    return _picked(weights, (np.arange(n) + rng.random(n)) / max(1, n))


def residual(weights: Floats, n: int, rng: np.random.Generator) -> Ints:
    """Counts [N]: the whole part of each expectation, and independent draws from what is left."""
    expected = n * normalised(weights)
    counts: Ints = np.floor(expected + 1e-9).astype(np.int64)
    left = n - int(counts.sum())
    return counts + multinomial(np.maximum(0.0, expected - counts), left, rng) if left else counts


SCHEMES: Mapping[str, Callable[[Floats, int, np.random.Generator], Ints]] = {
    "multinomial": multinomial,
    "systematic": systematic,
    "stratified": stratified,
    "residual": residual,
}


def shared_counts(
    scheme: Scheme, log_weights: Floats, copies: Ints, n: int, rng: np.random.Generator
) -> Ints:
    """`n` draws among paths that hold several particles each: counts [P] per path.

    `log_weights` [P] belong to one particle of the path, `copies` [P] tell how many there are.
    """
    paths = np.repeat(np.arange(len(copies)), copies)
    drawn = SCHEMES[scheme](softmax(log_weights[paths]), n, rng)
    return np.bincount(paths, weights=drawn, minlength=len(copies)).astype(np.int64)


def _picked(weights: Floats, positions: Floats) -> Ints:
    """How many positions in [0, 1) fall to each particle's share of the cumulated weight."""
    sums = np.cumsum(normalised(weights))
    held = np.minimum(positions, np.nextafter(1.0, 0.0))
    index = np.searchsorted(sums / sums[-1], held, side="right")
    return np.bincount(index, minlength=len(weights)).astype(np.int64)
