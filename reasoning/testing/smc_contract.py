"""What every sampler promises that estimates the evidence Z, the mean of its potential."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reasoning.generate import Sampling
from reasoning.search import Search
from reasoning.testing.toys import Choices, Steps, ToyGenerator, ToyModel, ToyVerifier, all_runs


class Enumerated:
    """Random numbers whose every outcome is tried: put it in the place of `Search.rng`."""

    def __init__(self, choices: Choices) -> None:
        self.choices = choices

    def multinomial(self, n: int, p: NDArray[np.float64]) -> NDArray[np.int64]:
        counts = np.zeros(len(p), dtype=np.int64)
        for _ in range(n):
            counts[self.choices(list(p))] += 1
        return counts

    def choice(self, n: int, p: NDArray[np.float64]) -> int:
        assert n == len(p)
        return self.choices(list(p))


@dataclass(frozen=True, kw_only=True)
class EvidenceCase:
    """A sampler, a toy model, and the scores that its verifier gives, which are positive.

    `params` make `phi` the potential of a solution, and draw by `multinomial` and `choice` alone,
    whose every outcome can be tried. At most one sweep goes around a reference.
    """

    searcher: Callable[..., Coroutine[Any, Any, None]]
    model: ToyModel
    score: Callable[[Steps], float]
    phi: Callable[[float], float] = lambda score: score
    params: Mapping[str, Any] = field(default_factory=dict)

    @property
    def evidence(self) -> float:
        """Z, by enumeration."""
        return math.fsum(p * self.phi(self.score(s)) for s, p in self.model.complete())

    def run(self, choices: Choices) -> Mapping[str, float]:
        """What the sampler measures of itself if things go so."""
        search = Search(
            self.model.problem,
            ToyGenerator(self.model, choices=choices),
            verifier=ToyVerifier(self.model, self.score),
            sampling=Sampling(max_tokens=50),
        )
        search.rng = lambda *_: Enumerated(choices)  # type: ignore[method-assign,assignment]
        asyncio.run(self.searcher(search, **self.params))
        return search.measures


@dataclass(frozen=True, slots=True)
class Bounds:
    """Exact means of log Zhat, in nats: `lower` over runs, `upper` over runs in proportion to the
    first sweep's Zhat, which makes its reference an exact sample; None where nothing is said."""

    lower: float
    upper: float | None


def check_evidence(case: EvidenceCase) -> Bounds:
    """Zhat expects Z; log Zhat expects log Z or less, and around an exact sample log Z or more,
    where 1 / Zhat expects 1 / Z. All by trying whatever can happen."""
    z, close = case.evidence, {"rel_tol": 1e-9}
    runs = [(p, m["log_z_lower"], m.get("log_z_upper")) for p, m in all_runs(case.run)]
    mean = math.fsum(p * math.exp(lower) for p, lower, _ in runs)
    assert math.isclose(mean, z, **close), f"Zhat expects {mean}, and the evidence is {z}"
    below = math.fsum(p * lower for p, lower, _ in runs)
    assert below <= math.log(z) + 1e-9, f"log Zhat expects {below}, above log Z = {math.log(z)}"
    if any(upper is None for _, _, upper in runs):
        return Bounds(below, None)
    tilted = [(p * math.exp(lower) / z, upper) for p, lower, upper in runs if upper is not None]
    inverse = math.fsum(p * math.exp(-upper) for p, upper in tilted)
    assert math.isclose(inverse, 1 / z, **close), f"1 / Zhat expects {inverse}, 1 / Z is {1 / z}"
    above = math.fsum(p * upper for p, upper in tilted)
    assert above >= math.log(z) - 1e-9, f"log Zhat expects {above}, below log Z = {math.log(z)}"
    return Bounds(below, above)
