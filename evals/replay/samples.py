"""Stored samples of one problem or many, as numbers that strategies can be replayed on."""

from __future__ import annotations

import gzip
import json
import math
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from evals.replay.strategies import Ints, Ordered
from evals.statistics.intervals import Floats
from reasoning.errors import RecipeError
from reasoning.tree import Sample
from reasoning.verify import Reduction, reduce_steps

REDUCTIONS: tuple[Reduction, ...] = ("last", "min", "prod", "mean")

WINDOW = 2048
"""Tokens that a group of DeepConf spans."""


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

    def score(self, reduction: Reduction) -> float:
        """One score from those of the steps, NaN if there are none."""
        found = reduce_steps(self.steps, reduction)
        return math.nan if found is None else found


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
        samples = self.samples
        features: dict[str, list[Any]] = {
            f"score.{r}": [s.score(r) for s in samples] for r in REDUCTIONS
        }
        features["logprob"] = [s.logprob for s in samples]
        for name in ("mean", "tail", "bottom", "least"):
            features[f"confidence.{name}"] = [(s.confidence or {}).get(name) for s in samples]
        tokens = np.array([s.tokens or 0.0 for s in samples], dtype=float)
        finished = np.array([s.finished for s in samples], dtype=bool)
        arrays = {name: np.array(x, dtype=float)[orders] for name, x in features.items()}
        keys = np.array([s.key for s in samples], dtype=np.int64)
        return Ordered(keys[orders], finished[orders], tokens[orders], arrays)


@dataclass(slots=True)
class Recording:
    """Everything stored that can be replayed, and what a reader has to know about it."""

    name: str
    problems: list[Stored]
    notes: list[str] = field(default_factory=list)

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


def confidence_of(tokens: ArrayLike, window: int = WINDOW) -> dict[str, float]:
    """DeepConf's four measures of a trace from its token confidences (nats, higher is surer).

    `mean`; `tail`, of the last `window` tokens; `bottom`, of the least confident tenth of all
    windows (one at least); `least`, of the least confident. A trace shorter than a window is one.
    """
    x = np.asarray(tokens, dtype=float)
    if x.ndim != 1 or not len(x) or window < 1:
        raise ValueError(f"one or more token confidences and a window are needed, got {x.shape}")
    sums = np.cumsum(np.r_[0.0, x])
    size = min(window, len(x))
    groups = np.sort((sums[size:] - sums[:-size]) / size)
    tenth = groups[: max(1, int(0.1 * len(groups)))]
    return {
        "mean": float(x.mean()),
        "tail": float(x[-size:].mean()),
        "bottom": float(tenth.mean()),
        "least": float(groups[0]),
    }


def json_lines(path: Path, damage: Counter[str]) -> Iterator[Any]:
    """The readable lines of a JSONL file, gzipped or not; the others are counted."""
    opener = gzip.open if path.suffix == ".gz" else open
    try:
        with opener(path, "rt", encoding="utf-8", errors="replace") as lines:
            for line in lines:
                if not line.strip():
                    continue
                try:
                    yield json.loads(line)
                except (ValueError, RecursionError):
                    damage["lines"] += 1
    except (EOFError, zlib.error, gzip.BadGzipFile):
        damage["lines"] += 1  # the file ends too soon
    except OSError as error:
        raise RecipeError(f"{path} cannot be read: {error.strerror or error}") from error
