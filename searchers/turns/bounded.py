"""What searchers share that reason in segments, of which each reads only a note on those before."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from reasoning.answers import after_thoughts
from reasoning.search import Search
from reasoning.tree import Node, Turn


async def in_segments(
    view: Search,
    *,
    work: Callable[[str], Turn | None],
    note: Callable[[str, str], Turn],
    over: Callable[[Node], bool],
    noted: Callable[[str], str] = lambda _: "",
    segment: int,
    summary: int,
    rounds: int,
) -> None:
    """Draw a segment that has read the note so far, note down what it found, and so on.

    `work(note)` asks for a segment, `note(old note, text)` for the next note, of at most `summary`
    tokens; `noted` finds one in the segment itself, which saves the call. It ends with a segment
    that is `over`, after `rounds`, with a note that is empty or the same as before, and with one
    that marks an answer. The last text with an answer is the candidate.
    """
    at, told, best = view.root, "", view.root

    def put(node: Node) -> None:
        nonlocal best
        view.emit(node)
        if best is view.root or view.answer(node) is not None:
            if best is not view.root:
                view.emit(best, 0.0)
            best = node

    for i in range(rounds):
        node = await view.draw(at, until="end", turn=work(told), max_tokens=segment)
        if node is None:
            return
        put(node)
        new, at = noted(node.text), node
        if (not new and over(node)) or i + 1 == rounds:
            return
        if not new:
            turn = note(told, node.text)
            draw = partial(view.draw, node, until="end", max_tokens=summary)
            if (written := await draw(turn=turn, sources=[node])) is None:
                return
            new, at = after_thoughts(written.text), written
            if marked(view, at):
                put(at)
                return
        if not new or new == told:
            return
        told = new


def marked(view: Search, node: Node) -> bool:
    """Whether the text marks an answer; a number that happens to stand last is none."""
    return view.problem.answers.find(after_thoughts(node.text), False) is not None
