"""A preset for each problem (DiffAdapt, 2025, arXiv:2510.19669), told by its first samples.

The presets are strategies of one run, which differ in how they sample: temperature, a limit of
tokens, a prompt. The first samples are the first preset's, are looked at, and keep their votes;
what comes then is the preset, and so many samples of it, that pays in the problem's bin.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from evals.control.fit import PRICES, told, verdict
from evals.control.forms import BINS, signals_for
from evals.replay.evaluate import permutations
from evals.replay.samples import Stored
from evals.replay.sources import aligned
from evals.replay.strategies import everything, looked, picked
from evals.statistics.intervals import accuracy
from evals.statistics.paired import paired_difference
from reasoning.aggregators.ballots import Floats, Ints
from reasoning.errors import RecipeError
from reasoning.runs.names import bind_aggregator
from reasoning.runs.store import Store
from searchers.kernels.policy import Bound, Known, Policy, Preset, Route

START = 2
"""First samples, as many as the paper's training-free cousin would probe."""


@dataclass(frozen=True, slots=True)
class Options:
    """What each option, a preset and a number of its samples, is worth on every problem.

    `right` and `tokens` are [problems, orders, options], first samples included; `signals`
    [problems, orders] are those of the first samples.
    """

    problems: tuple[str, ...]
    options: tuple[Preset, ...]
    right: Floats
    tokens: Floats
    signals: Mapping[str, Floats]

    def of(self, rows: Sequence[int]) -> Options:
        return replace(
            self,
            problems=tuple(self.problems[i] for i in rows),
            right=self.right[rows],
            tokens=self.tokens[rows],
            signals={name: table[rows] for name, table in self.signals.items()},
        )


def presets_of(folder: Path, names: Sequence[str]) -> list[Preset]:
    """How these strategies of a run sample. Raises RecipeError for what is no such strategy."""
    summary = Store(folder).read_json("summary.json")
    if summary is None:
        raise RecipeError(f"--preset names strategies of a finished run, and {folder} is none")
    entries = {entry["name"]: entry for entry in summary["strategies"]}
    found = []
    for name in names:
        entry = entries.get(name)
        if entry is None:
            raise RecipeError(f"{folder} has no strategy {name!r}; there are {', '.join(entries)}")
        params = {**entry["params"], **entry.get("sweep", {})}
        sampling = {
            key: params.get(f"sampling.{key}") if params.get(key) is None else params[key]
            for key in ("temperature", "max_tokens")
        }
        prompt = prompt_of(name, params) if entry["searcher"] == "variants" else None
        found.append(Preset(name=name, samples=0, prompt=prompt, **sampling))
    return found


def prompt_of(name: str, params: Mapping[str, Any]) -> str:
    """The one prompt that a strategy of `variants` deals. Raises RecipeError if there are more."""
    prompts: Sequence[str] = params.get("prompts") or ()
    if len(prompts) != 1 or params.get("preset") or params.get("solicit"):
        raise RecipeError(
            f"{name} deals several prompts, and a preset has one: give each a strategy of its own, "
            "say {searcher: variants, n: 8, prompts: ['{question} Be brief.']}"
        )
    return prompts[0]


def options_of(
    folder: Path, names: Sequence[str], chooser: str, *, orders: int, seed: int
) -> Options:
    """The options that a run's strategies give. Raises RecipeError for fewer than two presets."""
    presets = presets_of(folder, names)
    if len(presets) < 2:
        raise RecipeError(
            "--preset names two strategies or more of the run, that to begin with first"
        )
    rows = aligned(folder, names)
    n = min(len(samples) for parts in rows.values() for samples in parts)
    sizes = [k for k in (0, 1, 2, 4, 8, 16, 32) if k <= n - START]
    if not sizes:
        raise RecipeError(f"presets need {START} samples a problem and more, and there are {n}")
    options = [replace_samples(p, k) for p in presets for k in sizes if k or p is presets[0]]
    right, tokens, signals = [], [], []
    for problem, parts in rows.items():
        found = _of(problem, parts, [p.name for p in presets], options, chooser, orders, seed)
        right.append(found[0])
        tokens.append(found[1])
        signals.append(found[2])
    return Options(
        tuple(rows),
        tuple(options),
        np.stack(right),
        np.stack(tokens),
        {name: np.stack([s[name] for s in signals]) for name in signals[0]},
    )


def replace_samples(preset: Preset, samples: int) -> Preset:
    return preset.model_copy(update={"samples": samples})


def _of(
    problem: str,
    parts: Sequence[Sequence[Any]],
    names: Sequence[str],
    options: Sequence[Preset],
    chooser: str,
    orders: int,
    seed: int,
) -> tuple[Floats, Floats, dict[str, Floats]]:
    """One problem's right and tokens [orders, options], and the signals of its first samples."""
    starts = np.cumsum([0, *map(len, parts)])
    whole = Stored(problem, [s for samples in parts for s in samples])
    places = {
        name: permutations(Stored(f"{problem} {name}", list(samples)), orders, seed)[1:] + at
        for name, samples, at in zip(names, parts, starts[:-1], strict=True)
    }
    first = places[names[0]][:, :START]
    grades = np.append(whole.grades(), 0.0)
    right, tokens = [], []
    for option in options:
        skip = START if option.name == names[0] else 0
        row = np.hstack([first, places[option.name][:, skip : skip + option.samples]])
        drawn = whole.ordered(row)("last")
        emitted = everything(drawn, [row.shape[1]]).emitted
        right.append(grades[picked(emitted, (bind_aggregator(chooser),))])
        tokens.append(drawn.costs.sum(axis=1))
    seen = looked(whole.ordered(first)("last"), START)
    return np.stack(right, axis=1), np.stack(tokens, axis=1), seen


def route(found: Options, budget: float, known: set[Known]) -> tuple[Route, float]:
    """The bins of the best signal, with an option each, that make most of the budget; its price.

    Raises RecipeError where the first samples alone cost more.
    """
    best: tuple[float, float, Route, float] | None = None
    for name in signals_for(known):
        edges, where = _bins(found.signals[name])
        value, cost, share = (_by_bin(x, where, len(edges) + 1) for x in
                              (found.right, found.tokens, np.ones_like(found.right)))  # fmt: skip
        weight = share[:, 0] / share[:, 0].sum()
        value, cost = value / np.maximum(share, 1), cost / np.maximum(share, 1)
        for price in (0.0, *PRICES.tolist()):
            picks = (value - price * cost).argmax(axis=1)
            each = np.arange(len(picks))
            spent, gained = float(weight @ cost[each, picks]), float(weight @ value[each, picks])
            if spent <= budget * (1 + 1e-9) and (best is None or (gained, -spent) > best[:2]):
                rule = Route(signal=name, edges=edges, options=tuple(picks.tolist()))
                best = gained, -spent, rule, price
    if best is None:
        raise RecipeError(
            f"{budget:,.0f} tokens do not pay for {START} samples a problem; set --tokens to more "
            "(it is a quarter of what the dearest preset costs unless it is set)"
        )
    return best[2], best[3]


def _bins(seen: Floats) -> tuple[tuple[float, ...], Ints]:
    cuts = np.unique(np.quantile(seen, np.linspace(0, 1, BINS + 1)[1:-1])).tolist()
    edges = tuple(e for e in cuts if e > seen.min())
    return edges, np.searchsorted(edges, seen, side="right")


def _by_bin(table: Floats, where: Ints, n: int) -> Floats:
    found = np.zeros((n, table.shape[2]))
    np.add.at(found, where.ravel(), table.reshape(-1, table.shape[2]))
    return found


def taken_by(found: Options, rule: Route) -> tuple[Floats, Floats]:
    """Right and tokens [problems] where each order follows the rule."""
    picks = rule.choose(found.signals)[:, :, None]
    right, tokens = (
        np.take_along_axis(x, picks, axis=2)[:, :, 0].mean(axis=1)
        for x in (found.right, found.tokens)
    )
    return right, tokens


def fixed(found: Options, budget: float) -> int:
    """The option that is right oftenest for all within the budget; the cheapest if none is."""
    cost, value = found.tokens.mean(axis=(0, 1)), found.right.mean(axis=(0, 1))
    able = np.flatnonzero(cost <= budget * (1 + 1e-9))
    return int(able[value[able].argmax()]) if len(able) else int(cost.argmin())


def judged(
    pairs: Sequence[tuple[Options, Options]], budget: float, known: set[Known], seed: int
) -> dict[str, Any]:
    """What routes fitted to the first of each pair are worth on the second, as plain JSON values.

    The fixed option is the best where it was fitted of those that cost no more than the route does
    there; the oracle takes each problem's best option, the cheapest of equals.
    """
    right, tokens, other, cost, ideal, paid = ([] for _ in range(6))  # type: ignore[var-annotated]
    for fitting, judging in pairs:
        rule, _ = route(fitting, budget, known)
        mine = taken_by(judging, rule)
        rival = fixed(fitting, float(taken_by(fitting, rule)[1].mean()))
        value, spent = judging.right.mean(axis=1), judging.tokens.mean(axis=1)
        best = (value - 1e-9 * spent).argmax(axis=1)
        each = np.arange(len(best))
        for x, y in zip(
            (right, tokens, other, cost, ideal, paid),
            (*mine, value[:, rival], spent[:, rival], value[each, best], spent[each, best]),
            strict=True,
        ):
            x.extend(y.tolist())
    gain = paired_difference(other, right, seed=seed)
    return {
        "problems": len(right),
        "accuracy": told(accuracy(right, seed=seed)),
        "tokens": float(np.mean(tokens)),
        "fixed": {
            "accuracy": float(np.mean(other)),
            "tokens": float(np.mean(cost)),
            "gain": told(gain),
            "verdict": verdict(gain),
        },
        "oracle": {
            "accuracy": float(np.mean(ideal)),
            "tokens": float(np.mean(paid)),
            "regret": told(paired_difference(right, ideal, seed=seed)),
        },
    }


def policy_for(found: Options, budget: float, known: set[Known], bound: Bound) -> Policy:
    """The policy of these options, which draws the first samples and then what its route says."""
    rule, price = route(found, budget, known)
    base = found.options[0]
    return Policy(
        form="presets",
        start=START,
        first=replace_samples(base, START),
        presets=found.options,
        route=rule,
        price=price,
        bound=bound,
    )
