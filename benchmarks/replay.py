"""Time and memory of a replay of a large stored run, which is made up here.

    python -m benchmarks.replay [--problems 1319] [--n 64] [--orders 20] [--logprobs 200]

Writes a run's folder as the runner does (results and one tree a problem), then replays every
strategy it supports in a process of its own, so that the peak of memory is the replay's alone.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from reasoning.runs.files import file_name
from reasoning.tree import RolloutTree, Sample


def make(folder: Path, problems: int, n: int, logprobs: int) -> None:
    """A run of best_of_n whose samples have lengths, scores and `logprobs` log-probabilities."""
    trees = folder / "trees" / file_name("best_of_n-n=64")
    trees.mkdir(parents=True)
    rng = np.random.default_rng(0)
    with (folder / "results.jsonl").open("w", encoding="utf-8") as results:
        for number in range(problems):
            skill, candidates = rng.beta(1, 1), []
            tree = RolloutTree(f"p{number}")
            for slot in range(n):
                answer = "0" if rng.random() < skill else str(rng.integers(1, 12))
                tokens = int(rng.lognormal(5.5, 0.4))
                values = rng.exponential(0.3, logprobs).astype(np.float32)
                sample = Sample(
                    f"step\n\n\\boxed{{{answer}}}",
                    generated_tokens=tokens,
                    logprobs=-values if logprobs else None,
                    confidence=values + 2 if logprobs else None,
                )
                node = tree.add(tree.root, slot, sample)
                steps = rng.random(4).round(4).tolist()
                node.scores["prm"], node.emitted = tuple(steps), (1.0, 0.0)
                candidates.append(
                    {
                        "path": [slot],
                        "answer": answer,
                        "key": answer,
                        "correct": answer == "0",
                        "weight": 1.0,
                        "rank": 0.0,
                        "steps": steps,
                    }
                )
            (trees / f"p{number}.jsonl").write_text(tree.to_jsonl(), encoding="utf-8")
            line = {
                "problem": f"p{number}",
                "strategy": "best_of_n-n=64",
                "answer": "0",
                "correct": True,
                "candidates": candidates,
                "usage": {"cancelled_calls": 0},
            }
            results.write(json.dumps(line) + "\n")


def measure(folder: Path, orders: int) -> None:
    """Replay `folder`; what it took."""
    from evals.replay.show import main

    start, cpu = time.perf_counter(), time.process_time()
    main(folder, orders=orders, out=folder / "replay")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(
        f"{time.perf_counter() - start:.1f} s, of which {time.process_time() - cpu:.1f} s on the "
        f"processor; peak memory {peak:.2f} GiB"
    )


def cli() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    for name, value in {"problems": 1319, "n": 64, "orders": 20, "logprobs": 200}.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.folder:
        measure(Path(asked.folder), asked.orders)
        return
    with tempfile.TemporaryDirectory() as folder:
        make(Path(folder), asked.problems, asked.n, asked.logprobs)
        command = [sys.executable, "-m", "benchmarks.replay", "--folder", folder]
        subprocess.run([*command, "--orders", str(asked.orders)], check=True)


if __name__ == "__main__":
    cli()
