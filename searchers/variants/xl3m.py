"""XL3M: of a long input, the segments that make the model sure (Wang et al., 2024,
arXiv:2405.17755)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from itertools import accumulate, takewhile
from typing import Annotated

from pydantic import Field

from reasoning.errors import RecipeError
from reasoning.search import Search
from reasoning.tree import Node
from searchers.kernels.cuts import segments
from searchers.kernels.uncertainty import entropies
from searchers.variants.dealing import deal, put

AGGREGATOR = "majority"


async def xl3m(
    search: Search,
    *,
    segment: Annotated[int, Field(ge=1)] = 2000,
    keep: Annotated[int, Field(ge=1)] = 8000,
    n: Annotated[int, Field(ge=1)] = 1,
    field: str = "context",
    top: Annotated[int, Field(ge=2)] = 20,
) -> None:
    """Read a long input segment by segment, and answer from those that make the model sure.

    The row's `field` is cut into segments of `segment` characters at most, where sentences end. For
    each the question is asked of it alone, and the first token of the answer is looked at: the
    entropy of its `top` likeliest alternatives, in nats, is how unsure the model is. The surest
    segments whose lengths add up to `keep` characters stay, in their order, and n solutions read
    these. An input of `keep` characters or fewer is read whole, with no look. Looks are one token
    each, side by side. It assumes that a segment which answers makes sure, and that one segment is
    enough to tell: a question that needs two together may find neither.
    """
    text = search.problem.meta.get(field)
    if not isinstance(text, str) or not text or text not in search.problem.prompt:
        raise RecipeError(
            f"xl3m finds no {field} of problem {search.problem.id!r} in its prompt; set field to "
            "what the rows call the long input, and have the task's prompt say it"
        )
    shown = partial(search.problem.prompt.replace, text)
    told = text
    if len(text) > keep:
        parts = segments(text, segment)
        unsure = [math.inf] * len(parts)

        def look(i: int, node: Node) -> None:
            unsure[i] = (entropies(node.sample.top_logprobs) or [math.inf])[0]

        asked = [put(search, shown(part)) for part in parts]
        await deal(search, asked, look, max_tokens=1, temperature=0.0, top_logprobs=top)
        told = "".join(parts[i] for i in surest(unsure, [len(part) for part in parts], keep))
    turn = put(search, shown(told))
    await deal(search, [turn] * n, lambda _, node: search.emit(node))


def surest(unsure: Sequence[float], lengths: Sequence[int], most: int) -> list[int]:
    """The places, in their order, of those least unsure whose lengths add up to `most` at most.

    Of equals the earlier; one at least, however long it is.
    """
    ranked = sorted(range(len(unsure)), key=lambda i: unsure[i])
    fits = takewhile(lambda total: total <= most, accumulate(lengths[i] for i in ranked))
    return sorted(ranked[: max(1, len(list(fits)))])
