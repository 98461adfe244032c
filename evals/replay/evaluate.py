"""Replay strategies on stored samples: no model, every budget, many orders, in one go.

Every strategy that stored samples can support is evaluated at every budget (number of samples), in
the stored order and in seeded permutations of each problem's samples. docs/offline.md explains.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np

from evals.replay.processes import Task, each, wanted
from evals.replay.samples import REDUCTIONS, Recording, Stored
from evals.replay.sources import Watch
from evals.replay.strategies import (
    DRAWS,
    FITTED,
    SIZES,
    STRATEGIES,
    Chosen,
    Need,
    Offline,
    bound,
)
from evals.statistics.calibration import auroc_interval, brier, ece, reliability
from evals.statistics.compute import pareto
from evals.statistics.curves import (
    Samples,
    at_k_curve,
    fit_coverage_table,
    log_spaced,
    powers_of_two,
)
from evals.statistics.equal_compute import Points, at_equal_cost
from evals.statistics.intervals import Floats, column_means
from reasoning.aggregators.ballots import Ints
from reasoning.chain import Stage, asks
from reasoning.errors import RecipeError, unknown
from reasoning.runs import names
from reasoning.seeds import generator
from reasoning.verify import reduce_steps
from searchers.kernels.policy import Policy

BASELINE = "self_consistency"
ENOUGH = 0.95
"""The share of samples that must have scores, or the like, for strategies that need them."""

REFUSALS: Mapping[Need, str] = {
    "tokens": "token counts, which decide who wins a race",
    "score": "scores of a verifier",
    "logprob": "token log-probabilities",
    "confidence": "token confidences (sampling.confidence_k when generating)",
}


MEANS = ("values", "samples", "tokens", "serial")


@dataclass(frozen=True, slots=True)
class Replayed:
    """One strategy on all problems; arrays are [problems, budgets] but `by_order`.

    `values` is the share of orders with a right answer, `stored` whether it is right in the stored
    order; `samples`, `tokens` and `serial` are means over orders. `by_order` [orders, budgets] is
    the accuracy in each permutation.
    """

    strategy: Chosen
    budgets: tuple[int, ...]
    values: Floats
    stored: Floats
    samples: Floats
    tokens: Floats
    serial: Floats
    by_order: Floats


# ----------------------------------------------------------------------------------- strategies


def choose(labels: Sequence[str]) -> list[Chosen]:
    """The strategies of these labels, such as `short_m_at_k-m=1`. Raises RecipeError."""
    found = [_chosen(label) for label in dict.fromkeys(labels)]
    if not found:
        raise RecipeError(f"name a strategy to replay, one of {', '.join(sorted(STRATEGIES))}")
    return found


def supported(
    strategies: Sequence[Chosen], recording: Recording
) -> tuple[list[Chosen], dict[str, str]]:
    """The strategies the samples suffice for, and why not for the others, by label."""
    lacks = missing(recording)
    least = min((x for d in recording.drawn() if d.scored for x in d.steps), default=0.0)
    reasons: dict[str, str] = {}
    for s in strategies:
        if lacking := [lacks[need] for need in s.offline.needs if need in lacks]:
            reasons[s.label] = f"needs {'; '.join(lacking)}"
        elif s.name == "weighted_majority" and least < 0 and _sums(s):
            reasons[s.label] = f"adds up scores, and some are below 0 ({least:g}): logits? --logit"
        elif not s.budgets([recording.n]) and not s.offline.most:
            reasons[s.label] = f"needs more samples a problem than the {recording.n} there are"
    return [s for s in strategies if s.label not in reasons], reasons


def _sums(strategy: Chosen) -> bool:
    """Whether a weighted vote adds up the scores as they are."""
    return bool(strategy.params.get("scale", "none") == "none")


def missing(recording: Recording) -> dict[Need, str]:
    """What too few samples have, with the count."""
    drawn = list(recording.drawn())
    have: dict[Need, int] = {
        "tokens": sum(d.tokens is not None and not d.guessed for d in drawn),
        "score": sum(bool(d.steps) for d in drawn),
        "logprob": sum(d.logprob is not None for d in drawn),
        "confidence": sum(d.confidence is not None for d in drawn),
    }
    return {
        need: f"{REFUSALS[need]}; {count:,} of {len(drawn):,} samples have any"
        + (
            f", those of --samples-of {recording.scored[-1]} do"
            if need == "score" and recording.scored
            else ""
        )
        for need, count in have.items()
        if count < (1.0 if need == "tokens" else ENOUGH) * len(drawn)
    }


def default_labels(recording: Recording) -> list[str]:
    """Every strategy; reductions other than `last` only where samples have several scores."""
    labels: list[str] = []
    stepwise = any(len(d.steps) > 1 for d in recording.drawn())
    for name in STRATEGIES:
        labels.append(name)
        if stepwise and name in ("best_of_n", "weighted_majority"):
            labels += [f"{name}-reduction={r}" for r in REDUCTIONS if r != "last"]
    return labels


def _chosen(label: str) -> Chosen:
    name, *settings = re.split(r"-(?=[a-z_]+=)", label)
    offline = _offline(name)
    given = dict(setting.split("=", 1) for setting in settings)
    searcher = names.find("searcher", offline.searcher)
    aggregator = offline.aggregator or names.default_aggregator(searcher)
    voter = names.find("aggregator", aggregator)
    size = SIZES.get(offline.searcher, "n")
    known = {
        # What else a searcher does (say, with temperatures) is done to the samples already.
        "searcher": set(names.parameters(searcher))
        & set(names.parameters(DRAWS[offline.searcher])),
        "aggregator": set(names.parameters(voter)),
        "replay": {"reduction"} if "score" in offline.needs else set(),
    }
    for key in given:
        if not any(key in keys for keys in known.values()):
            raise RecipeError(unknown(f"parameter of {name}", key, set().union(*known.values())))

    def part(function: Any, owner: str, **more: Any) -> dict[str, Any]:
        mine = {k: v for k, v in given.items() if k in known[owner]}
        values = names.defaults(function) | names.checked(function, {**mine, **more})
        return {k: v for k, v in values.items() if k in known[owner]}

    drawing = part(searcher, "searcher", **({size: 1_000_000} if size else {}))
    voting = part(voter, "aggregator")
    policies = {key: value for key, value in drawing.items() if isinstance(value, Policy)}
    for policy in policies.values():
        offline = offline._replace(needs=("tokens", *sorted(policy.needs)))
    reducing = {"reduction": given.get("reduction", "last")} if known["replay"] else {}
    for reduction in reducing.values():
        reduce_steps((0.0,), reduction)  # type: ignore[arg-type]  # raises for a word that is none
    last = names.bind_aggregator(names.default_aggregator(searcher))
    return Chosen(
        label,
        name,
        offline,
        {**drawing, **voting, **reducing, **{key: given[key] for key in policies}},
        bound(DRAWS[offline.searcher], drawing),
        (names.bind_function(voter, voting), last),
    )


def _needs(aggregator: Any) -> tuple[Need, ...]:
    stage = Stage("aggregator", aggregator)
    if stage.says("SCORES"):
        return ("score",)
    return _READ.get(stage.says("READS"), ())


_READ: Mapping[str | None, tuple[Need, ...]] = {
    "logprobs": ("logprob",),
    "confidence": ("confidence",),
}
"""What samples must have for an aggregator whose file says that it READS so."""


def _offline(name: str) -> Offline:
    """The strategy of that name, or the aggregator's of that name over all samples."""
    if name in STRATEGIES or name in FITTED:
        return {**STRATEGIES, **FITTED}[name]
    if ":" not in name and name not in names.known("aggregator"):
        raise RecipeError(
            unknown("strategy to replay", name, {*STRATEGIES, *names.known("aggregator")})
        )
    function = names.find("aggregator", name)
    if asks(function):
        raise RecipeError(f"{name} asks models, and stored samples hold no answers of theirs")
    if Stage("aggregator", function).says("READS") == "text":
        raise RecipeError(
            f"{name} reads the texts of samples, which a replay does not keep; draw them again "
            "with it as the aggregator"
        )
    return Offline("self_consistency", name, _needs(function))


# ----------------------------------------------------------------------------------- replaying


def evaluate(
    recording: Recording,
    strategies: Sequence[Chosen],
    *,
    budgets: Sequence[int] | None = None,
    orders: int = 20,
    seed: int = 0,
    watch: Watch | None = None,
    processes: int | None = None,
) -> list[Replayed]:
    """Every strategy at each of its `budgets` (default: powers of two up to what is stored).

    Samples are permuted `orders` times with a seed of their problem's own: a problem's orders
    depend on nothing but `seed`, its id and how many samples it has. With 0 only the stored order
    counts. `processes` work side by side, by default as many as there are cores where there is
    enough to do; the results do not depend on them. Raises RecipeError for a budget that is not
    there, or that no strategy has.
    """
    asked = powers_of_two(recording.n) if budgets is None else sorted(set(budgets))
    if not asked or not 1 <= asked[0] <= asked[-1] <= recording.n:
        raise RecipeError(f"budgets must be from 1 to {recording.n}, the samples of each problem")
    if orders < 0:
        raise RecipeError(f"orders must be 0 or more, got {orders}")
    sizes = [tuple(s.budgets(asked)) for s in strategies]
    if strategies and not any(sizes):
        has = "; ".join(f"{s.label} has {s.span(recording.n)}" for s in strategies)
        raise RecipeError(f"no strategy has the budget {', '.join(map(str, asked))}: {has}")
    task = Task([s.label for s in strategies], sizes, orders, seed)
    tables = [np.zeros((4, len(recording.problems), max(1, orders), len(b))) for b in sizes]
    stored = [np.zeros((len(recording.problems), len(b))) for b in sizes]
    rest = slice(1, None) if orders else slice(None)
    several = wanted(task, len(recording.problems)) if processes is None else processes
    alone = partial(replayed, strategies=strategies, task=task)
    for i, found in enumerate(each(recording.problems, task, alone, several)):
        for s, table in enumerate(found):
            stored[s][i] = table[0, 0]
            tables[s][:, i] = table[:, rest]
        if watch:
            watch("replaying", i + 1, len(recording.problems))
    return [
        Replayed(
            strategy,
            sizes[s],
            stored=stored[s],
            by_order=tables[s][0].mean(axis=0),
            **dict(zip(MEANS, tables[s].mean(axis=2), strict=True)),
        )
        for s, strategy in enumerate(strategies)
        if sizes[s]
    ]


def replayed(problem: Stored, strategies: Sequence[Chosen], task: Task) -> list[Floats]:
    """One problem: for each strategy whether it is right, then samples, tokens and serial tokens,
    [4, 1 + orders, budgets], the stored order first."""
    places = permutations(problem, task.orders, task.seed)
    samples, grades = problem.ordered(places), np.append(problem.grades(), 0.0)
    found = []
    for strategy, budgets in zip(strategies, task.sizes, strict=True):
        table = np.zeros((4, len(places), len(budgets)))
        for j, outcome in enumerate(strategy(samples, budgets)):
            right = grades[outcome.chosen]  # the last stands for no answer
            table[:, :, j] = right, outcome.samples, outcome.tokens, outcome.serial
        found.append(table)
    return found


def permutations(problem: Stored, orders: int, seed: int) -> Ints:
    """The stored order, then `orders` seeded ones: [1 + orders, samples] of places."""
    places = np.arange(len(problem.samples))
    rng = generator(seed, problem.id, "replay")
    return np.array([places, *(rng.permutation(places) for _ in range(orders))])


# -------------------------------------------------------------------------------------- report


def report(
    recording: Recording,
    results: Sequence[Replayed],
    reasons: Mapping[str, str],
    *,
    orders: int,
    seed: int,
) -> dict[str, Any]:
    """Everything as plain JSON values: rows, comparisons at equal tokens, coverage, verifier."""
    lacks, counted = missing(recording), _tokens_known(recording)
    notes = list(recording.notes)
    if guessed := sum(d.guessed and d.tokens is not None for d in recording.drawn()):
        notes.append(f"tokens of {guessed:,} samples are estimated from their characters")
    if odd := sum(bool(d.steps) and not d.scored for d in recording.drawn()):
        notes.append(f"{odd:,} samples have a score that is no finite number, so none to be used")
    rows = [row for result in results for row in _rows(result, orders, counted)]
    axis = "tokens" if counted else "samples"
    front = pareto([row[axis] for row in rows], [row["accuracy"] for row in rows])
    for i, row in enumerate(rows):
        row["pareto"] = i in front
    return {
        "source": recording.name,
        "problems": len(recording.problems),
        "samples": recording.n,
        "orders": orders,
        "seed": seed,
        "notes": notes,
        "unsupported": dict(reasons),
        "cost": axis,
        "strategies": rows,
        "equal_cost": list(_equal_cost(results, counted)),
        **_coverage(recording),
        "verifier": {} if "score" in lacks else _verifier(recording),
    }


def _rows(result: Replayed, orders: int, counted: bool) -> Iterator[dict[str, Any]]:
    for j, interval in enumerate(column_means(result.values)):
        across = result.by_order[:, j]
        error = across.std(ddof=1) / np.sqrt(orders) if orders > 1 else 0.0
        yield {
            "strategy": result.strategy.label,
            "params": dict(result.strategy.params),
            "n": result.budgets[j],
            "accuracy": interval.value,
            "ci95": [interval.low, interval.high],
            "interval": interval.method,
            "order_error": float(error),
            "stored_order": float(result.stored[:, j].mean()),
            "samples": float(result.samples[:, j].mean()),
            "tokens": float(result.tokens[:, j].mean()) if counted else None,
            "serial_tokens": float(result.serial[:, j].mean()) if counted else None,
        }


def _equal_cost(results: Sequence[Replayed], counted: bool) -> Iterator[dict[str, Any]]:
    """Each strategy against self-consistency, at what its own budgets cost."""

    def points(result: Replayed) -> Points:
        return Points.of(result.values, result.tokens if counted else result.samples)

    base = next((r for r in results if r.strategy.label == BASELINE), None)
    for result in results:
        if base is None or result is base:
            continue
        other = points(result)
        for found in at_equal_cost(points(base), other, other.costs.mean(axis=0).tolist()):
            yield {
                "strategy": result.strategy.label,
                "baseline": BASELINE,
                "cost": found.cost,
                "accuracy": found.b,
                "baseline_accuracy": found.a,
                "difference": found.difference.value,
                "ci95": [found.difference.low, found.difference.high],
            }


def _coverage(recording: Recording) -> dict[str, Any]:
    """pass@k, and the law fitted to it where it can be."""
    problems = [
        Samples([s.key for s in p.samples], [s.correct for s in p.samples])
        for p in recording.problems
    ]
    curve = at_k_curve(problems, "pass")
    found: dict[str, Any] = {
        "pass_at_k": [
            {"k": k, "value": i.value, "ci95": [i.low, i.high]}
            for k, i in zip(curve.ks, curve.intervals(), strict=True)
        ]
    }
    if recording.n >= 8:
        grid = log_spaced(recording.n)
        try:
            law = fit_coverage_table(grid, at_k_curve(problems, "pass", grid).values)
        except ValueError:
            return found
        found["coverage_law"] = asdict(law)
    return found


def _verifier(recording: Recording) -> dict[str, Any]:
    """How far the stored scores tell right from wrong, by reduction."""
    scored = [(p, s) for p in recording.problems for s in p.samples if s.scored]
    correct, owners = [s.correct for _, s in scored], [p.id for p, _ in scored]
    found: dict[str, Any] = {}
    for reduction in REDUCTIONS if any(len(s.steps) > 1 for _, s in scored) else ("last",):
        scores = [x for _, s in scored if (x := s.score(reduction)) is not None]
        area = auroc_interval(scores, correct, owners)
        entry: dict[str, Any] = {"samples": len(scores)}
        if area:
            entry["auroc"] = {"value": area.value, "ci95": [area.low, area.high]}
        if all(0 <= x <= 1 for x in scores):
            bins = reliability(scores, correct)
            entry |= {"ece": ece(bins), "brier": brier(scores, correct)}
            entry["bins"] = [asdict(b) for b in bins]
        found[reduction] = entry
    return found


def _tokens_known(recording: Recording) -> bool:
    return all(d.tokens is not None for d in recording.drawn())
