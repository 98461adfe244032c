"""Draw again while the model thinks it could do better (2024, arXiv:2410.02725)."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from reasoning.aggregators.judging import share_of
from reasoning.search import Search
from reasoning.tree import Node

AGGREGATOR = "first"
STEPS = True
ASK = "\n\nWould I do better if I started over? Answer Yes or No: "


async def self_evaluation(
    search: Search,
    *,
    n: Annotated[int, Field(ge=1)] = 16,
    threshold: Annotated[float, Field(ge=0)] = 0.9,
    ask: Annotated[str, Field(min_length=1)] = ASK,
    prune_at: Annotated[int, Field(ge=1)] | None = None,
    keep: Annotated[float, Field(gt=0, le=1)] = 0.5,
) -> None:
    """Draw up to n solutions one after another, until the model would not start over; or prune.

    Behind each, in a probe that the text never sees, P(No) / (P(Yes) + P(No)) says how good the
    model finds it. From `threshold` on it is taken, else the best of all n. With `prune_at`, n
    begin side by side instead, are asked after so many tokens, and the best share `keep` of them go
    on to the end; threshold does not count then.

    The paper trains its model to answer the question; without that it is weak: choose the threshold
    on graded samples. 0 is one sample, above 1 the best of n by what the model says; keep=1 prunes
    nobody.
    """

    async def worth(node: Node) -> float:
        seen = await search.probe(node, ask, top=20)
        tops = None if seen is None else seen.sample.top_logprobs
        return (share_of("No", "Yes", tops.at(0)) if tops and tops.texts else None) or 0.0

    if prune_at is not None:
        begun = await search.draws(search.root, n, until="end", max_tokens=prune_at)
        marks = [await worth(node) if node.sample.finish == "length" else 1.0 for node in begun]
        order = sorted(range(len(begun)), key=lambda i: (-marks[i], i))
        for i in order[: max(1, round(keep * len(begun)))]:
            end = begun[i]
            if end.sample.finish == "length":
                end = await search.draw(end, until="end") or end
            search.emit(end, rank=-await worth(end))
        return
    for _ in range(n):
        node = await search.draw(search.root, until="end")
        if node is None:
            break
        search.emit(node)
        mark = await worth(node) if threshold else 1.0
        search.emit(node, rank=-mark)
        if mark >= threshold and search.answer(node) is not None:
            break
