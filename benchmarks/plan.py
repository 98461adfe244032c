"""Plans beside the runs they foretell: for each recipe what was told, what it cost, and the ratio.

`scripted` at three speeds, whose time is virtual, and the embedded model in real time. A run's
seconds on virtual clocks are those of its searches, scheduled as the plan says: only for the
embedded model is the time of the whole run measured. Goal: ratios from 0.8 to 1.25.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from collections.abc import Iterator
from typing import Any

from evals.plan.forecast import Forecast, forecast
from reasoning.runs import run as runner
from reasoning.runs.pilot import pilot
from reasoning.runs.recipe import Recipe, parse

STRATEGIES: dict[str, list[dict[str, Any]]] = {
    "best of 8": [{"searcher": "best_of_n", "n": 8}],
    "beam search": [{"searcher": "beam_search", "width": 2, "expansions": 4}],
    "a vote and a race, shared": [
        {"searcher": "self_consistency", "n": [4, 8]},
        {"searcher": "first_finish", "n": 4},
    ],
}
SPEEDS = {"fast": (0.05, 0.002), "middling": (0.3, 0.02), "slow": (1.5, 0.1)}
"""Seconds to the first token, and for each."""


def recipes(problems: int) -> Iterator[tuple[str, Recipe]]:
    """What is foretold, by name."""
    for what, strategies in STRATEGIES.items():
        common = {"task": {"name": "nano", "n": problems}, "strategies": strategies}
        for speed, (delay, token) in SPEEDS.items():
            generator = {"name": "scripted", "delay": delay, "token_seconds": token}
            step = {"max_tokens": 8}
            data = {**common, "generator": generator, "verifier": "oracle", "step": step}
            yield f"scripted, {speed}: {what}", parse(data)
        yield (
            f"nano: {what}",
            parse({**common, "generator": "nano", "verifier": "nano_prm", "concurrency": 16}),
        )


async def foretold(recipe: Recipe, problems: int) -> tuple[Forecast, dict[str, Any], float]:
    """The plan, the summary of the run, and how long that took."""
    with tempfile.TemporaryDirectory() as first, tempfile.TemporaryDirectory() as second:
        seen = await pilot(recipe, first, problems=problems, watch=lambda progress: None)
        told = forecast(seen)
        start = time.perf_counter()
        summary = await runner.run(recipe, second)
        return told, summary, time.perf_counter() - start


def rows(
    told: Forecast, summary: dict[str, Any], wall: float
) -> Iterator[tuple[str, float, float, bool]]:
    """What was told and what was measured of each number, and whether its interval held."""
    for field in ("calls", "generated_tokens", "critical_tokens", "seconds"):
        pairs = [(told.strategies[s["name"]][field], s[field]) for s in summary["strategies"]]
        held = all(t.low is not None and t.low <= x <= (t.high or x) for t, x in pairs)
        yield field, sum(t.value for t, _ in pairs), sum(x for _, x in pairs), held
    if not told.virtual:
        run = told.run["seconds"]
        held = run.low is not None and run.low <= wall <= (run.high or wall)
        yield "seconds of the run", run.value, wall, held


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--problems", type=int, default=60)
    options.add_argument("--pilot", type=int, default=8)
    options.add_argument("--only", default="", help="recipes whose name has this in it")
    chosen = options.parse_args()
    within, total = 0, 0
    for name, recipe in recipes(chosen.problems):
        if chosen.only not in name:
            continue
        print(name, flush=True)
        for field, told, cost, held in rows(*asyncio.run(foretold(recipe, chosen.pilot))):
            ratio = told / cost if cost else 1.0
            within, total = within + (0.8 <= ratio <= 1.25), total + 1
            print(
                f"  {field:20} told {told:12,.1f}  cost {cost:12,.1f}  ratio {ratio:5.2f}  "
                f"{'in' if held else 'outside'} the interval",
                flush=True,
            )
    print(f"{within} of {total} within 20 %")


if __name__ == "__main__":
    main()
