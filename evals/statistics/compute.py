"""What an answer costs: the axes that strategies are compared on."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

AXES: Mapping[str, str] = {
    "generated_tokens": "generated tokens a problem, wasted ones included",
    "verifier_tokens": "tokens a problem that the verifier read or wrote",
    "verifier_calls": "verifier calls a problem",
    "critical_tokens": "longest chain of dependent tokens a problem",
    "seconds": "seconds a problem",
    "flops": "floating point operations a problem: 2 x parameters x tokens, prompts that were not "
    "cached and what a verifier read included",
}
"""The name of an axis and what it counts."""

SHORT: Mapping[str, str] = {
    "generated_tokens": "generated tokens a problem",
    "verifier_tokens": "verifier tokens a problem",
    "verifier_calls": "verifier calls a problem",
    "critical_tokens": "longest chain of tokens a problem",
    "seconds": "seconds a problem",
    "flops": "floating point operations a problem",
}
"""The same in few words."""


def flops(usage: Mapping[str, float], parameters: float, verifier_parameters: float = 0.0) -> float:
    """Floating point operations of a search: 2 for each parameter and token that is processed.

    The forward pass without attention (Kaplan et al., 2020, arXiv:2001.08361); tokens are the
    generated ones, those of prompts that no cache held, and what the verifier read.
    """
    if parameters <= 0 or verifier_parameters < 0:
        raise ValueError(
            "a model must have parameters, and a verifier 0 or more, got "
            f"{parameters:g} and {verifier_parameters:g}"
        )
    read = max(0.0, usage.get("prompt_tokens", 0) - usage.get("cached_tokens", 0))
    tokens = usage["generated_tokens"] + read
    return 2 * (parameters * tokens + verifier_parameters * usage.get("verifier_tokens", 0))


def parameters_of(
    manifest: Mapping[str, Any], strategy: str, part: str = "generator"
) -> float | None:
    """How many parameters the manifest says the model of a strategy's `part` has.

    None if it does not say; nothing is guessed from a model's name.
    """
    sizes = manifest.get("parameters")
    found = sizes.get(strategy) if isinstance(sizes, Mapping) else None
    told = found.get(part) if isinstance(found, Mapping) else None
    valid = isinstance(told, int | float) and not isinstance(told, bool) and 0 < told < math.inf
    return float(told) if valid and told is not None else None


def costs(
    usage: Mapping[str, float],
    *,
    parameters: float | None = None,
    verifier_parameters: float | None = None,
) -> dict[str, float]:
    """The axes of one search; `flops` is absent where a model's size is unknown."""
    found = {name: float(usage.get(name, 0.0)) for name in AXES if name != "flops"}
    scored = found["verifier_tokens"] > 0
    if parameters is not None and (verifier_parameters is not None or not scored):
        found["flops"] = flops(usage, parameters, verifier_parameters or 0.0)
    return found


def pareto(costs: Sequence[float], values: Sequence[float]) -> list[int]:
    """Indices of the points that no other beats, cheapest first.

    A point is beaten by one that costs no more and is worth no less, and differs in either; of
    equal points the first stays.
    """
    if len(costs) != len(values):
        raise ValueError(f"as many costs as values are needed, got {len(costs)}, {len(values)}")
    if any(x != x for x in (*costs, *values)):
        raise ValueError("costs and values must be numbers, got NaN")
    front: list[int] = []
    for i in sorted(range(len(costs)), key=lambda i: (costs[i], -values[i], i)):
        if not front or values[i] > values[front[-1]]:
            front.append(i)
    return front
