"""The likeliest text in the eyes of another model (2025, arXiv:2505.21941)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from reasoning.aggregators import Candidate
from reasoning.aggregators.voting import highest, in_order
from reasoning.search import Search

MODELS = ("model",)


async def cross_perplexity(
    candidates: Sequence[Candidate], search: Search, *, model: str, question: bool = False
) -> Candidate | None:
    """The candidate whose text alone has the lowest perplexity under `model`.

    The paper reads responses without the prompt by a small base model, and finds this good for
    open-ended text and of no use for mathematics and code. With `question` the text is read after
    it; by the generator itself (model "") this is then `perplexity`. Prompt tokens only. Candidates
    that cannot be read come last.
    """
    ordered = in_order(candidates)
    worth: dict[tuple[int, ...], float] = {}

    async def read(candidate: Candidate) -> None:
        parts = []
        for node in [] if candidate.node is None else candidate.node.attempt():
            values = await search.likelihood(node, question=question, model=model)
            if values is None:
                return
            parts.append(values)
        if any(map(len, parts)):
            worth[candidate.path] = float(np.concatenate(parts).mean(dtype=np.float64))

    for candidate in ordered:
        await read(candidate)
    return highest(ordered, lambda c: worth.get(c.path))
