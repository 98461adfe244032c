"""Passages by what they are worth, wherever they stood: mixture of intervention (2024,
arXiv:2412.10684)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field

from reasoning.errors import RecipeError
from reasoning.search import Search
from reasoning.tree import Node
from searchers.kernels.positions import LABELS, labelled, worths
from searchers.tree.ab_mcts import filled
from searchers.variants.dealing import deal, put
from searchers.variants.orders import cyclic

AGGREGATOR = "majority"
MODELS = ("judge",)
_ASK = "{passages}\n\n{question}"
_WHICH = """\
{passages}

{question}

Do not answer. Which passage is of most use for this? Give its letter alone."""


async def interventions(
    search: Search,
    *,
    orders: Annotated[int, Field(ge=1)] | None = None,
    keep: Annotated[int, Field(ge=1)] | None = None,
    best: Literal["first", "last"] = "first",
    n: Annotated[int, Field(ge=1)] = 1,
    field: str = "passages",
    judge: str = "",
    ask: str = _ASK,
    which: str = _WHICH,
) -> None:
    """Show passages in several orders, see what they are worth wherever they stand, and answer.

    In each of `orders` cyclic orders (None: as many as passages) one token is asked for: the letter
    of the passage of most use. Its probabilities are taken to be worth times place (least squares
    of logarithms), so that being first or last counts for nothing; then n solutions read the `keep`
    worthiest (all), the best `first` or `last`. `judge` is who looks, "" the model itself; `field`
    of the row has the passages. It assumes that worth does not depend on what stands beside a
    passage; the paper's exact form could not be read. One passage is plain sampling behind it.
    """
    told = search.problem.meta.get(field)
    passages = told if isinstance(told, list) else []
    k = len(passages)
    if not 0 < k <= len(LABELS):
        raise RecipeError(
            f"interventions finds {k} passages of problem {search.problem.id!r} in {field!r}; it "
            f"reads a list of 1 to {len(LABELS)} texts: set field to what the rows call it, or "
            "give fewer"
        )
    rows, looks = cyclic(k, min(orders or k, k)), dict[int, Node]()

    def shown(text: str, order: Sequence[int]) -> str:
        listed = [f"[{label}] {passages[j]}" for label, j in zip(LABELS, order, strict=False)]
        parts = {"passages": "\n\n".join(listed), "question": search.problem.prompt}
        return filled(text, parts)

    if k > 1:
        asked = [put(search, shown(which, row)) for row in rows]
        once = {"max_tokens": 1, "temperature": 0.0, "top_logprobs": 20, "model": judge}
        await deal(search, asked, looks.__setitem__, **once)
    shares = {i: labelled(looks[i].sample.top_logprobs, k) for i in sorted(looks)}
    seen = {rows[i]: found for i, found in shares.items() if found is not None}
    worth = worths([*seen], [*seen.values()]) if seen else [0.0] * k
    ranked = sorted(range(k), key=lambda j: -worth[j])[:keep]
    turn = put(search, shown(ask, ranked if best == "first" else ranked[::-1]))
    read = [looks[i] for i in shares]
    await deal(search, [turn] * n, lambda _, node: search.emit(node), sources=read)
