"""For those who write searchers, generators and verifiers: what theirs have to pass, and toys.

`contracts` holds the suites, `toys` models so small that every expectation can be computed by
enumeration. Both run in virtual time. Nothing here needs pytest; a failed check is an
AssertionError that says which promise was broken.
"""

from __future__ import annotations

from reasoning.clock import ClockPerProblem, Deadline, VirtualClock
from reasoning.testing.toys import (
    Choices,
    Steps,
    ToyGenerator,
    ToyModel,
    ToyVerifier,
    all_runs,
    distribution,
    markov,
    noisy,
    random_tree,
    shuffled_delays,
)

__all__ = [
    "Choices",
    "ClockPerProblem",
    "Deadline",
    "Steps",
    "ToyGenerator",
    "ToyModel",
    "ToyVerifier",
    "VirtualClock",
    "all_runs",
    "distribution",
    "markov",
    "noisy",
    "random_tree",
    "shuffled_delays",
]
