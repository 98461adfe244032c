"""Questions about a context that was thought about beforehand: sleep-time compute (Lin et al.,
2025, arXiv:2504.13171)."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from reasoning.errors import RecipeError
from reasoning.search import Search
from searchers.across.notes import NotesFile
from searchers.tree.ab_mcts import filled
from searchers.variants.dealing import deal, put

AGGREGATOR = "majority"
_ASK = """\
Notes, worked out beforehand and right as far as is known. Use them, and do not work out again \
what they say.

{memory}"""


async def sleep_time(
    search: Search,
    *,
    notes: NotesFile,
    n: Annotated[int, Field(ge=1)] = 1,
    field: str = "context",
    beside: bool = False,
    ask: str = _ASK,
) -> None:
    """Sample n solutions that read notes about the context in its place.

    `notes` is what `reasoning gather` has made of a run of `study` on the contexts of the task
    (task `contexts`): all questions about one context share what was thought about it, whose price
    is told beside the table. `field` of the row is the context; `beside` leaves it where it is, the
    notes behind it. A context without notes is read as it is; the measure `noted` is the share of
    those with some. T tokens of notes pay where N questions about a context each save more than
    T / (t N), t being what a token that is waited for costs more than one that is not (the paper
    takes 10). It assumes that the context tells what will be asked.
    """
    context = search.problem.meta.get(field)
    if not isinstance(context, str) or context not in search.problem.prompt:
        raise RecipeError(
            f"sleep_time finds no context of problem {search.problem.id!r} in its prompt; set "
            f"field, now {field!r}, to what the rows call it, and have the task's prompt say it"
        )
    note = notes.of(context, search.problem)
    search.measure(noted=note is not None)
    turn = None
    if note is not None:
        memory = filled(ask, {"memory": note.text})
        told = f"{context}\n\n{memory}" if beside else memory
        turn = put(search, search.problem.prompt.replace(context, told, 1))
    await deal(search, [turn] * n, lambda _, node: search.emit(node))
