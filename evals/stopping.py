"""How far the tests of `early_stop` can be believed, from a run that has watched them.

A run with `watch: true` holds, for every cut of every thought, the answer that was tried there and
how sure the test was of it. Cuts of one problem are alike, so intervals resample problems.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

from evals.report.load import StoredStrategy, load
from evals.statistics.calibration import auroc_interval
from reasoning.errors import RecipeError, StoreError, unknown
from reasoning.runs.files import writing

Told = Mapping[str, Any]
_WATCH = (
    "add {searcher: early_stop, test: [agreement, entropy, saturation], watch: true} to its recipe"
)


@dataclass(frozen=True, slots=True)
class Thought:
    """One thought about a problem: the answers at its cuts, in order, and its own in the end."""

    problem: str
    cuts: tuple[Told, ...]
    end: Told

    def at(self, steps: int) -> Told:
        """The answer after so many steps: its own where it ended before. Needs signals of steps."""
        within = [c for c in self.cuts if c["rank"] <= steps]
        longer = any(c["rank"] >= steps for c in self.cuts)
        return within[-1] if within and longer else self.end


def calibrate(run: Path, strategies: Sequence[str] = ()) -> dict[str, Any]:
    """What is known of each test that `run` has watched; only by these strategies, if any.

    "tests" has for each `auroc`, with `low` and `high` (95 %): the chance that the signal is higher
    where the answer is right than where it is wrong, or, `by` "final", where it is the one that the
    whole thought gives and where not, of problems whose answers are not known. Both are in `right`
    and `final`. None where all are alike. Raises RecipeError or StoreError.
    """
    loaded = load([run])
    watched = dict(_watched(loaded.strategies))
    if missing := [name for name in strategies if name not in {s.name for s in watched}]:
        raise RecipeError(unknown("strategy that watches", missing[0], [s.name for s in watched]))
    if not watched:
        raise StoreError(f"no strategy of {run} watches a stopping test: {_WATCH}")
    found: dict[str, Any] = {}
    for strategy, test in watched.items():
        if strategies and strategy.name not in strategies:
            continue
        if test in found:
            raise RecipeError(
                f"{found[test]['strategy']} and {strategy.name} both watch test {test!r}: choose "
                "with --strategy"
            )
        found[test] = {"strategy": strategy.name, **_measured(test, list(_thoughts(strategy)))}
    task = loaded.runs[0].task
    return {"run": str(run), "task": task, "problems": len(loaded.problems), "tests": found}


def write(found: Mapping[str, Any], out: Path) -> None:
    """Write it where `early_stop` reads it as `calibration`. Raises StoreError."""
    with writing(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


def table(found: Mapping[str, Any]) -> Table:
    """The same for a terminal."""
    shown = Table(box=SIMPLE_HEAD, title="signals of stopping tests")
    for name in ("test", "cuts", "right", "AUROC, right", "AUROC, final"):
        shown.add_column(name, justify="left" if name == "test" else "right")
    for test, told in found["tests"].items():
        share = told["right"]["share"]
        right = "" if share is None else f"{share:.2f}"
        shown.add_row(test, str(told["cuts"]), right, *(_told(told[k]) for k in ("right", "final")))
    return shown


def _told(auroc: Mapping[str, float | None]) -> str:
    if auroc["auroc"] is None:
        return "not known"
    return f"{auroc['auroc']:.3f} ({auroc['low']:.2f}-{auroc['high']:.2f})"


def _watched(strategies: Sequence[StoredStrategy]) -> Iterator[tuple[StoredStrategy, str]]:
    """Strategies that watch a test, by what their run says of them."""
    for strategy in strategies:
        entries = (strategy.run.summary or {}).get("strategies") or ()
        told: Told = next((e for e in entries if e.get("name") == strategy.name), {})
        params = told.get("params") or {}
        if told.get("searcher") == "early_stop" and params.get("watch") is True:
            yield strategy, params.get("test", "agreement")


def _thoughts(strategy: StoredStrategy) -> Iterator[Thought]:
    """The thoughts of a strategy: what begins in one slot below the root is one of them."""
    for row in strategy.rows.values():
        slots: dict[int, list[Told]] = defaultdict(list)
        for candidate in strategy.run.result(row).get("candidates") or ():
            if candidate["path"] and isinstance(candidate.get("rank"), float):
                slots[candidate["path"][0]].append(candidate)
        for candidates in slots.values():
            order = sorted(candidates, key=lambda c: len(c["path"]))
            cuts = [c for c in order if c["weight"] == 0]
            for end in (c for c in order if c["weight"] > 0):
                yield Thought(row.problem, tuple(cuts), end)


def _measured(test: str, thoughts: Sequence[Thought]) -> dict[str, Any]:
    """One entry of the file."""
    cuts = [(t, c) for t in thoughts for c in t.cuts if c["key"] is not None]
    right = [(t, c, c["correct"]) for t, c in cuts if c["correct"] is not None]
    final = [(t, c, c["key"] == t.end["key"]) for t, c in cuts]
    told = {"right": _auroc(right), "final": _auroc(final)}
    by = "right" if right else "final"
    return {
        "thoughts": len(thoughts),
        "cuts": len(cuts),
        "by": by,
        **told[by],
        **told,
        "curve": _curve(thoughts) if test == "saturation" else [],
    }


def _auroc(cuts: Sequence[tuple[Thought, Told, bool]]) -> dict[str, float | None]:
    """Of the signals, with its interval; the share of answers that are what is asked for."""
    unknown: dict[str, float | None] = {"auroc": None, "low": None, "high": None, "share": None}
    if not cuts:
        return unknown
    signals, good = [c["rank"] for _, c, _ in cuts], [is_good for *_, is_good in cuts]
    found, share = auroc_interval(signals, good, [t.problem for t, *_ in cuts]), fmean(good)
    if found is None:
        return {**unknown, "share": share}
    return {"auroc": found.value, "low": found.low, "high": found.high, "share": share}


def _curve(thoughts: Sequence[Thought]) -> list[tuple[int, float]]:
    """The accuracy of answers after 1, 2, 4, ... steps; nothing where they are not graded."""
    longest = max((int(c["rank"]) for t in thoughts for c in t.cuts), default=0)
    counts = [2**i for i in range(longest.bit_length())]
    if any(t.end["correct"] is None for t in thoughts):
        return []
    return [(n, fmean(bool(t.at(n)["correct"]) for t in thoughts)) for n in counts]
