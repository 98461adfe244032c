"""Behaviours of other problems before the question, metacognitive reuse (Didolkar et al., 2025,
arXiv:2509.13237)."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from reasoning.search import Search
from searchers.across.behaviours import listed
from searchers.across.notes import NotesFile
from searchers.kernels.nearest import Nearest
from searchers.tree.ab_mcts import filled
from searchers.variants.dealing import deal, put

AGGREGATOR = "majority"
_ASK = """\
Ways of proceeding that have helped with other problems:

{behaviours}

Use those that fit, naming each that you use, and be brief.

{question}"""


async def handbook(
    search: Search,
    *,
    notes: NotesFile,
    k: Annotated[int, Field(ge=0)] = 8,
    n: Annotated[int, Field(ge=1)] = 1,
    ask: str = _ASK,
) -> None:
    """Sample n solutions with the k behaviours of a handbook that suit the question before it.

    `notes` is what `reasoning gather` has made of a run of `behaviours` on other problems; of one
    name the latest in the order of those problems counts. Which suit is told by the words they
    share with the question (cosine of TF-IDF). All samples read the same, so that it is cached; it
    makes the prompt longer and, that is the hope, the answer shorter. k=0 is self-consistency.
    """
    book = listed(note.text for note in notes.shown_to(search.problem))
    lines = [f"{name}: {words}" for name, words in book.items()]
    words = Nearest([line.replace("_", " ") for line in lines])
    suited = sorted(words.order(search.problem.question)[:k])
    told = "\n".join(lines[i] for i in suited)
    text = filled(ask, {"behaviours": told, "question": search.problem.prompt})
    turn = put(search, text) if told else None
    await deal(search, [turn] * n, lambda _, node: search.emit(node))
