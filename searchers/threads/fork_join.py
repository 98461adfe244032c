"""Fork and join, asked for from outside: APR and Multiverse (2025, arXiv:2504.15466, 2506.09991),
and parallel branches of a plan (2025, arXiv:2503.20533)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from reasoning.answers import after_thoughts
from reasoning.search import Search
from reasoning.tree import Node
from searchers.threads.plans import anew, listed, result
from searchers.turns.rounds import asked

AGGREGATOR = "majority"
MODELS = ("worker",)
_ASK = """\
{question}

{task}

Do not solve it. List up to {parts} parts of it, or ways to go about it, that need nothing of each \
other, one a line: '1. ...'. If it has to be done one thing after another, write NONE."""
_DO = """\
{question}

The plan:

{plan}

Do this part of it and nothing else: {task}

End with one line, 'RESULT: ' and what you have found."""
_JOIN = """\
{question}

{task}

What came of its parts, any of which may be wrong:

{results}

Put them together and give the full solution."""


async def fork_join(
    search: Search,
    *,
    n: Annotated[int, Field(ge=1)] = 1,
    parts: Annotated[int, Field(ge=1, le=1000)] = 4,
    tokens: Annotated[int, Field(ge=1)] = 1024,
    depth: Annotated[int, Field(ge=0)] = 1,
    merge: Literal["result", "full"] = "result",
    worker: str = "",
    ask: str = _ASK,
    do: str = _DO,
    join: str = _JOIN,
) -> None:
    """List independent parts, do them side by side, and join what they came to; n of this vote.

    A part has `tokens` at most and is done by `worker`; whoever joins reads what stands behind its
    RESULT, or all of it behind its thoughts. Below `depth` 1 a part may have parts of its own.
    A plan of NONE is followed by a plain solution, and a part that failed is joined as no result.
    Prompted models do not fork by themselves, so they are asked; it assumes that the parts are as
    independent as they are called. Serial tokens are plan + longest part + join, all tokens plan +
    sum of parts + join. depth=0 is self-consistency.
    """

    async def solved(view: Search, at: Node, level: int, task: str, outer: str) -> Node | None:
        if level:
            told = task and f"Only this part of it is yours: {task}"
            turn = asked(view, ask, task=told, parts=str(parts))
            plan = await view.draw(at, until="end", turn=turn)
            if plan is None:
                return None
            shown = after_thoughts(plan.text)
            if todo := listed(shown, parts):
                found = await view.split(
                    len(todo), lambda part, i: solved(part, plan, level - 1, todo[i], shown)
                )
                told_by = "\n\n".join(map(said, todo, found))
                turn = asked(view, join, task=told, results=told_by)
                return await view.draw(plan, until="end", turn=turn, sources=filter(None, found))
            at = plan
        if not task:
            return await view.draw(at, until="end", turn=anew(view) if at.parent else None)
        turn = asked(view, do, plan=outer, task=task)
        return await view.draw(at, until="end", turn=turn, max_tokens=tokens, model=worker)

    def said(task: str, node: Node | None) -> str:
        text = after_thoughts(node.text) if node else ""
        return f"{task}\n{(result(text) if merge == 'result' else text) or 'No result.'}"

    async def one(view: Search, _: int) -> None:
        if (node := await solved(view, view.root, depth, "", "")) is not None:
            view.emit(node)

    await search.split(n, one)
