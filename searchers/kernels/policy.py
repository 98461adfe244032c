"""What a fitted policy is, and what it says: when to draw more samples of a problem, and how many.

A policy looks at some numbers of samples, and what it sees there, its signals, tells how many it
wants; it ends where that is no more than there are. The rules are pure functions of arrays with a
row for each set of samples: one row live, a row for each order of a problem's in a replay.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Annotated, Any, Literal, TypeAlias

import numpy as np
from pydantic import BeforeValidator, Field, model_validator

from reasoning.aggregators import Candidate
from reasoning.aggregators.ballots import Floats, Ints, numbered
from reasoning.aggregators.certainty import confidence, mean_logprob
from reasoning.errors import RecipeError
from searchers.kernels import artefacts
from searchers.kernels.artefacts import Artefact
from searchers.kernels.stopping import majority_probability

Form: TypeAlias = Literal[
    "fixed", "marginal", "bins", "saturation", "allocation", "cascade", "posterior", "presets"
]
Known: TypeAlias = Literal["score", "logprob", "confidence"]

SIGNALS: Mapping[str, Known | None] = {
    "agreement": None, "lead": None, "entropy": None, "silent": None, "length": None,
    "safe": None, "support": "score", "best": "score", "odds": "score", "score": "score",
    "logprob": "logprob", "confidence": "confidence",
}  # fmt: skip
"""Every signal, and what samples must have for it.

Shares, in [0, 1]: of the samples with the leading answer, that less the runner-up's, of those
without an answer; of the sum of scores that the answer with most of it has. `safe` is the chance
that the leading answer is ahead of the next one for good (Adaptive-Consistency). The entropy of the
answers, nats. The logarithm of 1 + mean tokens. Best and mean score, and the log
odds of the best. Means over samples of the
log-probability and the confidence of a token, nats."""


CHOOSERS: Mapping[str, Known | None] = {
    "majority": None, "best": "score", "weighted_majority": "score", "perplexity": "logprob",
    "cisc": "logprob",
}  # fmt: skip
"""The aggregators that a policy may choose by, and what samples must have for them."""


class Weights(Artefact):
    """A number from signals: intercept plus weight times signal; `NAME^2` is a square."""

    intercept: float = 0.0
    weights: Mapping[str, float] = {}

    @model_validator(mode="after")
    def _known(self) -> Weights:
        for name in self.weights:
            if name.removesuffix("^2") not in (*SIGNALS, "samples"):
                raise ValueError(f"{name!r} is no signal; there are {', '.join(SIGNALS)}")
        return self

    def __call__(self, signals: Mapping[str, Floats]) -> Floats:
        """One number a row."""
        rows = next(iter(signals.values()))
        found = np.full(rows.shape, self.intercept)
        for name, weight in self.weights.items():
            value = signals[name.removesuffix("^2")]
            found += weight * (value**2 if name.endswith("^2") else value)
        return found


class Gain(Artefact):
    """Go on to `to` samples where what that is expected to bring, less its price, is above 0."""

    kind: Literal["gain"] = "gain"
    gain: Weights
    to: Annotated[int, Field(ge=1)]

    def wanted(self, signals: Mapping[str, Floats]) -> Ints:
        return np.where(self.gain(signals) > 0, self.to, 0).astype(np.int64)

    @property
    def reads(self) -> set[str]:
        return {name.removesuffix("^2") for name in self.gain.weights}

    @property
    def reaches(self) -> set[int]:
        return {self.to}


class Steps(Artefact):
    """So many samples in all as the signal's bin says; bins are [edge, next edge)."""

    kind: Literal["steps"] = "steps"
    signal: str
    edges: tuple[float, ...]
    samples: tuple[Annotated[int, Field(ge=0)], ...]

    @model_validator(mode="after")
    def _fits(self) -> Steps:
        if self.signal not in SIGNALS:
            raise ValueError(f"{self.signal!r} is no signal; there are {', '.join(SIGNALS)}")
        if list(self.edges) != sorted(set(self.edges)) or len(self.samples) != len(self.edges) + 1:
            raise ValueError("edges must rise, and samples be one more than edges")
        return self

    def wanted(self, signals: Mapping[str, Floats]) -> Ints:
        where = np.searchsorted(self.edges, signals[self.signal], side="right")
        return np.asarray(self.samples, np.int64)[where]

    @property
    def reads(self) -> set[str]:
        return {self.signal}

    @property
    def reaches(self) -> set[int]:
        return set(self.samples)


class Look(Artefact):
    """What is done where there are `at` samples."""

    at: Annotated[int, Field(ge=1)]
    rule: Annotated[Gain | Steps, Field(discriminator="kind")]


class Sure(Artefact):
    """How likely the chosen answer is to be right, by bins of a number from signals at the end.

    The rate of each bin with its interval, in [0, 1], was counted on problems that neither the
    weights nor the edges have seen.
    """

    by: Weights
    edges: tuple[float, ...]
    rate: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]

    @model_validator(mode="after")
    def _fits(self) -> Sure:
        if {len(self.rate), len(self.low), len(self.high)} != {len(self.edges) + 1}:
            raise ValueError("rate, low and high must be one more than edges")
        return self

    def __call__(self, signals: Mapping[str, Floats]) -> Floats:
        """Rate, low and high [3, rows]."""
        where = np.searchsorted(self.edges, self.by(signals), side="right")
        return np.asarray([self.rate, self.low, self.high])[:, where]


class Bound(Artefact):
    """What a policy was fitted on; elsewhere it may mean nothing."""

    model: str
    task: str
    problems: int
    samples: int


class Preset(Artefact):
    """How samples are drawn, and how many; what is None is as in the recipe.

    prompt: a template over {question}, in place of the question.
    """

    name: str
    samples: Annotated[int, Field(ge=0)]
    temperature: Annotated[float, Field(ge=0)] | None = None
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    prompt: str | None = None

    @property
    def sampling(self) -> dict[str, Any]:
        """The fields of `Sampling` that it sets."""
        told = {"temperature": self.temperature, "max_tokens": self.max_tokens}
        return {name: value for name, value in told.items() if value is not None}


class Route(Artefact):
    """Which of the policy's presets comes next, by the bin of a signal of the first samples."""

    signal: str
    edges: tuple[float, ...]
    options: tuple[Annotated[int, Field(ge=0)], ...]

    @model_validator(mode="after")
    def _fits(self) -> Route:
        if self.signal not in SIGNALS:
            raise ValueError(f"{self.signal!r} is no signal; there are {', '.join(SIGNALS)}")
        if list(self.edges) != sorted(set(self.edges)) or len(self.options) != len(self.edges) + 1:
            raise ValueError("edges must rise, and options be one more than edges")
        return self

    def choose(self, signals: Mapping[str, Floats]) -> Ints:
        """The place of a preset for each set of samples."""
        where = np.searchsorted(self.edges, signals[self.signal], side="right")
        return np.asarray(self.options, np.int64)[where]


class Rung(Artefact):
    """The same policy at another price: what it costs a problem on average, tokens, on those that
    it was fitted to."""

    tokens: Annotated[float, Field(ge=0)]
    start: Annotated[int, Field(ge=1)]
    looks: tuple[Look, ...] = ()
    price: float | None = None

    _ends = model_validator(mode="after")(lambda self: _looks_fit(self))


class Policy(Artefact):
    """How many samples each problem gets. `start` are drawn first, `chooser` is the aggregator that
    chooses among them, `price` what a token must bring in accuracy. `rungs` are the same at other
    prices, by rising cost, for whoever has more or less to spend."""

    version: Literal[1, 2] = 2
    form: Form
    chooser: str = "majority"
    start: Annotated[int, Field(ge=1)]
    looks: tuple[Look, ...] = ()
    reject: Annotated[float, Field(ge=0, le=1)] = 0.0
    """A sample is drawn step by step, and ends without an answer at a step that scores less."""
    sure: Sure | None = None
    price: float | None = None
    bound: Bound
    rungs: tuple[Rung, ...] = ()
    first: Preset | None = None
    """How the first samples are drawn, where there are presets."""
    presets: tuple[Preset, ...] = ()
    route: Route | None = None
    report: Mapping[str, Any] = {}

    @model_validator(mode="after")
    def _ends(self) -> Policy:
        costs = [rung.tokens for rung in self.rungs]
        if costs != sorted(set(costs)):
            raise ValueError("rungs must rise by their tokens")
        if self.route is not None and max(self.route.options) >= len(self.presets):
            raise ValueError("the route names a preset that there is not")
        _looks_fit(self)
        return self

    def at(self, tokens: float) -> Policy:
        """The policy for so many tokens a problem: that of the dearest rung within, else of the
        cheapest; itself where it has none."""
        if not self.rungs:
            return self
        rung = max((r for r in self.rungs if r.tokens <= tokens), default=self.rungs[0],
                   key=lambda r: r.tokens)  # fmt: skip
        change = {"start": rung.start, "looks": rung.looks, "price": rung.price, "rungs": ()}
        return self.model_copy(update=change)

    @property
    def sizes(self) -> list[int]:
        """Every number of samples it may end with."""
        wanted = {n for look in self.looks for n in look.rule.reaches if n > look.at}
        return sorted({self.start} | wanted)

    @property
    def needs(self) -> set[Known]:
        """What every sample must have: scores, log-probabilities, confidences."""
        every = [*self.looks, *(look for rung in self.rungs for look in rung.looks)]
        read = {name for look in every for name in look.rule.reads}
        read |= {self.route.signal} if self.route else set()
        if self.sure is not None:
            read |= {name.removesuffix("^2") for name in self.sure.by.weights} - {"samples"}
        found: set[Known] = {need for name in read if (need := SIGNALS[name])}
        if chosen := CHOOSERS.get(self.chooser):
            found.add(chosen)
        return found | ({"score"} if self.reject > 0 else set())

    def more(self, n: int, signals: Mapping[str, Floats]) -> Ints:
        """How many samples each row [rows] with n of them is to have in all: n to end there."""
        look = next((look for look in self.looks if look.at == n), None)
        rows = next(iter(signals.values()))
        return np.full(rows.shape, n) if look is None else np.maximum(n, look.rule.wanted(signals))

    def elsewhere(self, generator: object, task: object) -> str | None:
        """A warning if a recipe's generator and task are not what it was fitted on."""
        pairs = ((model_of(generator), self.bound.model), (task_of(task), self.bound.task))
        other = [f"{here}, not {there}" for here, there in pairs if here != there]
        return f"the policy was not fitted for this: {'; '.join(other)}" if other else None


def _looks_fit(part: Any) -> Any:
    """A policy or a rung itself. Raises ValueError for looks that do not follow each other."""
    at = [look.at for look in part.looks]
    if at != sorted(set(at)) or (at and at[0] != part.start):
        raise ValueError("looks must begin at `start`, and their `at` rise")
    return part


def model_of(spec: object) -> str:
    """What a recipe's generator is called where policies are bound to it."""
    if not isinstance(spec, Mapping):
        return str(spec)
    return " ".join(str(spec[key]) for key in ("name", "model") if key in spec)


def task_of(spec: object) -> str:
    """What a recipe's task is called where policies are bound to it."""
    return str(spec.get("name")) if isinstance(spec, Mapping) else str(spec)


def read(source: object) -> object:
    """The policy in a file; raises ValueError that says what is wrong with it."""
    return artefacts.read(Policy, source, "reasoning fit")


PolicyFile: TypeAlias = Annotated[
    Policy, BeforeValidator(read, json_schema_input_type=str | Policy)
]
"""A policy, or the name of its file."""


# ------------------------------------------------------------------------------------ signals


def signals_of(
    keys: Ints,
    tokens: Floats,
    scores: Floats,
    logprobs: Floats,
    confidences: Floats,
) -> dict[str, Floats]:
    """Every signal [rows] of sets of samples, arrays [rows, n]; keys number answers, -1 is none.

    Numbers that are NaN are not known, and signals of nothing but these are 0.
    """
    rows, n = keys.shape
    said = keys[:, :, None] == np.arange(max(2, int(keys.max(initial=-1)) + 1))
    counts = said.sum(axis=1)
    top = np.sort(counts, axis=1)[:, :-3:-1]
    share = counts / np.maximum(1, counts.sum(axis=1, keepdims=True))
    known = np.where(np.isfinite(scores), scores, 0.0)
    support = np.einsum("rn,rna->ra", np.maximum(known, 0.0), said)
    whole = np.maximum(support.sum(axis=1), 1e-12)
    logs = np.log(np.where(share > 0, share, 1.0))
    return {
        "samples": np.full(rows, float(n)),
        "agreement": top[:, 0] / n,
        "lead": (top[:, 0] - top[:, 1]) / n,
        "entropy": -(share * logs).sum(axis=1),
        "silent": (keys < 0).mean(axis=1),
        "safe": _safe(top),
        "length": np.log1p(tokens.mean(axis=1)),
        "support": support.max(axis=1) / whole,
        "best": known.max(axis=1),
        "odds": _log_odds(known.max(axis=1)),
        "score": _mean(scores),
        "logprob": _mean(logprobs),
        "confidence": _mean(confidences),
    }


def read_candidates(candidates: Sequence[Candidate]) -> dict[str, Floats]:
    """The signals of one set of candidates with nodes."""
    every = np.arange(len(candidates))[None]
    return signals_of(*facts_of(candidates, numbered(candidates), every))


def refuse(policy: Policy, candidates: Sequence[Candidate]) -> None:
    """Raise RecipeError if the policy reads what none of the candidates has."""
    facts: Mapping[Known, tuple[Callable[[Candidate], float | None], str]] = {
        "logprob": (mean_logprob, "token log-probabilities: use a generator that gives them"),
        "confidence": (confidence, "token confidences: set sampling.confidence_k: 20"),
    }
    for need, (worth, cure) in facts.items():
        if need in policy.needs and all(worth(c) is None for c in candidates):
            raise RecipeError(f"the policy reads {cure}, or fit it to samples without")


def facts_of(
    candidates: Sequence[Candidate], keys: Ints, places: Ints
) -> tuple[Ints, Floats, Floats, Floats, Floats]:
    """What `signals_of` takes, for sets of candidates: `places` [rows, n]."""

    def taken(worth: Callable[[Candidate], float | None]) -> Floats:
        values = [math.nan if (x := worth(c)) is None else x for c in candidates]
        return np.asarray(values, dtype=float)[places]

    return (
        keys[places],
        taken(lambda c: c.node.generated_tokens if c.node else None),
        taken(lambda c: c.score),
        taken(_whole(mean_logprob)),
        taken(_whole(partial(confidence, measure="mean"))),
    )


def _whole(
    worth: Callable[[Candidate], float | None],
) -> Callable[[Candidate], float | None]:
    """The same, not known of samples that were given up."""
    return lambda c: None if c.node is not None and c.node.sample.finish == "stop" else worth(c)


def _safe(top: Ints) -> Floats:
    """`majority_probability` of the two largest counts [rows, 2]."""
    leads, which = np.unique(top, axis=0, return_inverse=True)
    known = np.asarray([majority_probability(*lead) for lead in leads.tolist()])
    return np.asarray(known[which.reshape(len(top))])


def _log_odds(shares: Floats) -> Floats:
    inside = np.clip(shares, 1e-4, 1 - 1e-4)
    return np.asarray(np.log(inside / (1 - inside)))


def _mean(values: Floats) -> Floats:
    known = np.isfinite(values)
    total = np.where(known, values, 0.0).sum(axis=1)
    return np.asarray(total / np.maximum(1, known.sum(axis=1)), dtype=float)
