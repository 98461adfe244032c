"""ConciseHint (2025, arXiv:2506.18810)."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from reasoning.search import Search
from searchers.thinking.closing import END

AGGREGATOR = "majority"
STEPS = True
HINT = "\n\n(Make the answer concise!)\n\n"


async def concise_hint(
    search: Search,
    *,
    n: Annotated[int, Field(ge=1)] = 1,
    hint: Annotated[str, Field(min_length=1)] = HINT,
    base: Annotated[int, Field(ge=1)] = 128,
    growth: Annotated[float, Field(ge=0)] = 0.2,
    most: Annotated[int, Field(ge=1)] = 1024,
    end: Annotated[str, Field(min_length=1)] = END,
) -> None:
    """Sample n solutions, with a hint to be brief written in again and again while they think.

    After l tokens of thought the next hint stands min(`most`, `base` + `growth` l) tokens later, so
    that hints become rarer as the thought proves to be hard: 128, 228, 528 tokens at l = 0, 500,
    2,000. The paper slips it into the chunk just drawn, at a sentence's end, and keeps what came
    behind; here it stands at the chunk's end, where it can still be heeded. From a `base` beyond
    the solution's length on this is self-consistency.
    """

    async def think(view: Search, _: int) -> None:
        node = view.root
        while True:
            thinking = end not in node.text
            chunk = min(most, int(base + growth * node.generated_tokens)) if thinking else None
            more = await view.draw(node, until="end", max_tokens=chunk)
            if more is None:
                break
            node = more
            if node.sample.finish != "length" or chunk is None:
                break
            if node.generated_tokens >= view.sampling.max_tokens:
                break
            if end not in node.text:
                node = view.write(node, hint)
        view.emit(node)

    await search.split(n, think)
