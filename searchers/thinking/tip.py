"""TIP, a penalty on switching thoughts (Wang et al., 2025, arXiv:2501.18585)."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from reasoning.search import Search

AGGREGATOR = "majority"
STEPS = True
SWITCHES = ("Alternatively", " Alternatively", "alternatively", " alternatively")

Word = Annotated[str, Field(min_length=1)]


async def tip(
    search: Search,
    *,
    alpha: Annotated[float, Field(ge=0, le=100)] = 3.0,
    beta: Annotated[int, Field(ge=1)] = 600,
    n: Annotated[int, Field(ge=1)] = 1,
    switches: Annotated[tuple[Word, ...], Field(min_length=1)] = SWITCHES,
) -> None:
    """Sample n solutions in which a thought is seldom left within its first `beta` tokens.

    While a thought is that young, `alpha` is taken from the logits of the tokens that would switch
    to another (`switches`, one token each; the paper does not list its own). When one is said all
    the same, or later, the next thought begins behind it. alpha=3 and beta=600 are the paper's for
    QwQ-32B, tuned on AIME 2022 and 2023. The solution is drawn in pieces that go on token for
    token. alpha=0 is self-consistency.
    """
    penalty = dict.fromkeys(switches, -alpha)

    async def think(view: Search, _: int) -> None:
        if not alpha:
            if (whole := await view.draw(view.root, until="end")) is not None:
                view.emit(whole)
            return
        node, young, stop = view.root, beta, (*view.sampling.stop, *switches)
        while True:
            bias, most = (penalty, young) if young else ({}, None)
            more = await view.draw(node, until="end", stop=stop, max_tokens=most, logit_bias=bias)
            if more is None:
                break
            node = more
            said = node.sample
            switched = said.finish == "stop" and said.text.endswith(switches)
            if node.finished or (said.finish == "stop" and not switched):
                break
            young = beta if switched else max(0, young - said.generated_tokens)
        view.emit(node)

    await search.split(n, think)
