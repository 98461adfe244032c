"""Parallel-distill-refine, and sequential refinement (2025, arXiv:2510.01123)."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Literal

from pydantic import Field

from reasoning.answers import after_thoughts
from reasoning.search import Search
from reasoning.tree import Node
from searchers.turns.rounds import REFINE, Sizes, asked, conclusions, next_round

AGGREGATOR = "majority"
MODELS = ("distiller",)
DISTIL = """\
{question}

Attempts at this, any of which may be wrong:

{attempts}

Do not answer. Sum up for who tries next what they agree on, where they differ, what is wrong in \
them, and what is still open."""


async def pdr(
    search: Search,
    *,
    drafts: Sizes = (
        8,
        4,
        1,
    ),
    distil: Literal["summary", "best", "random"] = "summary",
    workspace: Annotated[int, Field(ge=1)] = 512,
    k: Annotated[int, Field(ge=1)] = 2,
    distiller: str = "",
    ask: str = DISTIL,
    refine: str = REFINE,
) -> None:
    """Draw `drafts[0]` drafts, distil them, draw `drafts[1]` that read only that, and so on.

    The workspace between two rounds is bounded, and the one before it is thrown away. "summary":
    `distiller` writes it, in `workspace` tokens at most; "best": the k drafts with the highest
    scores, behind their thoughts; "random": k of them by lot. The last round's answers vote. That a
    draft is worth improving on is the assumption. drafts=[1, 1, 1] is sequential refinement; one
    number is self-consistency. The longest chain of tokens counts a round as its longest draft.
    """

    async def distilled(last: list[Node], i: int) -> tuple[str, list[Node]]:
        """What stands in the workspace, and who was read for it; nobody if there is no more."""
        if distil == "summary":
            told = asked(search, ask, attempts=conclusions(last))
            draw = partial(search.draw, search.root, until="end", max_tokens=workspace)
            note = await draw(turn=told, sources=last, model=distiller)
            return (after_thoughts(note.text), [note]) if note else ("", [])
        if distil == "random":
            order = [int(j) for j in search.rng("pdr", i).permutation(len(last))]
        else:
            await search.score(*last)
            worth = [search.reward(node) for node in last]
            order = sorted(range(len(last)), key=lambda j: (worth[j] is None, -(worth[j] or 0.0)))
        read = [last[j] for j in sorted(order[:k])]
        return conclusions(read), read

    last = await next_round(search, [(None, [])] * drafts[0])
    for i, n in enumerate(drafts[1:]):
        shown, read = await distilled(last, i) if last else ("", [])
        if not read:
            return
        turn = asked(search, refine, attempts=shown)
        last = await next_round(search, [(turn, read)] * n)
