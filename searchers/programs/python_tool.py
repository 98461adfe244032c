"""Reasoning with a Python interpreter, as PAL and ToRA do (Gao et al., 2022, arXiv:2211.10435; Gou
et al., 2023, arXiv:2309.17452)."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from reasoning.sandbox import Memory, Seconds
from reasoning.search import Search
from searchers.programs.running import blocks, run

AGGREGATOR = "majority"
STEPS = True
_FENCE = "```\n"


async def python_tool(
    search: Search,
    *,
    n: Annotated[int, Field(ge=1)] = 1,
    calls: Annotated[int, Field(ge=0)] = 4,
    seconds: Seconds = 10.0,
    memory_mb: Memory = 1024.0,
) -> None:
    """Sample n solutions whose Python blocks are run, so that the model reads what they print.

    A solution is drawn until it closes a block; the block is run without a network, for `seconds`
    of processor time and in `memory_mb` more memory, and what it prints, or the error it ends in,
    is written behind it as an `output` block; then the model goes on. A block finds the names of
    the blocks before it, as in a notebook: they are run again in the same process and their output
    is passed over, so within its seconds, and what they draw by lot may differ. After `calls`
    fenced blocks it goes on to the end. The prompt has to ask for programs; a model that writes
    none, or calls=0, is self-consistency.

    The sandbox contains accidents, not attacks.
    """

    async def solve(view: Search, _: int) -> None:
        node = view.root
        for left in reversed(range(calls + 1)):
            stop = (*view.sampling.stop, _FENCE) if left else None
            more = await view.draw(node, until="end", stop=stop)
            node = more or node
            if not (more and left and _FENCE in more.sample.text + "\n"):
                break
            *before, last = blocks(node.text) or [""]
            if node.text.rstrip().endswith(f"{last}```") and last:
                out = await run(view, node, last, before, seconds=seconds, memory_mb=memory_mb)
                gap = "" if node.text.endswith("\n") else "\n"
                node = view.write(node, f"{gap}```output\n{out.told}\n```\n")
            elif node.finished:
                break
        view.emit(node)

    await search.split(n, solve)
