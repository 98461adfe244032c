"""Progressive-hint prompting (Zheng et al., 2023, arXiv:2304.09797)."""

from __future__ import annotations

from collections import Counter
from typing import Annotated

from pydantic import Field

from reasoning.search import Search
from reasoning.tree import Node
from searchers.turns.rounds import asked, next_round

AGGREGATOR = "majority"
VOTES = True
HINT = "{question} (Hint: The answer is near to {answers}.)"


async def progressive_hints(
    search: Search,
    *,
    n: Annotated[int, Field(ge=1)] = 1,
    agree: Annotated[int, Field(ge=2)] = 2,
    rounds: Annotated[int, Field(ge=1)] = 10,
    hint: str = HINT,
) -> None:
    """Answer again and again, told all answers so far as hints, until `agree` in a row are equal.

    Each round's answer is the most frequent of n samples, and the next is asked `hint` with
    {question} and all {answers} of the rounds before. The last round votes. The authors do not
    bound the rounds; here they do. An answer that survives being hinted at is taken for right.
    rounds=1 is self-consistency of n.
    """
    said: list[tuple[str | None, str, Node]] = []
    last: list[Node] = []
    for _ in range(rounds):
        known = [(text, node) for key, text, node in said if key is not None]
        texts, read = [t for t, _ in known], [node for _, node in known]
        turn = asked(search, hint, answers=", ".join(texts)) if known else None
        last = await next_round(search, [(turn, read)] * n)
        if not last:
            return
        answers = await search.answers(*last)
        votes = Counter(a.key for a in answers if a is not None)
        key = votes.most_common(1)[0][0] if votes else None
        at = next((i for i, a in enumerate(answers) if a is not None and a.key == key), 0)
        found = answers[at]
        said.append((key, "" if found is None else found.text, last[at]))
        if key is not None and [k for k, _, _ in said[-agree:]] == [key] * agree:
            return
