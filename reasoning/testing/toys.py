r"""Models small enough to be enumerated, so that tests compare with the truth and not an estimate.

A toy solution is a tuple of step names, say ("a", "b b", "7"). Its text is the steps joined by
blank lines with the last one in a box, `a\n\nb b\n\n\boxed{7}`; a token is a word with the blanks
after it. All of a step's log-probability sits on its first token.

>>> model = markov({"": {"a": 0.6, "b": 0.4}, "a": {"1": 0.5, "2": 0.5}, "b": {"2": 1.0}})
>>> model.complete()
[(('a', '1'), 0.3), (('a', '2'), 0.3), (('b', '2'), 0.4)]
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import TypeAlias, TypeVar

import numpy as np

from reasoning.backends.scripted import Scripted
from reasoning.clock import Clock
from reasoning.generate import Meter, Prompt, Sampling
from reasoning.problem import Problem
from reasoning.seeds import fold
from reasoning.tree import FloatArray, Node, Sample
from reasoning.verify import Scores, Verifier

T = TypeVar("T")
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
        """The steps that `text` holds in full, and the begun rest."""
        steps: Steps = ()
        while text:
            for name, _ in self.step_distribution(steps):
                piece = self.piece(steps, name)
                if text.startswith(piece):
                    steps, text = (*steps, name), text[len(piece) :]
                    break
            else:
                break
        return steps, text


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


class ToyGenerator(Scripted):
    """Draws from a toy model: step i of a call by inverse CDF from a uniform of (seed, i).

    Given `choices`, every draw asks those instead, so that `all_runs` can try each. `delay`,
    `token_seconds`, `failure`, `clock` and the counters `calls` and `live` are `Scripted`'s.
    Honours temperature, stop strings and max_tokens; ignores top_p and top_k.
    """

    def __init__(
        self,
        model: ToyModel,
        *,
        choices: Choices | None = None,
        delay: Callable[[int], float] | None = None,
        token_seconds: float = 0.0,
        failure: Callable[[Prompt, int], Exception | None] | None = None,
    ) -> None:
        super().__init__([], delay=delay, token_seconds=token_seconds, failure=failure)
        self.model = model
        self.choices = choices

    def reply(self, prompt: Prompt, params: Sampling, seed: int) -> Sample:
        steps, begun = self.model.parse(prompt.text)
        parts: list[tuple[str, float]] = []  # text and log-probability of each step taken
        text = ""
        for draw in itertools.count():
            whole = self.model.is_complete(steps)
            ends = [at + len(s) for s in params.stop if (at := text.find(s)) >= 0]
            if whole or ends or len(_tokens(text)) >= params.max_tokens:
                break
            name, logprob = self._next(steps, begun, params.temperature, fold(seed, draw))
            parts.append((self.model.piece(steps, name)[len(begun) :], logprob))
            text += parts[-1][0]
            steps, begun = (*steps, name), ""
        said = text[: min(ends)] if ends else text
        tokens = _tokens(said)[: params.max_tokens]
        kept = "".join(tokens)
        logprobs = _spread(parts, tokens)
        return Sample(
            kept,
            token_ids=tuple(fold(0, token) % 50_000 for token in tokens),
            logprobs=logprobs,
            confidence=-logprobs if params.confidence_k else None,
            finish="length" if kept != said else "stop" if ends else "end" if whole else "length",
            generated_tokens=len(tokens),
        )

    async def score_text(
        self, prompt: Prompt, sample: Sample, *, question: bool, meter: Meter
    ) -> FloatArray:
        """Without the question, all options of a step are equally likely."""
        read = await super().score_text(prompt, sample, question=question, meter=meter)
        if question:
            return read
        before, begun = self.model.parse(prompt.text)
        steps, _ = self.model.parse(prompt.text + sample.text)
        parts = []
        for i in range(len(before), len(steps)):
            options = self.model.step_distribution(steps[:i])
            piece = self.model.piece(steps[:i], steps[i])[len(begun) :]
            parts.append((piece, -math.log(len(options))))
            begun = ""
        return _spread(parts, _tokens(sample.text))

    def _next(self, steps: Steps, begun: str, temperature: float, seed: int) -> tuple[str, float]:
        """One step, drawn at `temperature`, and its log-probability at temperature 1."""
        options = [
            (name, p)
            for name, p in self.model.step_distribution(steps)
            if p > 0 and self.model.piece(steps, name).startswith(begun)
        ]
        total = math.fsum(p for _, p in options)
        chances = [p / total for _, p in options]
        if temperature > 0:
            weights = [p ** (1 / temperature) for p in chances]
            index = self.choices(weights) if self.choices else _inverse_cdf(weights, seed)
        else:
            index = chances.index(max(chances))
        return options[index][0], math.log(chances[index])


def _tokens(text: str) -> list[str]:
    return re.findall(r"\s*\S+\s*|\s+", text)


def _spread(parts: Sequence[tuple[str, float]], tokens: Sequence[str]) -> FloatArray:
    """Log-probabilities [tokens]: each step's on the token its text begins in."""
    starts = list(itertools.accumulate((len(token) for token in tokens), initial=0))
    values = np.zeros(len(tokens), dtype=np.float32)
    at = 0
    for text, logprob in parts:
        if at < starts[-1]:
            values[max(i for i, start in enumerate(starts) if start <= at)] += logprob
        at += len(text)
    return values


def _inverse_cdf(weights: Sequence[float], seed: int) -> int:
    """The first index whose cumulated weight passes a uniform number derived from `seed`."""
    mark = fold(seed, "uniform") / 2**63 * math.fsum(weights)
    sums = list(itertools.accumulate(weights))
    return next((i for i, total in enumerate(sums) if mark < total), len(weights) - 1)


class ToyVerifier(Verifier):
    """Scores a node by `value(steps)`, by default the model's exact expected reward.

    One score for each step that ends in the node, or with `outcome` one for the node; a node
    whose text is none of the model's has the value of the steps before it. Delays run on `clock`,
    usually the generator's.

    >>> ToyVerifier(model, model.best_rest)
    >>> ToyVerifier(model, lambda steps: 0.5)
    >>> ToyVerifier(model, noisy(model.value, seed=1, scale=0.1))
    """

    def __init__(
        self,
        model: ToyModel,
        value: Callable[[Steps], float] | None = None,
        *,
        name: str = "toy",
        outcome: bool = False,
        delay: Callable[[int], float] | None = None,
        clock: Callable[[Problem], Clock] | None = None,
        failure: Callable[[Node], Exception | None] | None = None,
    ) -> None:
        self.name = name
        self.model = model
        self.value = value or model.value
        self.outcome = outcome
        self.delay = delay
        self.clock = clock
        self.failure = failure
        self.calls = 0
        self.live = 0

    text_only = True

    async def score(self, problem: Problem, node: Node, *, meter: Meter) -> Scores:
        self.calls += 1
        self.live += 1
        steps, _ = self.model.parse(node.text)
        meter(len(steps))
        try:
            if self.delay and self.clock:
                await self.clock(problem).sleep(self.delay(fold(node.key, "verify")))
            if self.failure and (error := self.failure(node)):
                raise error
            before = len(self.model.parse(node.before)[0])
            ends = range(before + 1, len(steps) + 1)
            if self.outcome or not ends:
                ends = range(len(steps), len(steps) + 1)
            return tuple(self.value(steps[:end]) for end in ends)
        finally:
            self.live -= 1


def noisy(value: Callable[[Steps], float], *, seed: int, scale: float) -> Callable[[Steps], float]:
    """`value` plus normal noise of standard deviation `scale`, fixed for each path, in [0, 1]."""

    def noised(steps: Steps) -> float:
        rng = np.random.Generator(np.random.PCG64(fold(seed, "noise", *steps)))
        return min(1.0, max(0.0, value(steps) + scale * float(rng.standard_normal())))

    return noised


def shuffled_delays(seed: int, *, scale: float = 1.0) -> Callable[[int], float]:
    """Delays for a generator or verifier: of up to `scale` seconds, in another order per seed."""
    return lambda call: scale * fold(seed, "delay", call) / 2**63


class Choices:
    """A source of discrete choices that follows a script, then takes the first possible option.

    `choose(weights)` returns an index; weights need not sum to one. `probability` is that of all
    choices made so far.
    """

    def __init__(self, script: Sequence[int] = ()) -> None:
        self.script = tuple(script)
        self.made: list[tuple[int, tuple[float, ...]]] = []

    def __call__(self, weights: Sequence[float]) -> int:
        at, total = len(self.made), math.fsum(weights)
        chances = tuple(w / total for w in weights)
        index = self.script[at] if at < len(self.script) else _possible(chances, 0)
        assert index is not None, f"no option has any weight: {list(weights)}"
        self.made.append((index, chances))
        return index

    @property
    def probability(self) -> float:
        return math.prod(chances[index] for index, chances in self.made)

    def following(self) -> Choices | None:
        """The next way things can go, in lexicographic order; None after the last."""
        for at in reversed(range(len(self.made))):
            index, chances = self.made[at]
            if (after := _possible(chances, index + 1)) is not None:
                return Choices([*(index for index, _ in self.made[:at]), after])
        return None


def _possible(chances: Sequence[float], start: int) -> int | None:
    return next((i for i in range(start, len(chances)) if chances[i] > 0), None)


def all_runs(run: Callable[[Choices], T]) -> Iterator[tuple[float, T]]:
    """Every outcome of `run` with its probability, one run per sequence of choices.

    `run` draws all of its randomness from the choices it is given, so that the same choices give
    the same run. The probabilities sum to one.

    >>> def run(choices):
    ...     generator = ToyGenerator(model, choices=choices)
    ...     return asyncio.run(solve(generator)).answer
    >>> sum(p for p, answer in all_runs(run) if answer == "1")
    """
    choices: Choices | None = Choices()
    while choices is not None:
        result = run(choices)
        yield choices.probability, result
        choices = choices.following()


def distribution(run: Callable[[Choices], T]) -> dict[T, float]:
    """The exact distribution of what `run` returns (hashable)."""
    totals: dict[T, float] = {}
    for p, result in all_runs(run):
        totals[result] = totals.get(result, 0.0) + p
    return totals
