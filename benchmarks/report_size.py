"""Time, memory and size of summary and report of a large run: 1,319 problems, 64 samples each.

    python -m benchmarks.report_size [--problems 1319] [--against CHECKOUT]

Makes a synthetic run folder (about 0.3 GB a strategy, removed afterwards), and sums it up and
writes its report in a process of its own: with --against by the code of that checkout, too.
Goals: under 60 s of CPU time, 4 GB of memory; a tenth of the time of e2db654.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
from pathlib import Path

from reasoning.runs.store import Store

STEP = "Then {a} times {b} is {c}, so that many are left over when the others have gone.\n\n"
MANIFEST = {"run": {"name": "synthetic", "task": {"name": "synthetic"}}}


Solution = tuple[str, list[float]]


def solutions(count: int, rng: random.Random) -> list[Solution]:
    """The rest of a tree's line, less its path and answer, and the scores of its steps."""
    found = []
    for _ in range(count):
        steps = [
            STEP.format(a=rng.randrange(99), b=rng.randrange(99), c=rng.randrange(9999))
            for _ in range(rng.randrange(3, 9))
        ]
        tokens = sum(map(len, steps)) // 3
        scores = [round(rng.random(), 5) for _ in steps]
        line = {
            "finish": "end",
            "prompt_tokens": 120,
            "generated_tokens": tokens,
            "token_ids": [rng.randrange(150_000) for _ in range(tokens)],
            "logprobs": [round(-rng.random(), 5) for _ in range(tokens)],
            "scores": {"prm": scores},
            "weight": 1.0,
            "rank": 0.0,
            "text": "".join(steps),
        }
        found.append((json.dumps(line)[1:-2], scores))
    return found


def result(problem: int, strategy: str, n: int, pool: list[Solution]) -> tuple[str, str]:
    """One line of results.jsonl and its tree's file."""
    rng = random.Random(f"{problem} {strategy}")
    name, difficulty = f"p{problem}", rng.random()
    tree = [json.dumps({"problem": name, "seed": 0})]
    candidates = []
    for slot in range(n):
        right = rng.random() > difficulty
        answer = str(problem if right else rng.randrange(20))
        rest, steps = rng.choice(pool)
        tree.append(f'{{"path": [{slot}], {rest}{slot} of {name}: \\\\boxed{{{answer}}}"}}')
        candidates.append(
            {"path": [slot], "answer": answer, "key": answer, "correct": right}
            | {"weight": 1.0, "rank": 0.0, "steps": steps}
        )
    zero = "wasted_tokens cached_tokens failed_calls cancelled_calls retried_calls"
    usage: dict[str, float] = dict.fromkeys(zero.split(), 0)
    usage |= {"generated_tokens": 150 * n, "prompt_tokens": 120 * n, "calls": n}
    usage |= {"verifier_calls": n, "verifier_tokens": 270 * n, "critical_tokens": 300, "seconds": 6}
    line: dict[str, object] = {"problem": name, "strategy": strategy}
    line["question"] = "How many? " * 20
    line |= {"answer": candidates[0]["answer"], "gold": str(problem), "stop_reason": "finished"}
    line |= {"correct": candidates[0]["correct"], "candidates": candidates, "usage": usage}
    line |= {"failures": [], "meta": {"level": problem % 5 + 1}}
    return json.dumps(line), "\n".join(tree) + "\n"


def make(run: Path, problems: int, strategies: int, n: int) -> None:
    """Write a run folder."""
    store, pool = Store(run), solutions(500, random.Random(0))
    run.mkdir(parents=True)
    store.write_json("manifest.json", MANIFEST)
    with (run / "results.jsonl").open("w") as file:
        for problem in range(problems):
            for i in range(strategies):
                line, tree = result(problem, f"best_of_n-seed={i}", n, pool)
                file.write(line + "\n")
                path = store.tree_path(f"best_of_n-seed={i}", f"p{problem}")
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(tree)


_SCRIPT = """
import importlib, json, resource, sys, time
from pathlib import Path
names = {"reasoning.runs.store": "reasoning.store", "evals.statistics.summary": "evals.summary"}
def named(now):
    for name in (now, names[now]):
        try:
            found = importlib.import_module(name)
        except ImportError:
            continue
        if found.__file__.startswith(sys.argv[1]):
            return found
run, kept = Path(sys.argv[2]), {}
def timed(name, work):
    start = time.process_time()
    found = work()
    kept[name] = time.process_time() - start
    return found
def summary():
    results = named("reasoning.runs.store").Store(run).results
    told = list(dict.fromkeys((r["strategy"], r["problem"]) for r in results()))
    names, ids = dict.fromkeys(s for s, _ in told), list(dict.fromkeys(p for _, p in told))
    about = [{"name": s, "independent": True} for s in names]
    start = time.process_time()
    named("evals.statistics.summary").summarise(results(), strategies=about, problem_ids=ids)
    kept["summary"] = time.process_time() - start
summary()
from evals.report import write
written = timed("report", lambda: write([run], Path(sys.argv[3])))
kept["memory"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
kept["page"] = written.size / 1e6
print(json.dumps(kept))
"""


def measured(tree: Path, run: Path) -> dict[str, float]:
    """Seconds of CPU, and megabytes, with the code in `tree`."""
    done = subprocess.run(
        [sys.executable, "-c", _SCRIPT, str(tree), str(run), str(run.parent / "report.html")],
        env={**os.environ, "PYTHONPATH": str(tree), "OMP_NUM_THREADS": "1"},
        cwd=run.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"{tree}: {done.stderr.strip()}")
    found: dict[str, float] = json.loads(done.stdout)
    told = f"summary {found['summary']:.1f} s, report {found['report']:.1f} s of CPU"
    print(
        f"{tree.name}: {told}; {found['memory']:,.0f} MB; page {found['page']:.2f} MB", flush=True
    )
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--problems", type=int, default=1319)
    parser.add_argument("--samples", type=int, default=64)
    parser.add_argument("--strategies", type=int, default=1)
    parser.add_argument("--against", type=Path, help="A checkout of another version.")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        make(run, args.problems, args.strategies, args.samples)
        megabytes = sum(f.stat().st_size for f in run.rglob("*") if f.is_file()) / 1e6
        print(f"{args.problems:,} problems of {args.samples} samples: {megabytes:,.0f} MB")
        ours = measured(Path(__file__).resolve().parent.parent, run)
        if args.against:
            theirs = measured(args.against.resolve(), run)
            parts = {name: (ours[name], theirs[name]) for name in ("summary", "report")}
            parts["both"] = (sum(a for a, _ in parts.values()), sum(b for _, b in parts.values()))
            print(", ".join(f"{name} {a / b:.3f}" for name, (a, b) in parts.items()), "of theirs")


if __name__ == "__main__":
    main()
