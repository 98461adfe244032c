"""Reasoning with a Python interpreter, as PAL and ToRA do (Gao et al., 2022, arXiv:2211.10435; Gou
et al., 2023, arXiv:2309.17452)."""

from __future__ import annotations

import re
from functools import cache
from typing import Annotated

from pydantic import Field

from reasoning.sandbox import Bounds, Sandbox, Seconds
from reasoning.search import Search

AGGREGATOR = "majority"
STEPS = True
_FENCE = "```\n"
_BLOCK = re.compile(r"```(?:python3?|py)[ \t]*\n((?:(?!```).)*)```\s*\Z", flags=re.DOTALL)
_LONGEST = 2_000  # characters of an output that the model reads
_WORKERS = 2


async def python_tool(
    search: Search,
    *,
    n: Annotated[int, Field(ge=1)] = 1,
    calls: Annotated[int, Field(ge=0)] = 4,
    seconds: Seconds = 10.0,
) -> None:
    """Sample n solutions whose Python blocks are run, so that the model reads what they print.

    A solution is drawn until it closes a block, the block is run alone (nothing is kept from one to
    the next) without a network and for `seconds` of processor time, and what it prints, or the
    error it ends in, is written behind it as an `output` block; then the model goes on. After
    `calls` fenced blocks it goes on to the end. The prompt has to ask for programs; a model that
    writes none, or calls=0, is self-consistency.

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
            if block := _BLOCK.search(node.text):
                reply = await view.call(_sandbox(seconds).run, {"program": block[1]}, at=node)
                node = view.write(node, _output(node.text, reply))
            elif node.finished:
                break
        view.emit(node)

    await search.split(n, solve)


def _output(text: str, reply: object) -> str:
    """The block for what came of a run."""
    said = "the program did not end" if reply == {} else "the program could not be run"
    if isinstance(reply, dict) and reply:
        said = str(reply.get("value", reply.get("error"))).strip()
    if len(said) > _LONGEST:
        said = said[:_LONGEST] + "..."
    return f"{'' if text.endswith(chr(10)) else chr(10)}```output\n{said}\n```\n"


@cache
def _sandbox(seconds: float) -> Sandbox:
    """One for all problems, so that no more than `_WORKERS` programs run at once."""
    return Sandbox("reasoning.sandbox.programs:printed", ("program",), Bounds(seconds), _WORKERS)
