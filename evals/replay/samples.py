"""Stored samples of one problem or many, as numbers that strategies can be replayed on."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike

from evals.replay.strategies import Ordered, Orders
from evals.statistics.intervals import Floats
from reasoning.aggregators import Candidate
from reasoning.aggregators.ballots import Ints
from reasoning.aggregators.certainty import MEASURES, WINDOW, group_means
from reasoning.answers import Answer
from reasoning.tree import RolloutTree, Sample
from reasoning.verify import Reduction, reduce_steps

REDUCTIONS: tuple[Reduction, ...] = ("last", "min", "prod", "mean")


@dataclass(slots=True)
class Drawn:
    """One stored sample: its answer's class (-1 is none), whether it is right, what is known."""

    key: int
    correct: bool
    finished: bool
    tokens: float | None
    steps: tuple[float, ...] = ()
    logprob: float | None = None
    confidence: Mapping[str, float] | None = None
    guessed: bool = False
    ends: tuple[float, ...] = ()
    """Tokens when each of `steps` had ended; empty where that is not known."""

    @property
    def scored(self) -> bool:
        """Whether there is a score that can be used."""
        return bool(self.steps) and all(map(math.isfinite, self.steps))

    def score(self, reduction: Reduction) -> float | None:
        """One score from those of the steps, None if there are none to be used."""
        return reduce_steps(self.steps, reduction) if self.scored else None

    def facts(self) -> dict[str, float]:
        """What aggregators work out of a solution, worked out before."""
        found = {f"confidence.{name}": x for name, x in (self.confidence or {}).items()}
        return {"logprob": math.nan if self.logprob is None else self.logprob, **found}


@dataclass(slots=True)
class Stored:
    """The samples of one problem, in the order they were stored."""

    id: str
    samples: list[Drawn]

    def grades(self) -> Floats:
        """1 for each sample that is right, else 0."""
        return np.array([s.correct for s in self.samples], dtype=float)

    def ordered(self, orders: Ints) -> Ordered:
        """The samples in each of `orders` [orders, n] of places."""
        tree = RolloutTree(self.id)
        nodes = [
            tree.add(
                tree.root,
                slot,
                Sample(
                    "",
                    finish="end" if s.finished else "length",
                    generated_tokens=int(s.tokens or 0),
                ),
            )
            for slot, s in enumerate(self.samples)
        ]
        answers = [None if s.key < 0 else Answer(str(s.key), str(s.key)) for s in self.samples]
        facts = [s.facts() for s in self.samples]
        tokens = np.array([s.tokens or 0.0 for s in self.samples], dtype=float)
        keys = np.array([s.key for s in self.samples], dtype=np.int64)

        def make(reduction: Reduction) -> Orders:
            scores = [s.score(reduction) for s in self.samples]
            alike = zip(answers, scores, nodes, facts, strict=True)
            candidates = [
                Candidate((i,), answer, 1.0, 0.0, (), score, node, known)
                for i, (answer, score, node, known) in enumerate(alike)
            ]
            return Orders(candidates, orders, tokens, keys)

        return Ordered(make)


@dataclass(slots=True)
class Recording:
    """Everything stored that can be replayed, and what a reader has to know about it."""

    name: str
    problems: list[Stored]
    notes: list[str] = field(default_factory=list)
    scored: tuple[str, ...] = ()
    """The strategies of the same run whose samples have scores, where these have none."""

    @property
    def n(self) -> int:
        """The samples that every problem has."""
        return min(len(p.samples) for p in self.problems)

    def drawn(self) -> Iterator[Drawn]:
        for problem in self.problems:
            yield from problem.samples


def drawn_from(sample: Sample, key: int, correct: bool) -> Drawn:
    logprobs, confidence = sample.logprobs, sample.confidence
    return Drawn(
        key,
        correct,
        sample.finish == "end",
        sample.generated_tokens,
        logprob=float(np.mean(logprobs)) if logprobs is not None and len(logprobs) else None,
        confidence=confidence_of(confidence)
        if confidence is not None and len(confidence)
        else None,
    )


def ends_of(text: str, steps: int, tokens: float | None) -> tuple[float, ...]:
    """Tokens when each of so many steps, which blank lines part, had ended: shared out by their
    characters. Empty where there are not as many parts, or the tokens are not known."""
    parts = np.array([len(part) + 2 for part in text.split("\n\n")], dtype=float)
    if tokens is None or len(parts) != steps:
        return ()
    return tuple((np.cumsum(parts) / parts.sum() * tokens).tolist())


def rejecting(recording: Recording, bar: float) -> Recording:
    """The samples where one ends without an answer as soon as a step's score is below `bar`, but
    for its last step."""
    return Recording(
        recording.name,
        [Stored(p.id, [_rejected(s, bar) for s in p.samples]) for p in recording.problems],
        recording.notes,
    )


def _rejected(sample: Drawn, bar: float) -> Drawn:
    at = next((i for i, score in enumerate(sample.steps[:-1]) if score < bar), None)
    if at is None or not sample.ends:
        return sample
    tokens = max(1.0, float(int(sample.ends[at])))
    return Drawn(-1, False, False, tokens, sample.steps[: at + 1])


def confidence_of(tokens: ArrayLike, window: int = WINDOW) -> dict[str, float]:
    """DeepConf's four measures of a trace from its token confidences (nats, higher is surer)."""
    values = np.asarray(tokens, dtype=float)
    group_means(values, window)  # raises ValueError for what is no trace
    return {name: measure(values, window) for name, measure in MEASURES.items()}
