"""Fractured sampling (Liao et al., 2025, arXiv:2505.12992)."""

from __future__ import annotations

from functools import partial
from typing import Annotated

from pydantic import Field

from reasoning.search import Search
from searchers.kernels.cuts import beginnings

AGGREGATOR = "majority"
STEPS = True


async def fractured(
    search: Search,
    *,
    n: Annotated[int, Field(ge=1)] = 1,
    depths: Annotated[int, Field(ge=1)] = 4,
    m: Annotated[int, Field(ge=1)] = 1,
    end: str = "</think>",
    answer_tokens: Annotated[int, Field(ge=1)] | None = None,
) -> None:
    """Think n times, cut each thought at `depths` lengths, and draw m answers after every cut.

    The cuts are at floor(i L / depths) of the thought's L words (the paper: tokens), i = 1 ..
    depths; the deepest is the whole thought, whose own answer is one of its m. All answers are
    candidates alike, though those of one thought are not independent and early ones are worse: a
    vote has to want that. The thought ends at `end`; "" is for a model that does not mark it, which
    goes on from the beginnings of its solutions. `answer_tokens` bounds each further answer (the
    paper: 2,048).

    n * depths * m answers cost n thoughts and the answers' tokens. One depth and m = 1 is plain
    sampling.
    """
    mark = f"\n{end}\n\n" if end else ""

    async def think(view: Search, _: int) -> None:
        if whole := await view.draw(view.root, until="end"):
            view.emit(whole)
            thought, ended, _rest = whole.text.partition(end) if end else (whole.text, "", "")
            again = m - 1 if ended or (end and not whole.finished) else 0
            cuts = [*((text, m) for text in beginnings(thought, depths)), (thought, again)]
            begun = [(view.write(whole, t + mark, instead=True), k) for t, k in cuts if k]
            draw = partial(view.draw, until="end", max_tokens=answer_tokens)
            calls = [partial(draw, node) for node, k in begun for _ in range(k)]
            await view.side_by_side(calls, view.emit)

    await search.split(n, think)
