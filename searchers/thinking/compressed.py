"""Answers from a thought of which only the steps that matter are left (arXiv:2508.03346)."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from reasoning.search import Search
from reasoning.tree import Node, Sample
from searchers.thinking.closing import END, answered

AGGREGATOR = "majority"
STEPS = True


async def compressed(
    search: Search,
    *,
    n: Annotated[int, Field(ge=1)] = 1,
    m: Annotated[int, Field(ge=1)] = 4,
    drop: Annotated[float, Field(ge=0, le=1)] = 0.8,
    by: Literal["entropy", "first_token"] = "entropy",
    skip: str = "[SKIP]\n\n",
    end: Annotated[str, Field(min_length=1)] = END,
) -> None:
    """Think n times, leave out the steps of each thought that tell least, and answer behind it.

    `skip` stands in the place of the share `drop` of the steps, and m answers are drawn behind what
    is left, beside the thought's own.

    What a step tells is by "entropy" the sum over its tokens of the entropy of their likeliest
    alternatives where the generator gives `top_logprobs`, else their surprisal, in nats; by
    "first_token" the surprisal of its first one (ASAP, 2025, arXiv:2508.05988). floor(drop * steps)
    go, of equals the earlier. The thought is paid for whole: this makes more votes of it cheaply.
    The paper's code scores otherwise than its text (by -p ln p of the sampled token, which is not
    monotone); this follows the text. drop=0 answers anew from the whole thought.
    """
    tops = 20 if by == "entropy" and "top_logprobs" in search.generator.honours else None
    stop = (*search.sampling.stop, end)

    async def think(view: Search, _: int) -> None:
        node, steps = view.root, list[Node]()
        while (more := await view.draw(node, stop=stop, top_logprobs=tops)) is not None:
            node = more
            steps.append(node)
            if node.finished or end in node.text:
                break
        if not steps:
            return
        view.emit(node)
        if node.finished or end not in node.text:
            return
        if (own := await answered(view, node, end)) is not node:
            view.emit(own)
            view.emit(node, 0.0)
        telling = [told(step.sample, first=by == "first_token") for step in steps]
        gone = set(np.argsort(telling, kind="stable")[: int(drop * len(steps))])
        kept = [skip if i in gone else step.sample.text for i, step in enumerate(steps)]
        text = "".join(kept).replace(end, "")
        begun = view.write(node, f"{text}\n{end}\n\n", instead=True)
        await view.draws(begun, m, until="end", land=view.emit)

    await search.split(n, think)


def told(sample: Sample, *, first: bool) -> float:
    """What a step tells, in nats; the number of its characters where no probabilities are known."""
    if not first and sample.top_logprobs is not None:
        logs = sample.top_logprobs.logprobs.astype(float)
        p = np.exp(logs)
        p /= p.sum(axis=1, keepdims=True)
        return float(-(p * np.log(np.where(p > 0, p, 1.0))).sum())
    if sample.logprobs is None:
        return float(len(sample.text))
    surprisal = -sample.logprobs.astype(float)
    return float(surprisal[:1].sum() if first else surprisal.sum())
