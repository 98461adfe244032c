"""Thinking stopped as soon as a test says that more of it changes nothing."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from reasoning.search import Search
from searchers.thinking.closing import END, answered
from searchers.thinking.stops import TESTS

AGGREGATOR = "majority"
STEPS = True


async def early_stop(
    search: Search,
    *,
    test: Literal["agreement", "confidence", "entropy", "verifier"] = "agreement",
    threshold: float | None = None,
    n: Annotated[int, Field(ge=1)] = 1,
    m: Annotated[int, Field(ge=1)] = 3,
    every: Annotated[int, Field(ge=1)] = 1,
    answer_tokens: Annotated[int, Field(ge=1)] = 64,
    end: Annotated[str, Field(min_length=1)] = END,
    opener: str = "So, I'm",
) -> None:
    """Think step by step n times, and end each thought when `test` is passed behind a step.

    "agreement": the greedy answers of m thoughts cut in a row, `every` steps apart, are the same
    (the rule of TrimR, 2025, arXiv:2505.17155). "entropy": m answers drawn behind the cut thought
    have an entropy of at most `threshold` nats (0) over their meanings (SEAT, arXiv:2507.06829).
    "confidence": once the text holds an answer, P(confident) + P(sure) + P(pretty) (P(confident) +
    P(sure) behind it) after the opener `opener` is above `threshold` (.5; ConCISE,
    arXiv:2505.04881). "verifier": the verifier's score of the answer behind the cut thought reaches
    `threshold` (.9).

    Whatever is tried out is paid for: `answer_tokens` bound each answer, and are cheap only where
    the prefix is cached. That the test tells right from wrong is an assumption, and for plain
    instruct models it may not: compare with `truncated_answer` first. A threshold that nothing
    passes is n plain thoughts, step by step.
    """
    make, usual = TESTS[test]
    least = usual if threshold is None else threshold
    stop = (*search.sampling.stop, end)

    async def think(view: Search, _: int) -> None:
        stopped = make(threshold=least, m=m, end=end, answer_tokens=answer_tokens, opener=opener)
        node, steps = view.root, 0
        try:
            while (more := await view.draw(node, stop=stop)) is not None:
                node, steps = more, steps + 1
                if node.finished or end in node.text:
                    break
                if steps % every == 0 and (answer := await stopped(view, node)) is not None:
                    node = answer
                    return
            if node is not view.root and end in node.text:
                node = await answered(view, node, end)
        finally:
            view.emit(node)

    await search.split(n, think)
