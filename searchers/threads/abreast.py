"""What searchers share whose workers write side by side and see each other's text."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from reasoning.search import Search
from reasoning.tree import Node
from searchers.turns.rounds import asked

FINISH = "\n\nWait, given the limited time, I have to give an answer right now: \\boxed{"


async def write_abreast(
    search: Search,
    *,
    names: Sequence[str],
    rounds: int,
    tokens: int,
    stop: Sequence[str],
    ask: str,
    finish: str,
    last: int,
) -> None:
    """Let the workers `names` write for `rounds` rounds, `tokens` a round or up to a `stop`.

    Each goes on with its own text, behind a question that shows the others' as it was when the
    round began. It ends with the first round in which somebody marks an answer, or in which all
    have ended. If nobody has marked one, `finish` is written behind each of them, and `last` greedy
    tokens follow.
    """
    own = [search.root] * len(names)

    def place(i: int, seen: Sequence[Node]) -> Node:
        """Where worker i goes on: its text behind the others' that it sees."""
        others = [j for j, n in enumerate(seen) if j != i and n.text]
        said = "\n\n".join(f"{names[j]}:\n{seen[j].text}" for j in others) or "Nothing yet."
        turn = asked(search, ask, name=names[i], others=said)
        at, read = seen[i], [seen[j] for j in others]
        return search.write(at, at.text, turn=turn, sources=read)

    async def go_on(i: int, at: Node) -> Node | None:
        node = await search.draw(at, until="end", max_tokens=tokens, stop=tuple(stop))
        if node is not None:
            own[i] = node
            if search.answer(node) is not None:
                search.emit(node)
        return node

    for _ in range(rounds):
        live = [i for i, node in enumerate(own) if not node.finished]
        ready = [(i, place(i, own)) for i in live]
        if not await search.side_by_side([partial(go_on, i, at) for i, at in ready]):
            break
        if any(search.answer(node) is not None for node in own):
            return
    draw = partial(search.draw, until="end", max_tokens=last, temperature=0.0, land=search.emit)
    ends = [search.write(node, finish) for node in own if node.parent]
    await search.side_by_side([partial(draw, end) for end in ends])
