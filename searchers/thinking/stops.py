"""Tests of whether a thought may end here: each gives the node that then ends the solution, or
None to think on."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from reasoning.search import Search
from reasoning.tree import Node
from searchers.thinking.closing import answered, closed


@dataclass(kw_only=True)
class Stop(ABC):
    """How a test is made: see `searchers.thinking.early_stop`."""

    threshold: float
    m: int
    end: str
    answer_tokens: int
    opener: str

    @abstractmethod
    async def __call__(self, search: Search, thought: Node) -> Node | None:
        """The node that ends the solution if `thought` may end here, else None."""

    async def tried(self, search: Search, thought: Node) -> Node | None:
        """A short greedy answer behind the cut thought; None if a limit is used up."""
        cut = closed(search, thought, self.end)
        return await search.draw(cut, until="end", max_tokens=self.answer_tokens, temperature=0.0)


@dataclass(kw_only=True)
class Agreement(Stop):
    """The greedy answers behind m cut thoughts in a row are the same."""

    last: list[str | None] = field(default_factory=list)

    async def __call__(self, search: Search, thought: Node) -> Node | None:
        node = await self.tried(search, thought)
        answer = None if node is None else (await search.answers(node))[0]
        self.last = [*self.last, None if answer is None else answer.key][-self.m :]
        agreed = len(self.last) == self.m and len(set(self.last)) == 1 and answer is not None
        return node if agreed else None


class Entropy(Stop):
    """m answers drawn behind the cut thought have an entropy of at most `threshold` nats."""

    async def __call__(self, search: Search, thought: Node) -> Node | None:
        cut = closed(search, thought, self.end)
        nodes = await search.draws(cut, self.m, until="end", max_tokens=self.answer_tokens)
        answers = await search.answers(*nodes)
        keys = [answer.key for answer in answers if answer is not None]
        if len(keys) < self.m or entropy(keys) > self.threshold + 1e-12:
            return None
        return nodes[keys.index(Counter(keys).most_common(1)[0][0])]


class Confidence(Stop):
    """Once the text holds an answer, the model would say behind `opener` that it is sure."""

    async def __call__(self, search: Search, thought: Node) -> Node | None:
        if search.problem.answers.find(thought.text, True) is None:
            return None
        first = await _next(search, thought, self.opener)
        pretty = first.get("pretty", 0.0) > 0
        then = await _next(search, thought, self.opener + " pretty") if pretty else {}
        if sure_of(first, then) <= self.threshold:
            return None
        return await answered(search, thought, self.end)


class Verified(Stop):
    """The verifier's score of the greedy answer behind the cut thought reaches `threshold`."""

    async def __call__(self, search: Search, thought: Node) -> Node | None:
        node = await self.tried(search, thought)
        if node is None or search.answer(node) is None:
            return None
        await search.score(node)
        score = search.reward(node)
        return node if score is not None and score >= self.threshold else None


TESTS: Mapping[str, tuple[Callable[..., Stop], float]] = {
    "agreement": (Agreement, 0.0),
    "confidence": (Confidence, 0.5),
    "entropy": (Entropy, 0.0),
    "verifier": (Verified, 0.9),
}
"""Each with its threshold, unless another is given."""


def entropy(keys: Sequence[str]) -> float:
    """The entropy, in nats, of the shares of equal keys."""
    shares = [count / len(keys) for count in Counter(keys).values()]
    return -sum(p * math.log(p) for p in shares)


def sure_of(first: Mapping[str, float], then: Mapping[str, float]) -> float:
    """ConCISE's confidence, from words' probabilities behind the opener, and behind "pretty"."""

    def sure(p: Mapping[str, float]) -> float:
        return p.get("confident", 0.0) + p.get("sure", 0.0)

    return sure(first) + first.get("pretty", 0.0) * sure(then)


async def _next(search: Search, thought: Node, suffix: str) -> dict[str, float]:
    """The probabilities of the next words behind the thought and `suffix`."""
    seen = await search.probe(thought, suffix, top=20)
    top = None if seen is None else seen.sample.top_logprobs
    found: dict[str, float] = {}
    for token, logprob in (top.at(0) if top and top.texts else {}).items():
        found[token.strip()] = found.get(token.strip(), 0.0) + math.exp(logprob)
    return found
