"""What comparing answers costs, beside an earlier build: time, processor time, and the verdicts.

    git worktree add --detach /tmp/earlier e2db654
    python benchmarks/grading.py --beside /tmp/earlier

1. The votes of one problem with 64 distinct answers: surds, no two of them equal, each to be
   compared with all. Goal: a fifth of the time of e2db654.
2. The answers of a replay: distinct pairs of gold and answer as models give them, in the shares of
   `SHARES`. Goal: three times e2db654's pairs a second, and the same verdicts (what differs is
   listed, with what is right by mathematics to be judged by the reader).

Workers are started before the clock; `--pairs` sets the size of 2.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import resource
import subprocess
import sys
import time
from importlib import import_module
from typing import Any

SURDS = 64
SHARES = {"integers": 0.55, "fractions": 0.15, "surds": 0.1, "formulas": 0.1, "lists": 0.1}
"""Of kinds of answers in the second workload: what math500 and AIME ask for, roughly."""


def pairs(count: int) -> list[tuple[str, str]]:
    """Distinct pairs of a gold answer and a given one; some are equal."""
    rng = random.Random(0)
    found: dict[tuple[str, str], None] = {}
    while len(found) < count:
        (kind,) = rng.choices(list(SHARES), list(SHARES.values()))
        found[_pair(kind, rng)] = None
    return list(found)


def _pair(kind: str, rng: random.Random) -> tuple[str, str]:
    n, m, k = (rng.randint(2, 400) for _ in range(3))
    equal = rng.random() < 0.3
    if kind == "integers":
        return str(n * 17), f"{n * 17}.0" if equal else str(m)
    if kind == "fractions":
        return rf"\frac{{{n}}}{{{m}}}", f"{3 * n}/{3 * m}" if equal else rf"\frac{{{k}}}{{{m}}}"
    if kind == "surds":
        other = rf"\sqrt{{{9 * n}}}-{m}" if equal else rf"3\sqrt{{{n}}}-{k}"
        return rf"3\sqrt{{{n}}}-{m}", other
    if kind == "formulas":
        other = f"{n}({m}+x)x" if equal else f"{n}x^2+{k}x"
        return f"{n}x^2+{n * m}x", other
    last = f"{m}.0" if equal else str(k)
    return rf"({n}, \frac{{{k}}}{{7}}, {m})", rf"({n}, {k}/7, {last})"


def measure(count: int) -> dict[str, Any]:
    """Both workloads with the build that stands in this process's import path."""
    try:
        grading = import_module("reasoning.answers.grading")
    except ImportError:
        grading = import_module("reasoning.grading")
    surds = [rf"\sqrt{{{n}}}" for n in _squarefree()]
    for i in range(4):  # the workers start
        grading.equivalent_sync(rf"\sqrt{{{(i + 2) ** 2 * 3001}}}", rf"{i + 2}\sqrt{{3001}}")
    start, used = time.perf_counter(), _processor()
    asyncio.run(grading.group(surds))
    votes, votes_used = time.perf_counter() - start, _processor() - used
    work = pairs(count)
    start, used = time.perf_counter(), _processor()
    verdicts = asyncio.run(_replay(grading, work))
    seconds = time.perf_counter() - start
    grading.shutdown()  # only then are the workers' seconds known
    return {
        "votes": votes, "replay": seconds, "verdicts": verdicts,
        "processor": _processor() - used + votes_used,
    }  # fmt: skip


async def _replay(grading: Any, work: list[tuple[str, str]]) -> list[bool]:
    """Sixteen problems at a time, as a replay grades them."""
    slots = asyncio.Semaphore(16)
    verdicts = [False] * len(work)

    async def one(i: int) -> None:
        async with slots:
            verdicts[i] = await grading.equivalent(*work[i])

    async with asyncio.TaskGroup() as tasks:
        for i in range(len(work)):
            tasks.create_task(one(i))
    return verdicts


def _squarefree() -> list[int]:
    return [n for n in range(2, 200) if all(n % (p * p) for p in (2, 3, 5, 7, 11, 13))][:SURDS]


def _processor() -> float:
    """Seconds of processor time of this process and of children that have ended."""
    who = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return sum(usage.ru_utime + usage.ru_stime for usage in map(resource.getrusage, who))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--beside", metavar="FOLDER", help="a work tree of an earlier build")
    parser.add_argument("--pairs", type=int, default=3000)
    parser.add_argument("--only", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.only:
        print(json.dumps(measure(options.pairs)))
        return
    here = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    results = []
    for tree in filter(None, (here, options.beside)):
        out = subprocess.run(
            [sys.executable, os.path.abspath(__file__), "--only", "--pairs", str(options.pairs)],
            env={**os.environ, "PYTHONPATH": os.path.abspath(tree)},
            cwd=tree,  # a worker looks for modules there first
            check=True,
            capture_output=True,
            text=True,
        )
        results.append(json.loads(out.stdout))
        found = results[-1]
        print(
            f"{tree}: {SURDS} surds {found['votes'] * 1e3:.0f} ms, {options.pairs} pairs "
            f"{found['replay']:.2f} s ({options.pairs / found['replay']:.0f} a second), "
            f"{found['processor']:.1f} s of processors, the workers' start with it"
        )
    if len(results) == 2:
        new, old = results
        print(f"surds: {old['votes'] / new['votes']:.1f} times as fast")
        print(f"pairs: {old['replay'] / new['replay']:.1f} times as fast")
        work = pairs(options.pairs)
        verdicts = zip(work, new["verdicts"], old["verdicts"], strict=True)
        changed = [(pair, x) for pair, x, y in verdicts if x != y]
        print(f"verdicts: {len(changed)} of {len(work)} differ")
        for (gold, given), verdict in changed[:20]:
            print(f"  {gold!r} / {given!r}: now {'the same' if verdict else 'different'}")


if __name__ == "__main__":
    main()
