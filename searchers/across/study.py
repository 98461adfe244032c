"""Thinking about a context before anybody asks: sleep-time compute (Lin et al., 2025,
arXiv:2504.13171)."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from reasoning.answers import after_thoughts
from reasoning.search import Search
from reasoning.tree import Node
from searchers.threads.plans import concluded
from searchers.tree.ab_mcts import filled
from searchers.variants.dealing import put

AGGREGATOR = "first"
_ASK = """\
{context}

Somebody will ask about this, and it is not known what. Infer and compute beforehand whatever may \
be useful for it. Your notes so far:

{memory}

Write them anew, complete, with what they lack, in at most {characters} characters."""


async def study(
    search: Search,
    *,
    versions: Annotated[int, Field(ge=1)] = 5,
    rounds: Annotated[int, Field(ge=1)] = 2,
    characters: Annotated[int, Field(ge=1)] = 5000,
    ask: str = _ASK,
) -> None:
    """Write notes about a context, `rounds` times anew, in `versions` side by side.

    The question is the context itself, as task `contexts` puts it: none about it is known. The
    versions, each cut at `characters`, stand one behind the other in the end; `reasoning gather`
    collects them, and `sleep_time` reads them with questions. Calls are versions * rounds. The
    paper found five versions best, and up to ten rounds.
    """

    async def write(view: Search, _: int) -> tuple[Node, str]:
        node, memory = view.root, ""
        for _round in range(rounds):
            parts = {"context": view.problem.question, "memory": memory or "(none)"}
            text = filled(ask, {**parts, "characters": str(characters)})
            more = await view.draw(node, until="end", turn=put(view, text))
            if more is None:
                break
            node, memory = more, after_thoughts(more.text).strip()[:characters]
        return node, memory

    found = await search.split(versions, write)
    if told := [memory for _, memory in found if memory]:
        nodes = [node for node, memory in found if memory]
        search.emit(concluded(search, search.root, "\n\n".join(dict.fromkeys(told)), nodes))
