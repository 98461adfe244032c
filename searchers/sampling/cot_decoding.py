"""CoT-decoding (Wang and Zhou, 2024, arXiv:2402.10200)."""

from __future__ import annotations

from functools import partial
from typing import Annotated

import numpy as np
from pydantic import Field

from reasoning.search import Search
from reasoning.tree import Node

AGGREGATOR = "majority"
STEPS = True


async def cot_decoding(search: Search, *, k: Annotated[int, Field(ge=1)] = 10) -> None:
    """Go on greedily from each of the k likeliest first tokens; answers weigh by their margin.

    The margin is the mean, over the answer's own tokens, of the difference between the two
    likeliest ones' probabilities, and answers that mean the same add theirs up: paths that hold a
    chain of thought are surer of what they say. No prompt asks for it; the paper asks "Q: ...\\nA:"
    and finds k = 10 enough, branching later worse. k=1 is greedy decoding. Needs `top_logprobs`.
    """
    seen = await search.probe(search.root, top=k)
    tops = None if seen is None else seen.sample.top_logprobs
    tokens = list(tops.at(0)) if tops is not None and tops.texts else []
    starts = [search.write(search.root, token) for token in tokens if token]
    draw = partial(search.draw, until="end", temperature=0.0, top_logprobs=2)
    land = partial(_land, search)
    await search.side_by_side([partial(draw, start) for start in starts], land)


def _land(search: Search, node: Node) -> None:
    answer = search.answer(node)
    search.emit(node, margin(node, answer.text) if answer is not None else 0.0)


def margin(node: Node, answer: str) -> float:
    """The mean of p1 - p2 over the last tokens that spell `answer`; over all if none do.

    0 where the probabilities are not known.
    """
    top = node.sample.top_logprobs
    if top is None or not len(top.logprobs):
        return 0.0
    p = np.exp(top.logprobs.astype(float))
    margins = p[:, 0] - (p[:, 1] if p.shape[1] > 1 else 0.0)
    ends = np.cumsum([len(row[0]) if row else 0 for row in top.texts])
    text = "".join(row[0] if row else "" for row in top.texts)
    at = text.rfind(answer)
    if at < 0 or not answer:
        return float(margins.mean())
    first = int(np.searchsorted(ends, at, side="right"))
    last = int(np.searchsorted(ends, at + len(answer), side="left"))
    return float(margins[first : last + 1].mean())
