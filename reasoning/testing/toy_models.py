r"""Models small enough to be enumerated, so that tests compare with the truth and not an estimate.

A toy solution is a tuple of step names, say ("a", "b b", "7"). Its text is the steps joined by
blank lines with the last one in a box, `a\n\nb b\n\n\boxed{7}`; a token is a word with the blanks
after it. All of a step's log-probability sits on its first token.

>>> model = markov({"": {"a": 0.6, "b": 0.4}, "a": {"1": 0.5, "2": 0.5}, "b": {"2": 1.0}})
>>> model.complete()
[(('a', '1'), 0.3), (('a', '2'), 0.3), (('b', '2'), 0.4)]
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import TypeAlias

import numpy as np

from reasoning.problem import Problem
from reasoning.seeds import fold

Steps: TypeAlias = tuple[str, ...]

SEPARATOR = "\n\n"


def one(_: Steps) -> float:
    """The reward where all solutions are equally good."""
    return 1.0


class ToyModel:
    """A distribution over step sequences.

    `branch(steps)` maps the names of the possible next steps to their probabilities; a sequence
    with none is complete. `reward(steps)` is the worth of a complete one, in [0, 1].
    """

    def __init__(
        self,
        branch: Callable[[Steps], Mapping[str, float]],
        reward: Callable[[Steps], float] = one,
    ) -> None:
        self._of = branch
        self._known: dict[Steps, Mapping[str, float]] = {}
        self._values: dict[Steps, float] = {}
        self.reward = reward
        self.problem = Problem("toy", "A toy question.")

    def _branch(self, steps: Steps) -> Mapping[str, float]:
        if steps not in self._known:
            self._known[steps] = self._of(steps)
        return self._known[steps]

    def step_distribution(self, steps: Steps = ()) -> list[tuple[str, float]]:
        """The possible next steps with their probabilities; empty if `steps` is complete."""
        return list(self._branch(steps).items())

    def is_complete(self, steps: Steps) -> bool:
        return not self._branch(steps)

    def sequences(self, steps: Steps = ()) -> Iterator[Steps]:
        """Every sequence that begins with `steps`, complete or not, parents first."""
        yield steps
        for name, _ in self.step_distribution(steps):
            yield from self.sequences((*steps, name))

    def complete(self, steps: Steps = ()) -> list[tuple[Steps, float]]:
        """Every complete continuation of `steps`, with its probability given `steps`."""
        if self.is_complete(steps):
            return [(steps, 1.0)]
        return [
            (whole, p * rest)
            for name, p in self.step_distribution(steps)
            for whole, rest in self.complete((*steps, name))
        ]

    def probability(self, steps: Steps) -> float:
        """The probability that a solution begins with `steps`."""
        return math.prod(self._branch(steps[:i]).get(name, 0.0) for i, name in enumerate(steps))

    def value(self, steps: Steps = ()) -> float:
        """The expected reward once `steps` are taken: the exact process reward."""
        if steps not in self._values:
            terms = [p * self.reward(whole) for whole, p in self.complete(steps)]
            self._values[steps] = math.fsum(terms)
        return self._values[steps]

    def best_rest(self, steps: Steps = ()) -> float:
        """The probability of the likeliest completion given `steps`: the exact A* heuristic."""
        return max(p for _, p in self.complete(steps))

    def answers(self) -> dict[str, float]:
        """The distribution of the last step, which is the answer."""
        totals: dict[str, float] = {}
        for whole, p in self.complete():
            totals[whole[-1]] = totals.get(whole[-1], 0.0) + p
        return totals

    def text(self, steps: Steps) -> str:
        """The text a model writes that takes `steps`."""
        return "".join(self.piece(steps[:i], name) for i, name in enumerate(steps))

    def piece(self, steps: Steps, name: str) -> str:
        """The text of step `name` after `steps`."""
        return f"\\boxed{{{name}}}" if self.is_complete((*steps, name)) else name + SEPARATOR

    def parse(self, text: str) -> tuple[Steps, str]:
        """The steps that `text` holds in full, and the begun rest; none if no step begins so.

        Text that others have put there is none of the model's business: it goes on behind it.
        """
        steps: Steps = ()
        while text:
            for name, _ in self.step_distribution(steps):
                piece = self.piece(steps, name)
                if text.startswith(piece):
                    steps, text = (*steps, name), text[len(piece) :]
                    break
            else:
                break
        options = (self.piece(steps, name) for name, _ in self.step_distribution(steps))
        return steps, text if any(piece.startswith(text) for piece in options) else ""


def markov(
    transitions: Mapping[str, Mapping[str, float]], reward: Callable[[Steps], float] = one
) -> ToyModel:
    """A model whose next step depends on the last one only; "" is the start.

    A step without transitions ends the solution.
    """
    return ToyModel(partial(_markov_branch, transitions), reward)


def _markov_branch(
    transitions: Mapping[str, Mapping[str, float]], steps: Steps
) -> Mapping[str, float]:
    return transitions.get(steps[-1] if steps else "", {})


def random_tree(seed: int, *, depth: int = 3, width: int = 3, answers: int = 3) -> ToyModel:
    """A model whose probabilities, step lengths and depths are random, fixed by `seed`.

    Answers are "0" to `answers` - 1; the reward is 1 for "0" and 0 for the others.
    """
    return ToyModel(partial(_random_branch, seed, depth, width, answers), zero_is_right)


def zero_is_right(steps: Steps) -> float:
    """The reward of `random_tree`."""
    return float(steps[-1] == "0")


def _random_branch(
    seed: int, depth: int, width: int, answers: int, steps: Steps
) -> Mapping[str, float]:
    if steps and steps[-1].isdigit():
        return {}
    rng = np.random.Generator(np.random.PCG64(fold(seed, *steps)))
    branches: dict[str, float] = {}
    for i, weight in enumerate(rng.dirichlet(np.ones(width)).tolist()):
        ends = len(steps) + 1 >= depth or rng.random() < 0.2
        name = str(i % answers) if ends else " ".join(["abcdefgh"[i % 8]] * int(rng.integers(1, 5)))
        branches[name] = branches.get(name, 0.0) + weight
    return branches
