"""How long the problems of a pilot would take in other company."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass

import numpy as np

from evals.plan.law import Floats, Law, chain, fit, in_flight, of_calls
from reasoning.runs.pilot import Pilot
from reasoning.runs.timing import Call


@dataclass(slots=True)
class Pace:
    """Of every problem of a pilot: `spans`, the seconds it took; the `chains` of calls it waited
    for, their `chained` seconds and how many calls were in flight meanwhile (`batches`); and how
    many problems were in flight (`at_once`). In the rest of its time verifiers worked, and we did.

    `width` is how many calls a problem has in flight on average, `start` the seconds until the
    first problem can begin.
    """

    law: Law
    spans: Floats
    chains: list[list[Call]]
    chained: Floats
    batches: Floats
    at_once: Floats
    width: float
    start: float
    virtual: bool

    @classmethod
    def of(cls, pilot: Pilot) -> Pace:
        """The pace of a pilot; on virtual clocks nobody's company costs anything."""
        ids = [problem.id for problem in pilot.problems]
        by_problem: dict[str, list[Call]] = defaultdict(list)
        busy = np.zeros(len(pilot.calls)) if pilot.virtual else in_flight(pilot.calls)
        batch = {id(call): float(b) for call, b in zip(pilot.calls, busy, strict=True)}
        for call in pilot.calls:
            by_problem[call.problem].append(call)
        spans = np.asarray([_span(pilot, problem) for problem in ids])
        chains = [chain(by_problem[problem]) for problem in ids]
        return cls(
            fit(pilot.calls, busy),
            spans,
            chains,
            np.asarray([sum(call.seconds for call in calls) for calls in chains]),
            np.asarray([np.mean([batch[id(c)] for c in calls] or [0.0]) for calls in chains]),
            np.asarray([float(pilot.at_once[problem]) for problem in ids]),
            sum(call.seconds for call in pilot.calls) / max(float(spans.sum()), 1e-12),
            0.0 if pilot.virtual else pilot.start,
            pilot.virtual,
        )

    def problems_at_once(self, calls: int) -> int:
        """How many problems it takes to have so many calls in flight; each makes one at least."""
        return math.ceil(calls / max(1.0, self.width))

    def table(self, slots: int, replicas: int = 1) -> Floats:
        """Seconds of each problem with 1 to `slots` problems in flight [problems, slots].

        What a problem waited for calls grows as the law says, the rest as it did in the pilot.
        """
        if self.virtual:
            return np.repeat(self.spans[:, None], slots, axis=1)
        company = np.arange(1, slots + 1)
        batch = np.maximum(1.0, company * self.width / replicas)
        alone = np.asarray([of_calls(self.law, calls, 0.0) for calls in self.chains])
        each = np.asarray([of_calls(self.law, calls, 1.0) for calls in self.chains]) - alone
        there = alone + each * np.maximum(1.0, self.batches)  # the law is a line in the batch
        here = alone[:, None] + each[:, None] * batch
        slower = np.where(there[:, None] > 0, here / np.maximum(there, 1e-12)[:, None], 1.0)
        gaps = np.maximum(0.0, self.spans - self.chained)
        first, more = _line(self.at_once, gaps)
        waited = np.maximum(first + more * self.at_once, 1e-12)[:, None]
        waiting = (first + more * company) / waited
        found: Floats = self.chained[:, None] * slower + gaps[:, None] * waiting
        return found


def _span(pilot: Pilot, problem: str) -> float:
    """Real time, or that of the searches, one after another."""
    if not pilot.virtual:
        start, end = pilot.spans[problem]
        return end - start
    return float(pilot.searched[problem])


def _line(x: Floats, y: Floats) -> tuple[float, float]:
    """The line that fits best, of those that do not fall and begin at 0 or above."""
    from scipy.optimize import nnls

    (a, b), _ = nnls(np.stack([np.ones(len(x)), x], axis=1), y)
    return float(a), float(b)
