"""How full a batching engine is while problems wait: tokens over slots times time, in virtual time.

    python -m benchmarks.batch [--problems 200] [--slots 64] [--against CHECKOUT]

The engine says a token of every call that has a slot each tick; other calls wait in line. A run
whose `concurrency` is the number of slots goes through the runner, and what was said before the
last problem began is set against what the engine could have said by then. Samples have 40 to 400
tokens and steps 10 to 60, by seed, so that rounds of a search end unevenly. Scoring takes no time.
Goal: 0.9.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from reasoning.backends.scripted import Scripted
from reasoning.clock import RealClock, VirtualClock
from reasoning.seeds import fold, generator
from reasoning.tree import Sample
from reasoning.verify import Verifier

GOAL = 0.9
STRATEGIES: list[dict[str, Any]] = [
    {"searcher": "self_consistency", "n": 16},
    {"searcher": "beam_search", "width": 4, "expansions": 4},
    {"searcher": "particle_filter", "n": 16},
]


class Shared(RealClock):
    """One virtual time for all problems, as they share an engine."""

    def __init__(self) -> None:
        time = VirtualClock()
        self.now = time.now  # type: ignore[method-assign]
        self.sleep = time.sleep  # type: ignore[method-assign]
        self.call_later = time.call_later  # type: ignore[method-assign]


class Engine(Scripted):
    """`slots` calls at a time, first come first served; `spans` are when each had its slot."""

    def __init__(self, slots: int) -> None:
        super().__init__(["not asked"])
        self.time = Shared()
        self.spans: list[tuple[float, float]] = []
        self.begun: dict[str, float] = {}
        self._free = asyncio.Semaphore(slots)

    def clock(self, problem: Any) -> Any:
        return self.time

    async def generate(self, prompt: Any, params: Any, *, seed: int, meter: Any) -> Sample:
        self.begun.setdefault(prompt.problem.id, self.time.now())
        sample = _step(prompt, seed) if params.stop else _whole(seed)
        async with self._free:
            start = self.time.now()
            await self.time.sleep(float(sample.generated_tokens))
            self.spans.append((start, self.time.now()))
        meter(sample.generated_tokens)
        return sample

    def efficiency(self, slots: int) -> float:
        """Up to when the last problem began."""
        end = max(self.begun.values())
        return sum(min(end, b) - a for a, b in self.spans if a < end) / (slots * end)


def _whole(seed: int) -> Sample:
    size = int(generator(seed).integers(40, 400))
    return Sample(f"\\boxed{{{seed % 3}}}", finish="end", generated_tokens=size)


def _step(prompt: Any, seed: int) -> Sample:
    rng = generator(seed)
    last = prompt.parent.depth >= 3 + fold(0, prompt.problem.id) % 4
    text, finish = (f"\\boxed{{{seed % 3}}}", "end") if last else (f"step {seed}\n\n", "stop")
    return Sample(text, finish=finish, generated_tokens=int(rng.integers(10, 60)))  # type: ignore[arg-type]


class Verdict(Verifier):
    """A number of the text."""

    name = "verdict"

    async def score(self, problem: Any, node: Any, *, meter: Any) -> tuple[float, ...]:
        return (fold(0, node.sample.text) / 2**63,)


def verdict() -> Verdict:
    """For the recipe."""
    return Verdict()


def measure(strategy: dict[str, Any], problems: int, slots: int) -> float:
    """The efficiency of one strategy, in this version or an earlier one."""
    try:
        from reasoning.runs.recipe import parse
        from reasoning.runs.run import run
    except ImportError:
        from reasoning.recipe import parse  # type: ignore[import-not-found, no-redef]
        from reasoning.runner import run  # type: ignore[import-not-found, no-redef]
    import reasoning.backends.scripted as scripted

    engine = Engine(slots)
    scripted.scripted = lambda: engine  # type: ignore[assignment]
    recipe = {
        "task": {"name": "nano", "n": problems},
        "generator": "scripted",
        "verifier": "benchmarks.batch:verdict",
        "strategies": [strategy],
        "concurrency": slots,
        "sampling": {"max_tokens": 512},
    }
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(run(parse(recipe), Path(folder) / "run"))
    return engine.efficiency(slots)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--problems", type=int, default=200)
    parser.add_argument("--slots", type=int, default=64)
    parser.add_argument("--against", help="A checkout of another version, to be measured too.")
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    root = Path(__file__).resolve().parent.parent
    if asked.one is not None:
        print(json.dumps(measure(STRATEGIES[asked.one], asked.problems, asked.slots)))
        return
    sizes = ["--problems", str(asked.problems), "--slots", str(asked.slots)]
    trees = {"": root, **({", theirs": Path(asked.against).resolve()} if asked.against else {})}
    missed = False
    for number, strategy in enumerate(STRATEGIES):
        told = f"{strategy['searcher']:18}"
        for name, tree in trees.items():
            found = _measured(tree, [*sizes, "--one", str(number)])
            told += f"{name} {found:.3f}" if found is not None else f"{name} none"
            missed |= not name and (found or 0.0) < GOAL
        print(told, flush=True)
    print(f"goal {GOAL}: {'MISSED' if missed else 'met'}")


def _measured(tree: Path, options: list[str]) -> float | None:
    done = subprocess.run(
        [sys.executable, "-P", __file__, *options],
        env={**os.environ, "PYTHONPATH": f"{tree}{os.pathsep}{Path(__file__).parent.parent}"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        print(done.stderr.strip().splitlines()[-1], file=sys.stderr)
        return None
    return float(json.loads(done.stdout.splitlines()[-1]))


if __name__ == "__main__":
    main()
