"""What draws from toy models, judges them, and tries every random choice there is."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, TypeVar

import numpy as np

from reasoning.backends.scripted import Scripted
from reasoning.clock import Clock
from reasoning.generate import EVERYONES, Meter, Prompt, Sampling
from reasoning.problem import Problem
from reasoning.seeds import fold
from reasoning.testing.toy_models import Steps, ToyModel, markov, random_tree, zero_is_right
from reasoning.tree import FloatArray, Node, Sample, TopLogprobs
from reasoning.verify import Scores, Verifier

__all__ = [
    "Choices",
    "Steps",
    "ToyGenerator",
    "ToyModel",
    "ToyVerifier",
    "all_runs",
    "distribution",
    "markov",
    "noisy",
    "random_tree",
    "shuffled_delays",
    "zero_is_right",
]

T = TypeVar("T")


class _Part(NamedTuple):
    """A step that was taken: its text, its log-probability, and those of all steps there were."""

    text: str
    logprob: float
    options: Sequence[tuple[str, float]] = ()


class ToyGenerator(Scripted):
    """Draws from a toy model: step i of a call by inverse CDF from a uniform of (seed, i).

    Given `choices`, every draw asks those instead, so that `all_runs` can try each. `delay`,
    `token_seconds`, `failure`, `clock` and the counters `calls` and `live` are `Scripted`'s.
    Honours temperature, stop strings, max_tokens and top_logprobs; ignores top_p and top_k.

    Text that the model would not say there, written by a search or asked in a probe, is passed
    over.
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

    @property
    def honours(self) -> frozenset[str]:
        return EVERYONES | {"top_logprobs"}

    def reply(self, prompt: Prompt, params: Sampling, seed: int) -> Sample:
        steps, begun = self._heard(prompt)
        parts: list[_Part] = []
        text = ""
        for draw in itertools.count():
            whole = self.model.is_complete(steps)
            ends = [at + len(s) for s in params.stop if (at := text.find(s)) >= 0]
            if whole or ends or len(_tokens(text)) >= params.max_tokens:
                break
            name, part = self._next(steps, begun, params.temperature, fold(seed, draw))
            parts.append(part)
            text += part.text
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
            top_logprobs=_tops(parts, tokens, params.top_logprobs) if params.top_logprobs else None,
        )

    def _heard(self, prompt: Prompt) -> tuple[Steps, str]:
        """The steps that stand in the path in full, and the begun rest, as far as it is known."""
        samples = [] if prompt.turn is not None else [n.sample for n in prompt.parent.attempt()]
        texts = [sample.text for sample in samples if sample.finish != "written"]
        if texts == [sample.text for sample in samples] and not prompt.suffix:
            return self.model.parse(prompt.text)
        text = ""
        for sample in samples:
            if sample.finish != "written" or self._known(text + sample.text):
                text += sample.text
        for more in (prompt.begun.text if prompt.begun else "", prompt.suffix):
            text += more if self._known(text + more) else ""
        return self.model.parse(text)

    def _known(self, text: str) -> bool:
        """Whether the model might say `text`."""
        steps, begun = self.model.parse(text)
        return not begun or any(
            self.model.piece(steps, name).startswith(begun)
            for name, p in self.model.step_distribution(steps)
            if p > 0
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
        parts: list[_Part] = []
        for i in range(len(before), len(steps)):
            options = self.model.step_distribution(steps[:i])
            piece = self.model.piece(steps[:i], steps[i])[len(begun) :]
            parts.append(_Part(piece, -math.log(len(options))))
            begun = ""
        return _spread(parts, _tokens(sample.text))

    def _next(self, steps: Steps, begun: str, temperature: float, seed: int) -> tuple[str, _Part]:
        """One step, drawn at `temperature`, with its log-probability at temperature 1."""
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
        pieces = [self.model.piece(steps, name)[len(begun) :] for name, _ in options]
        logs = [math.log(p) for p in chances]
        return options[index][0], _Part(
            pieces[index], logs[index], list(zip(pieces, logs, strict=True))
        )


def _tokens(text: str) -> list[str]:
    return re.findall(r"\s*\S+\s*|\s+", text)


def _spread(parts: Sequence[_Part], tokens: Sequence[str]) -> FloatArray:
    """Log-probabilities [tokens]: each step's on the token its text begins in."""
    values = np.zeros(len(tokens), dtype=np.float32)
    for i, part in _begun(parts, tokens):
        values[i] += part.logprob
    return values


def _begun(parts: Sequence[_Part], tokens: Sequence[str]) -> Iterator[tuple[int, _Part]]:
    """Each part that begins within the tokens, with the place of the token it begins in."""
    starts = list(itertools.accumulate((len(token) for token in tokens), initial=0))
    at = 0
    for part in parts:
        if at < starts[-1]:
            yield max(i for i, start in enumerate(starts) if start <= at), part
        at += len(part.text)


def _tops(parts: Sequence[_Part], tokens: Sequence[str], k: int) -> TopLogprobs:
    """The k likeliest first tokens of the steps there were; within a step nothing is open.

    The log-probabilities are those that samples have: steps that begin alike stay apart.
    """
    rows = [[(token, 0.0)] for token in tokens]
    for i, part in _begun(parts, tokens):
        if tokens[i] == "".join(_tokens(part.text)[:1]):  # else a step ends in this token, too
            rows[i] = [("".join(_tokens(text)[:1]), logprob) for text, logprob in part.options]
            rows[i].sort(key=lambda row: -row[1])
    table = np.full((len(rows), k), -np.inf, np.float32)
    for i, row in enumerate(rows):
        kept = [logprob for _, logprob in row[:k]]
        table[i, : len(kept)] = kept
    return TopLogprobs(tuple(tuple(text for text, _ in row[:k]) for row in rows), table)


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
        together: int = 1,
        delay: Callable[[int], float] | None = None,
        clock: Callable[[Problem], Clock] | None = None,
        failure: Callable[[Node], Exception | None] | None = None,
    ) -> None:
        self.name = name
        self.model = model
        self.value = value or model.value
        self.outcome = outcome
        self.together = together
        self.delay = delay
        self.clock = clock
        self.failure = failure
        self.calls = 0
        self.live = 0

    text_only = True

    async def score(self, problem: Problem, node: Node, *, meter: Meter) -> Scores:
        (found,) = await self.score_siblings(problem, [node], meter=meter)
        if isinstance(found, BaseException):  # a test may cancel the call in this way
            raise found
        return found

    async def score_siblings(
        self, problem: Problem, nodes: Sequence[Node], *, meter: Meter
    ) -> Sequence[Scores | Exception]:
        self.calls += 1
        self.live += 1
        meter(sum(len(self.model.parse(node.text)[0]) for node in nodes))
        try:
            if self.delay and self.clock:
                await self.clock(problem).sleep(self.delay(fold(nodes[0].key, "verify")))
            return [self._said(node) for node in nodes]
        finally:
            self.live -= 1

    def _said(self, node: Node) -> Scores | Exception:
        if self.failure and (error := self.failure(node)):
            return error
        steps, before = self.model.parse(node.text)[0], len(self.model.parse(node.before)[0])
        ends = range(before + 1, len(steps) + 1)
        if self.outcome or not ends:
            ends = range(len(steps), len(steps) + 1)
        return tuple(self.value(steps[:end]) for end in ends)


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
