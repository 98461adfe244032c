"""First to be ahead by k votes (Meyerson et al., 2025, arXiv:2511.09030)."""

from __future__ import annotations

from collections import Counter
from typing import Annotated

from pydantic import Field

from reasoning.search import Search

AGGREGATOR = "majority"
VOTES = True


async def ahead_by_k(
    search: Search,
    *,
    k: Annotated[int, Field(ge=1)] = 3,
    n: Annotated[int, Field(ge=1)] = 40,
) -> None:
    """Draw one sample after another until an answer is k votes ahead of every other, n at most.

    The sequential probability ratio test between the two answers in front: at the same error it
    draws fewest on average. With a right answer p times and the next wrong one q times as frequent,
    the right one wins with odds (p / q)^k. k=1 is the first sample that has an answer, k=n are n
    samples. The paper draws without end; n is for problems whose answers stay even.
    """
    votes: Counter[str] = Counter()
    for _ in range(n):
        node = await search.draw(search.root, until="end")
        if node is None:
            return
        search.emit(node)
        votes.update(answer.key for answer in await search.answers(node) if answer)
        counts = [count for _, count in votes.most_common(2)]
        if sum(counts[:1]) - sum(counts[1:]) >= k:
            return
