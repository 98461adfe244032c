"""Does seeing one answer change the other? (Johnson et al., 2024, arXiv:2402.08733)."""

from __future__ import annotations

from functools import partial
from typing import Annotated

from pydantic import Field

from reasoning.search import Search
from reasoning.tree import Node
from searchers.turns.rounds import asked

AGGREGATOR = "majority"
VOTES = True
SHOWN = "{question}\n\nSomebody else has answered:\n\n{shown}\n\nGive your own answer."


async def self_cheating(
    search: Search, *, n: Annotated[int, Field(ge=2)] = 4, ask: str = SHOWN
) -> None:
    """Vote over n samples, and measure how much likelier each is once the one before it is shown.

    `cheating` = mean over pairs of ln p(y2 | x, y1 shown as another's answer) - ln p(y2 | x), in
    nats, y1 and y2 independent samples: 0 for a model that learns nothing from it, such as one that
    knows the answer; `cheating_per_token` is by length of y2. The paper trains models on pairs; by
    a prompt alone (`ask`, over {question} and {shown}) it measures suggestibility as well, so that
    only problems of one model and one `ask` compare. Costs 2n readings, nothing generated.
    """
    drawn = await search.draws(search.root, n, until="end", land=search.emit)
    gains: dict[Node, tuple[float, int]] = {}

    async def weigh(shown: Node, node: Node) -> Node:
        turn = asked(search, ask, shown=shown.text)
        alone = search.write(search.root, node.text)
        told = search.write(search.root, node.text, turn=turn, sources=[shown])
        before, after = await search.likelihood(alone), await search.likelihood(told)
        if before is not None and after is not None and len(after):
            gains[node] = (float(after.sum() - before.sum()), len(after))
        return node

    pairs = zip(drawn, [*drawn[1:], *drawn[:1]], strict=True) if len(drawn) > 1 else ()
    await search.side_by_side([partial(weigh, shown, node) for shown, node in pairs])
    if gains:
        found = gains.values()
        search.measure(
            cheating=sum(gain for gain, _ in found) / len(found),
            cheating_per_token=sum(gain / size for gain, size in found) / len(found),
        )
