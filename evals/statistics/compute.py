"""What an answer costs: the axes that strategies are compared on."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from evals.statistics.reading import Call, reads

AXES: Mapping[str, str] = {
    "generated_tokens": "generated tokens a problem, wasted ones included",
    "verifier_tokens": "tokens a problem that the verifier read or wrote",
    "verifier_calls": "verifier calls a problem",
    "critical_tokens": "longest chain of dependent tokens a problem",
    "seconds": "seconds a problem",
    "flops": "floating point operations a problem: 2 x parameters x tokens, generated or read, "
    "every prefix once, and what a verifier read",
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


def flops(
    tokens: Mapping[str, float],
    parameters: Mapping[str, float],
    *,
    verifier_tokens: float = 0.0,
    verifier_parameters: float = 0.0,
) -> float:
    """Floating point operations of a search: 2 for each parameter and token that is processed.

    The forward pass without attention (Kaplan et al., 2020, arXiv:2001.08361). `tokens` are those
    that each model has `processed`, `parameters` their sizes by the same names.
    """
    if not all(parameters[m] > 0 for m in tokens) or verifier_parameters < 0:
        raise ValueError(
            "a model must have parameters, and a verifier 0 or more, got "
            f"{dict(parameters)} and {verifier_parameters:g}"
        )
    total = math.fsum(parameters[model] * count for model, count in tokens.items())
    return 2 * (total + verifier_parameters * verifier_tokens)


def processed(usage: Mapping[str, Any], calls: Iterable[Call]) -> dict[str, float] | None:
    """Tokens of a search by model ("" is the one asked by default): generated ones and read ones.

    What is generated counts once, wasted or not; what the tree's `calls` read by the rule of
    `evals.statistics.reading`. Prompts that `usage` has beyond those of the tree, of texts that
    were read for their likelihood, count whole. The cache that an engine reports plays no part: it
    depends on what ran before. None if prompts are unknown.
    """
    calls = list(calls)
    read = reads(calls)
    shares: Mapping[str, Mapping[str, float]] = usage.get("models") or {}
    found = {}
    for model in dict.fromkeys(("", *shares, *read)):
        if (known := read.get(model, 0)) is None:
            return None
        part = shares.get(model, {}) if model else _rest(usage, shares)
        in_tree = sum(call.prompt for call in calls if call.model == model)
        beyond = max(0.0, part.get("prompt_tokens", 0) - in_tree)
        found[model] = float(part.get("generated_tokens", 0) + known + beyond)
    return {model: count for model, count in found.items() if count}


def _rest(
    usage: Mapping[str, Any], shares: Mapping[str, Mapping[str, float]]
) -> Mapping[str, float]:
    """What the model asked by default has of a usage, the others having their `shares`."""
    names = ("generated_tokens", "prompt_tokens")
    others = {name: sum(share.get(name, 0) for share in shares.values()) for name in names}
    return {name: max(0.0, usage.get(name, 0) - others[name]) for name in names}


def parameters_of(
    manifest: Mapping[str, Any], strategy: str, part: str = "generator"
) -> float | None:
    """How many parameters the manifest says the model of a strategy's `part` has.

    `part` is generator, verifier, or a name among its models. None if the manifest does not say;
    nothing is guessed from a model's name.
    """
    sizes = manifest.get("parameters")
    found = sizes.get(strategy) if isinstance(sizes, Mapping) else None
    if not isinstance(found, Mapping):
        return None
    models = found.get("models")
    told = found.get(part, models.get(part) if isinstance(models, Mapping) else None)
    valid = isinstance(told, int | float) and not isinstance(told, bool) and 0 < told < math.inf
    return float(told) if valid and told is not None else None


def costs(
    usage: Mapping[str, Any],
    *,
    tokens: Mapping[str, float] | None = None,
    parameters: Mapping[str, float | None] | None = None,
    verifier_parameters: float | None = None,
) -> dict[str, float]:
    """The axes of one search; `flops` is absent where tokens or a model's size are unknown.

    `tokens` are those `processed`, `parameters` the sizes of the models by the same names.
    """
    found = {name: float(usage.get(name, 0.0)) for name in AXES if name != "flops"}
    scored = found["verifier_tokens"]
    sizes = {m: size for m in tokens or () if (size := (parameters or {}).get(m)) is not None}
    known = tokens is not None and len(sizes) == len(tokens)
    if tokens is not None and known and (verifier_parameters is not None or not scored):
        found["flops"] = flops(
            tokens,
            sizes,
            verifier_tokens=scored,
            verifier_parameters=verifier_parameters or 0.0,
        )
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
