"""Behaviours that shorten reasoning, distilled from solutions (Didolkar et al., 2025,
arXiv:2509.13237)."""

from __future__ import annotations

import re
from collections.abc import Iterable

from reasoning.answers import after_thoughts
from reasoning.search import Search
from searchers.threads.plans import concluded

AGGREGATOR = "first"
MODELS = ("teacher",)
_LINE = re.compile(r"^\W*(behaviou?r_\w+)\W*?:\W*(\S.*?)\s*$", re.MULTILINE | re.IGNORECASE)
_REFLECT = (
    "Look at your solution. Say what is wrong, missing or longer than it need be in it, and which "
    "general ways of proceeding would have made it shorter or safer."
)
_DISTIL = (
    "Write these ways of proceeding for somebody who has not seen this problem, one a line: "
    "behavior_name: one instruction. Each must be general and stand by itself. Do not say anything "
    "about this problem or its answer."
)


async def behaviours(
    search: Search, *, teacher: str = "", reflect: str = _REFLECT, distil: str = _DISTIL
) -> None:
    """Solve, reflect on the solution, and write down the behaviours that would help with others.

    The answer is the solution's; below it stand the lines `behavior_name: instruction` that were
    distilled, which `reasoning gather` collects and `handbook` reads. `teacher` is who reflects and
    distils, "" the model itself. Three calls, in one conversation. It assumes that what helps with
    one problem helps with others, and that the model can say it.
    """
    solved = await search.draw(search.root, until="end")
    if solved is None:
        return
    search.emit(solved, rank=1)  # behind what stands below it
    thought = await search.draw(solved, until="end", turn=reflect, model=teacher)
    told = thought and await search.draw(thought, until="end", turn=distil, model=teacher)
    if told is None:
        return
    lines = [f"{name}: {words}" for name, words in listed([told.text]).items()]
    answer = search.answer(solved)
    said = [*lines, *([] if answer is None else [f"\n\\boxed{{{answer.text}}}"])]
    search.emit(concluded(search, told, "\n".join(said), [solved, told]))


def listed(texts: Iterable[str]) -> dict[str, str]:
    """Name and instruction of every behaviour in the texts, thoughts apart; of a name the last."""
    found: dict[str, str] = {}
    for text in texts:
        found |= {name.lower(): words for name, words in _LINE.findall(after_thoughts(text))}
    return found
