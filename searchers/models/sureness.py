"""How sure one may be of an answer: what a cascade defers by."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from math import inf
from typing import TypeAlias

from reasoning.aggregators import Candidate
from reasoning.aggregators.certainty import mean_logprob
from reasoning.aggregators.judging import share_of
from reasoning.search import Search
from reasoning.tree import Node
from searchers.kernels.deferral import Feature, features
from searchers.kernels.uncertainty import mean_over


@dataclass(frozen=True)
class Asked:
    """What a measure may need: who answered, what a probe asks, and the weights of a rule."""

    model: str
    ask: str
    gain: Mapping[Feature, float]


async def by_logprob(search: Search, node: Node, asked: Asked) -> float | None:
    del search, asked
    return _mean(node)


async def by_answer(search: Search, node: Node, asked: Asked) -> float | None:
    del asked
    answer = search.answer(node)
    return None if answer is None else mean_over(node.sample, answer.text)


async def by_p_true(search: Search, node: Node, asked: Asked) -> float | None:
    seen = await search.probe(node, asked.ask, top=20, model=asked.model)
    tops = None if seen is None else seen.sample.top_logprobs
    return share_of("Yes", "No", tops.at(0)) if tops and tops.texts else None


async def by_verifier(search: Search, node: Node, asked: Asked) -> float | None:
    del asked
    await search.score(node)
    return search.reward(node)


async def by_gain(search: Search, node: Node, asked: Asked) -> float | None:
    """Minus the gain that the rule expects of asking the next model."""
    del search
    known = features(_mean(node), node.generated_tokens)
    if not asked.gain.keys() <= known.keys():
        return None
    return -sum(weight * known[name] for name, weight in asked.gain.items())


def _mean(node: Node) -> float | None:
    """The mean log-probability of the solution's tokens, nats."""
    return mean_logprob(Candidate(node.path, None, 1.0, 0.0, (), None, node))


Measure: TypeAlias = Callable[[Search, Node, Asked], Awaitable[float | None]]
MEASURES: Mapping[str, tuple[Measure, float]] = {
    "logprob": (by_logprob, -0.137),
    "answer": (by_answer, -0.1),
    "p_true": (by_p_true, 0.5),
    "verifier": (by_verifier, 0.5),
    "gain": (by_gain, 0.0),
}
"""Each with the threshold that is used unless another is given: that of the log-probability was
chosen on training problems of the embedded models (docs/methods_models.md), others are ours."""


async def how_sure(by: str, search: Search, node: Node, asked: Asked) -> float:
    """How sure one may be of the answer at `node`; -inf if it has none, or nothing is known."""
    if search.answer(node) is None:
        return -inf
    found = await MEASURES[by][0](search, node, asked)
    return -inf if found is None else found
