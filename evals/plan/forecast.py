"""What a whole run will cost, from a pilot: each strategy, and all of them together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from evals.plan.draws import Counts, Estimate, Floats, counts, estimate
from evals.plan.law import Law
from evals.plan.pace import Pace
from evals.plan.schedule import makespan
from evals.report.load import load
from evals.report.numbers import cost_of
from reasoning.runs.pilot import Pilot

FIELDS = (
    "calls",
    "generated_tokens",
    "prompt_tokens",
    "cached_tokens",
    "verifier_calls",
    "verifier_tokens",
    "critical_tokens",
    "seconds",
    "money",
    "flops",
)
"""What is told of a strategy: totals over all problems, in units of `Usage`; `critical_tokens` is
the mean of a problem, as in a summary."""

PAID = ("calls", "generated_tokens", "prompt_tokens", "cached_tokens")
RESAMPLES, TIMED = 1000, 100
"""Bootstrap samples of totals, and of the time of a run, each of which is simulated."""


@dataclass(frozen=True, slots=True)
class Forecast:
    """What a run of `problems` problems costs, seen from `seen` of them.

    `run` is what is really paid where strategies share samples, `seconds` real time from start to
    end (on the problems' own clocks, if those are virtual). `otherwise` is the seconds of a run
    with more at once, more replicas, or the longest problems first.
    """

    name: str
    task: str
    problems: int
    seen: int
    concurrency: int
    virtual: bool
    law: Law
    strategies: dict[str, dict[str, Estimate]]
    run: dict[str, Estimate]
    otherwise: dict[str, float]
    notes: list[str]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "name": self.name,
            "task": self.task,
            "problems": self.problems,
            "pilot": self.seen,
            "concurrency": self.concurrency,
            "virtual_seconds": self.virtual,
            "strategies": {
                name: {field: found.to_json() for field, found in row.items()}
                for name, row in self.strategies.items()
            },
            "run": {field: found.to_json() for field, found in self.run.items()},
            "otherwise": self.otherwise,
            "notes": self.notes,
            "law": {name: getattr(self.law, name) for name in Law.__slots__},
        }


def forecast(pilot: Pilot, *, gpus: int | None = None, seed: int = 0) -> Forecast:
    """What the run costs that `pilot` has done a few problems of; GPU hours if `gpus` are told."""
    ids = [problem.id for problem in pilot.problems]
    total, seen = len(pilot.todo.problems), len(ids)
    weights = counts(seen, total, RESAMPLES, seed)
    pace, tables = Pace.of(pilot), _strategies(pilot, ids)
    slots = min(pace.problems_at_once(pilot.todo.recipe.concurrency), total)
    if not pilot.virtual and not pilot.todo.shared:
        slower = pace.table(slots)[:, -1] / np.maximum(pace.spans, 1e-12)
        for table in tables.values():
            table["seconds"] = table["seconds"] * slower
    rows: dict[str, dict[str, Estimate]] = {}
    for name, table in tables.items():
        rows[name] = {field: _total(column, weights, total) for field, column in table.items()}
        rows[name]["critical_tokens"] = rows[name]["critical_tokens"].times(1 / total)
    run = {f: _total(c, weights, total) for f, c in _paid(pilot, ids, tables).items()}
    run["seconds"] = _seconds(pace, weights[:TIMED], slots, seed)
    if gpus is not None:
        run["gpu_hours"] = run["seconds"].times(gpus / 3600)
    return Forecast(
        pilot.todo.recipe.name,
        pilot.todo.task.name,
        total,
        seen,
        slots,
        pilot.virtual,
        pace.law,
        rows,
        run,
        _otherwise(pace, slots, total),
        list(pilot.todo.notes),
    )


def _strategies(pilot: Pilot, ids: list[str]) -> dict[str, dict[str, Floats]]:
    """A column of each field for each strategy, a value a problem; unknown ones are left out."""
    found: dict[str, dict[str, Floats]] = {}
    usages = {(r["strategy"], r["problem"]): r["usage"] for r in pilot.store.results()}
    stored = {s.name: s for s in load([pilot.store.folder]).strategies}
    for name in (s.name for s in pilot.todo.strategies):
        rows = [usages[name, problem] for problem in ids]
        columns = {
            f: [row.get(f, 0) for row in rows] for f in FIELDS if f not in ("money", "flops")
        }
        columns["money"] = [row.get("money") for row in rows]
        columns["flops"] = [cost_of(stored[name], stored[name].rows[p], "flops") for p in ids]
        known = {f: column for f, column in columns.items() if None not in column}
        found[name] = {f: np.asarray(column, dtype=float) for f, column in known.items()}
    return found


def _paid(pilot: Pilot, ids: list[str], tables: dict[str, dict[str, Floats]]) -> dict[str, Floats]:
    """What is really paid for: with shared samples every call once, whoever asks for it.

    Money and operations of all strategies together shrink as their tokens do.
    """
    made: dict[str, Floats] = {field: np.zeros(len(ids)) for field in PAID}
    place = {problem: i for i, problem in enumerate(ids)}
    for call in pilot.calls:
        i = place[call.problem]
        made["calls"][i] += 1
        for field in PAID[1:]:
            made[field][i] += getattr(call, field)
    asked = sum(_tokens(table) for table in tables.values())
    share = np.divide(_tokens(made), asked, out=np.ones(len(ids)), where=np.asarray(asked) > 0)
    for field in ("verifier_calls", "verifier_tokens", "money", "flops"):
        columns = [table[field] for table in tables.values() if field in table]
        if len(columns) == len(tables):
            whole = np.sum(columns, axis=0)
            cheaper = pilot.todo.shared and not field.startswith("verifier")
            made[field] = whole * np.minimum(share, 1) if cheaper else whole
    return made


def _tokens(table: dict[str, Floats]) -> Floats:
    return table["generated_tokens"] + table["prompt_tokens"]


def _total(column: Floats, weights: Counts, total: int) -> Estimate:
    value = float(column.sum() + (total - len(column)) * column.mean())
    return estimate(value, weights @ column, len(column))


def _seconds(pace: Pace, weights: Counts, slots: int, seed: int) -> Estimate:
    """The time of a run, whose problems stand in an order that nobody knows."""
    rng, table = np.random.default_rng(seed), pace.table(slots)
    walls = [
        makespan(table, rng.permutation(np.repeat(np.arange(len(row)), row))) for row in weights
    ]
    found = np.asarray(walls) + pace.start
    return estimate(float(found.mean()), found, weights.shape[1])


def _otherwise(pace: Pace, slots: int, total: int) -> dict[str, float]:
    """The seconds of the run if it were run another way, each problem of the pilot as often."""
    seen = len(pace.spans)
    kinds = np.arange(total) % seen

    def wall(slots: int, replicas: int = 1, *, longest_first: bool = False) -> float:
        table = pace.table(min(slots, total), replicas)
        order = kinds[np.argsort(-table[kinds, -1], kind="stable")] if longest_first else kinds
        return pace.start + makespan(table, order)

    return {
        "as it is": wall(slots),
        "longest problems first": wall(slots, longest_first=True),
        "twice as many problems at once": wall(2 * slots),
        "half as many problems at once": wall(max(1, slots // 2)),
        **(
            {}
            if pace.virtual
            else {
                "two replicas": wall(slots, 2),
                "two replicas, twice as many at once": wall(2 * slots, 2),
            }
        ),
    }
