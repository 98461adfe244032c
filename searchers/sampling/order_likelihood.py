"""Is the order of a data set known? (Oren et al., 2023, arXiv:2310.17623)."""

from __future__ import annotations

from functools import partial
from typing import Annotated

from pydantic import Field

from reasoning.search import Search
from reasoning.tree import Node

AGGREGATOR = "first"


async def order_likelihood(search: Search, *, shuffles: Annotated[int, Field(ge=1)] = 50) -> None:
    """Read examples in their own order and in `shuffles` others: how much likelier is their own?

    For task `shards`, whose problems are examples in the order of their file; of any other problem
    it is the lines. To who has never seen the file all orders are as likely, if examples are
    exchangeable. `difference` is ln p of their own order less the mean of the others, in nats;
    `reasoning eval --measure contamination` tests it over shards. Nothing is generated; a shard
    has to fit the model's context (the authors slide a window, and take 250 shuffles).
    """
    told = search.problem.meta.get("examples")
    examples = told if isinstance(told, list) else search.problem.question.splitlines()
    rng = search.rng("order_likelihood")
    orders = [range(len(examples)), *(rng.permutation(len(examples)) for _ in range(shuffles))]
    nodes = [search.write(search.root, "\n\n".join(examples[i] for i in o)) for o in orders]
    read: dict[Node, float] = {}

    async def weigh(node: Node) -> Node:
        found = await search.likelihood(node, question=False)
        if found is not None:
            read[node] = float(found.sum())
        return node

    await search.side_by_side([partial(weigh, node) for node in nodes])
    own, *others = nodes
    known = [read[node] for node in others if node in read]
    if own in read and known:
        search.emit(own)
        mean = sum(known) / len(known)
        search.measure(own_order=read[own], shuffled=mean, difference=read[own] - mean)
