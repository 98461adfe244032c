"""Workers that see each other's text: Hogwild! inference (2025, arXiv:2504.06261)."""

from __future__ import annotations

from string import ascii_uppercase
from typing import Annotated

from pydantic import Field

from reasoning.search import Search
from searchers.threads.abreast import FINISH, write_abreast

AGGREGATOR = "majority"
STEPS = True
_ASK = """\
{question}

Several workers solve this together, and each sees what the others have written. You are {name}. \
Do not do again what somebody has done: take up another part, check, or go on from there. Whoever \
has the answer gives it in \\boxed{}.

What the others have written by now:

{others}"""


async def hogwild(
    search: Search,
    *,
    workers: Annotated[int, Field(ge=1, le=26)] = 2,
    rounds: Annotated[int, Field(ge=1)] = 32,
    tokens: Annotated[int, Field(ge=1)] = 256,
    stop: tuple[str, ...] = ("\n\n",),
    last: Annotated[int, Field(ge=1)] = 16,
    ask: str = _ASK,
    finish: str = FINISH,
) -> None:
    """Let workers write a paragraph each, side by side, round after round, reading each other's.

    A paragraph ends at `stop` or after `tokens`; it ends when somebody has an answer, or after
    `rounds`, when each is made to answer in `last` tokens. Those with an answer vote. The authors
    share the workers' key-value caches as they decode; here a round is a call each, which reads
    again all that is written: r rounds of w workers with t tokens read about r^2 w^2 t / 2 tokens
    of text, that no prefix cache holds. Serial tokens are the longest paragraph of every round.
    """
    names = [f"Worker {letter}" for letter in ascii_uppercase[:workers]]
    await write_abreast(
        search,
        names=names,
        rounds=rounds,
        tokens=tokens,
        stop=stop,
        ask=ask,
        finish=finish,
        last=last,
    )
