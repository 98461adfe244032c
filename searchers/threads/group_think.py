"""Thinkers that see each other's words as they think: Group Think (2025, arXiv:2505.11107)."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from reasoning.search import Search
from searchers.threads.abreast import FINISH, write_abreast

AGGREGATOR = "majority"
STEPS = True
_ASK = """\
{question}

You are {name}, one of several who think about this at once. You see what the others have thought \
up to this moment, in the middle of a sentence maybe. If another is ahead on the path that you are \
on, leave it to them and think of something else. Whoever has the answer gives it in \\boxed{}.

The others:

{others}"""


async def group_think(
    search: Search,
    *,
    names: Annotated[tuple[str, ...], Field(min_length=1)] = (
        "Thinker 1",
        "Thinker 2",
        "Thinker 3",
        "Thinker 4",
    ),
    rounds: Annotated[int, Field(ge=1)] = 64,
    tokens: Annotated[int, Field(ge=1)] = 16,
    last: Annotated[int, Field(ge=1)] = 16,
    ask: str = _ASK,
    finish: str = FINISH,
) -> None:
    """Let thinkers write `tokens` tokens at a time, reading where the others have got to.

    It ends when somebody has an answer, or after `rounds`, when each is made to answer in `last`
    tokens. The paper interleaves single tokens in one cache, for latency on a device; over calls
    the grain is `tokens`, and each call reads all texts again: 1 is the paper's and dear, large is
    `hogwild`. One thinker reads nobody. Serial tokens are at most `tokens` a round.
    """
    await write_abreast(
        search,
        names=names,
        rounds=rounds,
        tokens=tokens,
        stop=(),
        ask=ask,
        finish=finish,
        last=last,
    )
