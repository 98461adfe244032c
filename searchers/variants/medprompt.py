"""Medprompt: solved examples chosen for the question, and a choice-shuffle ensemble (Nori et al.,
2023, arXiv:2311.16452; 2024, arXiv:2411.03590)."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from reasoning.answers import after_thoughts
from reasoning.problem import Message
from reasoning.search import Search
from searchers.across.notes import NotesFile
from searchers.variants.dealing import deal, put
from searchers.variants.shuffling import Orders, has_options, shuffled

AGGREGATOR = "majority"
VOTES = True


async def medprompt(
    search: Search,
    *,
    notes: NotesFile,
    k: Annotated[int, Field(ge=0)] = 5,
    n: Annotated[int, Field(ge=1)] = 5,
    orders: Orders = "random",
) -> None:
    """Show the k solved questions that are nearest to this one, ask n times, and vote.

    `notes` is what `reasoning gather` has made of any run on other problems: the model's own
    solutions, of which only those are shown whose answers were right. Nearest is by the words of
    the questions (cosine of TF-IDF); the nearest stands last, next to the question, and they take
    the place of the prompt's own examples. Options of multiple choice stand in another order each
    time, as in `choice_shuffle`, and votes are for options; without options it is n samples. k=0 is
    `choice_shuffle`. Models that think may be hurt by examples: the second paper found one that is.
    """
    near = [note for note in notes.nearest(search.problem) if note.correct][:k]
    pairs = ((note.prompt, after_thoughts(note.text).strip()) for note in reversed(near))
    turns = [m for q, a in pairs for m in (Message("user", q), Message("assistant", a))]
    shots = [*search.problem.opening, *turns] if turns else None
    if has_options(search):
        await shuffled(search, n, orders, shots)
    else:
        turn = put(search, search.problem.prompt, shots)
        await deal(search, [turn] * n, lambda _, node: search.emit(node))
