"""Problems are replayed side by side, in as many processes as there are cores.

`python -m evals.replay.processes` is one of them. It reads pickles from standard input, first how
to replay and then one problem after another, and writes what came of each.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from evals.replay.samples import Stored
    from evals.statistics.intervals import Floats

ENOUGH = 100_000
"""Choices to be made before other processes, which need seconds to start, are worth it."""


class Task(NamedTuple):
    """How every problem is replayed: strategies by their labels, each one's budgets."""

    labels: Sequence[str]
    sizes: Sequence[Sequence[int]]
    orders: int
    seed: int

    @property
    def choices(self) -> int:
        """To be made for one problem."""
        return (1 + self.orders) * sum(map(len, self.sizes))


def wanted(task: Task, problems: int) -> int:
    """How many processes, 1 for this one alone."""
    if task.choices * problems < ENOUGH:
        return 1
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(1, min(cores or 1, problems))


def each(
    problems: Sequence[Stored],
    task: Task,
    alone: Callable[[Stored], list[Floats]],
    processes: int,
) -> Iterator[list[Floats]]:
    """What `alone` gives for each problem, in their order; asked here where a process fails."""
    if processes < 2:
        yield from map(alone, problems)
        return
    with _started(task, processes) as ask, ThreadPoolExecutor(processes) as threads:
        for problem, found in zip(problems, threads.map(ask, problems), strict=True):
            yield alone(problem) if found is None else found


@contextmanager
def _started(task: Task, count: int) -> Iterator[Callable[[Stored], Any]]:
    """Asks one of so many processes for a problem; None where it cannot tell."""
    paths = os.pathsep.join(os.path.abspath(path) for path in sys.path)
    running = [
        subprocess.Popen(
            [sys.executable, "-m", "evals.replay.processes"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": paths, "OPENBLAS_NUM_THREADS": "1"},
        )
        for _ in range(count)
    ]
    idle = list(running)

    def ask(problem: Stored) -> Any:
        process = idle.pop()  # as many as there are threads, so there is one
        try:
            assert process.stdin is not None
            assert process.stdout is not None
            pickle.dump(problem, process.stdin)
            process.stdin.flush()
            return pickle.load(process.stdout)
        except (OSError, EOFError, pickle.PickleError):
            return None
        finally:
            idle.append(process)

    try:
        for process in running:
            assert process.stdin is not None
            pickle.dump(tuple(task), process.stdin)
        yield ask
    finally:
        for process in running:
            process.kill()
            process.communicate()


def main() -> None:
    """Serve until standard input ends."""
    from evals.replay.evaluate import choose, replayed

    task = Task(*pickle.load(sys.stdin.buffer))
    strategies = choose(task.labels)
    while True:
        try:
            problem = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        pickle.dump(replayed(problem, strategies, task), sys.stdout.buffer)
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
