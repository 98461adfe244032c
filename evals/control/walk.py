"""What samples of stored problems show at each number of them: what policies are fitted to."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from evals.replay.evaluate import permutations
from evals.replay.samples import Recording, rejecting
from evals.replay.strategies import everything, looked, picked
from reasoning.aggregators.ballots import Floats, Ints
from reasoning.runs.names import bind_aggregator
from searchers.kernels.policy import Policy, Preset

STEP = 5
"""The part of a size that the next one is larger."""


@dataclass(frozen=True, slots=True)
class Walk:
    """Problems in several orders, looked at where there are `sizes` samples.

    `tokens` and each of `signals` are arrays [problems, orders, sizes], and so is for each chooser
    `right`: whether the answer it would choose is.
    """

    problems: tuple[str, ...]
    sizes: tuple[int, ...]
    tokens: Floats
    right: Mapping[str, Floats]
    signals: Mapping[str, Floats]
    rejecting: Mapping[float, Walk] = field(default_factory=dict)
    """The same where samples end at a step that scores less than the key."""
    ways: Mapping[Preset, Walk] = field(default_factory=dict)
    """The same problems sampled as each preset says, itself among them; or nothing."""

    def seen_by(self, policy: Policy) -> Walk:
        """The samples that a policy would draw: of its preset, and those it rejects left out."""
        walk = self.ways[policy.first] if policy.first else self
        return walk.rejecting[policy.reject] if policy.reject else walk

    def curves(self) -> dict[str, tuple[Floats, Floats]]:
        """Accuracy and tokens [problems, sizes] of as many samples for all, by their chooser, and
        by the way they are drawn where there are several."""
        ways = {f" of {preset.name}": walk for preset, walk in self.ways.items()} or {"": self}
        return {
            name + way: (table.mean(axis=1), walk.tokens.mean(axis=1))
            for way, walk in ways.items()
            for name, table in walk.right.items()
        }

    def of(self, problems: Sequence[int] | Ints) -> Walk:
        """Those of `problems` alone."""
        rows = np.asarray(problems, dtype=np.int64)
        return replace(
            self,
            problems=tuple(self.problems[i] for i in rows),
            tokens=self.tokens[rows],
            right={name: table[rows] for name, table in self.right.items()},
            signals={name: table[rows] for name, table in self.signals.items()},
            rejecting={bar: walk.of(rows) for bar, walk in self.rejecting.items()},
            ways={preset: walk.of(rows) for preset, walk in self.ways.items()},
        )

    def without(self, problems: Collection[str]) -> Walk:
        """All but these."""
        return self.of([i for i, name in enumerate(self.problems) if name not in problems])

    def at(self, size: int) -> dict[str, Floats]:
        """The signals [problems, orders] of so many samples."""
        place = self.sizes.index(size)
        return {name: table[:, :, place] for name, table in self.signals.items()}


def sizes_of(n: int) -> tuple[int, ...]:
    """Where policies look, up to n: the next size is a fifth more, or one more."""
    found = [1]
    while found[-1] < n:
        found.append(min(n, found[-1] + max(1, round(found[-1] / STEP))))
    return tuple(found)


def walk(
    recording: Recording,
    choosers: Sequence[str],
    *,
    most: int | None = None,
    orders: int = 20,
    seed: int = 0,
    bars: Sequence[float] = (),
) -> Walk:
    """Every problem of a recording in seeded orders, so many samples at most (all); with `bars`
    also where samples are rejected by their steps' scores."""
    alike: dict[str, Any] = {"most": most, "orders": orders, "seed": seed}
    sizes = sizes_of(min(recording.n, most or recording.n))
    tokens, signals = [], []
    right: dict[str, list[Floats]] = {name: [] for name in choosers}
    for problem in recording.problems:
        places = permutations(problem, orders, seed)[1:]
        samples, grades = problem.ordered(places)("last"), np.append(problem.grades(), 0.0)
        tokens.append(np.cumsum(samples.costs, axis=1)[:, np.array(sizes) - 1])
        seen = [looked(samples, size) for size in sizes]
        signals.append({name: np.stack([s[name] for s in seen], axis=1) for name in seen[0]})
        ballots = everything(samples, sizes).emitted
        for name in choosers:
            chosen = picked(ballots, (bind_aggregator(name),)).reshape(len(sizes), orders)
            right[name].append(grades[chosen].T)
    return Walk(
        tuple(p.id for p in recording.problems),
        sizes,
        np.stack(tokens),
        {name: np.stack(table) for name, table in right.items()},
        {name: np.stack([s[name] for s in signals]) for name in signals[0]},
        {bar: walk(rejecting(recording, bar), choosers, **alike) for bar in bars},
    )


def joined(parts: Sequence[Walk]) -> Walk:
    """The problems of all parts, which have been looked at alike."""

    def tables(of: Callable[[Walk], Mapping[str, Floats]]) -> dict[str, Floats]:
        return {name: np.concatenate([of(part)[name] for part in parts]) for name in of(parts[0])}

    return replace(
        parts[0],
        problems=tuple(name for part in parts for name in part.problems),
        tokens=np.concatenate([part.tokens for part in parts]),
        right=tables(lambda part: part.right),
        signals=tables(lambda part: part.signals),
        rejecting={
            bar: joined([part.rejecting[bar] for part in parts]) for bar in parts[0].rejecting
        },
        ways={preset: joined([part.ways[preset] for part in parts]) for preset in parts[0].ways},
    )


def several(ways: Mapping[Preset, Walk]) -> Walk:
    """The first of `ways`, which knows them all, on the problems and by the choosers that all of
    them have."""
    shared = set.intersection(*(set(walk.problems) for walk in ways.values()))
    able = set.intersection(*(set(walk.right) for walk in ways.values()))
    alike = {}
    for preset, walk in ways.items():
        kept = walk.of([i for i, name in enumerate(walk.problems) if name in shared])
        right = {name: table for name, table in kept.right.items() if name in able}
        alike[preset] = replace(kept, right=right)
    return replace(next(iter(alike.values())), ways=alike)


def stops(walk: Walk, policy: Policy) -> Ints:
    """At which of the walk's sizes the policy ends [problems, orders]."""
    have = np.full(walk.tokens.shape[:2], policy.start)
    for look in policy.looks:
        there = have == look.at
        have = np.where(there, policy.more(look.at, walk.at(look.at)), have)
    return np.searchsorted(walk.sizes, have)


def taken(table: Floats, stop: Ints) -> Floats:
    """What `table` [problems, orders, sizes] has at `stop` [problems, orders]."""
    return np.take_along_axis(table, stop[:, :, None], axis=2)[:, :, 0]
