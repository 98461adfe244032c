"""Cascades of models by confidence (Jitkrittum et al., 2023, arXiv:2307.02764)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field

from reasoning.errors import RecipeError
from reasoning.search import Search
from searchers.kernels.deferral import Feature
from searchers.models.sureness import MEASURES, Asked, how_sure

AGGREGATOR = "first"
MODELS = ("order",)
STEPS = True
ASK = "\n\nIs this answer right? Answer Yes or No: "


def ABOUT(stated: Mapping[str, Any]) -> dict[str, Any]:  # noqa: N802  a constant that depends
    """Raises RecipeError for thresholds that no model would have."""
    order, levels = stated.get("order") or (), stated.get("thresholds") or ()
    if len(levels) > max(1, len(order) - 1):
        raise RecipeError(
            f"cascade: {len(levels)} thresholds, and {len(order)} models in order: each but the "
            "last has one (a list is one value here; several strategies are entries of their own)"
        )
    return {}


async def cascade(
    search: Search,
    *,
    order: Annotated[tuple[str, ...], Field(min_length=1)],
    by: Literal["logprob", "answer", "p_true", "verifier", "gain"] = "logprob",
    thresholds: Annotated[tuple[float, ...], Field(min_length=1)] | None = None,
    ask: Annotated[str, Field(min_length=1)] = ASK,
    gain: Mapping[Feature, float] | None = None,
) -> None:
    """Ask the models in order, one sample each, until one is sure; the last that answered stands.

    Sure is whose confidence reaches its threshold (the last of `thresholds` holds for all that
    follow); one that gave no answer never is. "logprob": the mean log-probability of its tokens,
    nats (-0.137); "answer": that of the answer's own tokens (-0.1); "p_true": P(Yes) / (P(Yes) +
    P(No)) behind `ask`, in a probe (.5); "verifier": the score (.5). Confidence of one model alone
    is the best rule only where the next one is right equally often everywhere; else use "gain": it
    goes on if a fit of how much oftener the next one is right, intercept + logprob * l + tokens * t
    / 1000 + probability * p + entropy * H(p), is above -threshold (0). l is the mean
    log-probability, t the tokens, p the probability of the whole solution, H(p) the entropy of it,
    nats.

    `reasoning replay SMALL --cascade LARGE` draws the whole curve from stored samples and fits the
    weights. Thresholds belong to a model: -0.137 is the embedded draft's, chosen on training
    problems (docs/methods_models.md says how), the others are choices of ours. For deferral by
    agreement of several samples see `model_switch`.
    """
    levels = thresholds or (MEASURES[by][1],)
    for i, model in enumerate(order):
        tops = 20 if by == "answer" and i + 1 < len(order) else None
        node = await search.draw(search.root, until="end", model=model, top_logprobs=tops)
        if node is None and search.budget.exhausted:
            return
        if node is not None:
            search.emit(node, rank=-i)
            if i + 1 < len(order):
                asked = Asked(model, ask, gain or {})
                if await how_sure(by, search, node, asked) >= levels[min(i, len(levels) - 1)]:
                    return
