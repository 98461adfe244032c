"""Tests of whether a thought may end here: how sure each is of an answer, and whether enough."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from reasoning.search import Search
from reasoning.tree import Node
from searchers.kernels.saturation import enough, saturating
from searchers.thinking.closing import answered, closed


class Tried(NamedTuple):
    """The answer behind a cut thought, how sure the test is of it (more is surer), and whether that
    is enough."""

    node: Node
    signal: float
    passed: bool


@dataclass(kw_only=True)
class Stop(ABC):
    """How a test is made: see `searchers.thinking.early_stop`.

    every: steps between two cuts. curve: what `searchers.thinking.calibration` knows of it.
    """

    threshold: float
    m: int
    every: int
    end: str
    answer_tokens: int
    opener: str
    watch: bool
    curve: Sequence[tuple[int, float]] = ()

    @abstractmethod
    async def __call__(self, search: Search, thought: Node) -> Tried | None:
        """What comes of `thought` if it is cut here; None where there is no answer to be had, or
        nobody to want it."""

    async def tried(self, search: Search, thought: Node) -> Node | None:
        """A short greedy answer behind the cut thought; None if a limit is used up."""
        cut = closed(search, thought, self.end)
        return await search.draw(cut, until="end", max_tokens=self.answer_tokens, temperature=0.0)


@dataclass(kw_only=True)
class Agreement(Stop):
    """How many cut thoughts in a row have the same greedy answer; m are enough."""

    last: str | None = None
    row: int = 0

    async def __call__(self, search: Search, thought: Node) -> Tried | None:
        node = await self.tried(search, thought)
        answer = None if node is None else (await search.answers(node))[0]
        key = None if answer is None else answer.key
        self.row = 0 if key is None else self.row + 1 if key == self.last else 1
        self.last = key
        return None if node is None else Tried(node, self.row, self.row >= self.m)


class Entropy(Stop):
    """The entropy of m answers drawn behind the cut thought, negated; `threshold` nats at most."""

    async def __call__(self, search: Search, thought: Node) -> Tried | None:
        cut = closed(search, thought, self.end)
        nodes = await search.draws(cut, self.m, until="end", max_tokens=self.answer_tokens)
        answers = await search.answers(*nodes)
        keys = [answer.key for answer in answers if answer is not None]
        if len(keys) < self.m:
            return None
        here = entropy(keys)
        node = nodes[keys.index(Counter(keys).most_common(1)[0][0])]
        return Tried(node, -here, here <= self.threshold + 1e-12)


class Confidence(Stop):
    """Once the text holds an answer, how likely the model says behind `opener` that it is sure."""

    async def __call__(self, search: Search, thought: Node) -> Tried | None:
        if search.problem.answers.find(thought.text, True) is None:
            return None
        first = await _next(search, thought, self.opener)
        pretty = first.get("pretty", 0.0) > 0
        then = await _next(search, thought, self.opener + " pretty") if pretty else {}
        sure = sure_of(first, then)
        passed = sure > self.threshold
        if not (passed or self.watch):
            return None
        return Tried(await answered(search, thought, self.end), sure, passed)


class Verified(Stop):
    """The verifier's score of the greedy answer behind the cut thought."""

    async def __call__(self, search: Search, thought: Node) -> Tried | None:
        node = await self.tried(search, thought)
        if node is None or search.answer(node) is None:
            return None
        await search.score(node)
        score = search.reward(node)
        return None if score is None else Tried(node, score, score >= self.threshold)


@dataclass(kw_only=True)
class Saturation(Stop):
    """How many steps there are; enough once one more gains less than `threshold` by the curve."""

    steps: int = 0
    most: int = field(init=False)

    def __post_init__(self) -> None:
        counts, values = [n for n, _ in self.curve], [y for _, y in self.curve]
        self.most = 0 if self.watch else enough(*saturating(counts, values), self.threshold)

    async def __call__(self, search: Search, thought: Node) -> Tried | None:
        self.steps += self.every
        if self.steps < self.most:
            return None
        node = await self.tried(search, thought)
        return None if node is None else Tried(node, self.steps, True)


TESTS: Mapping[str, tuple[Callable[..., Stop], float]] = {
    "agreement": (Agreement, 0.0),
    "confidence": (Confidence, 0.5),
    "entropy": (Entropy, 0.0),
    "saturation": (Saturation, 0.01),
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
