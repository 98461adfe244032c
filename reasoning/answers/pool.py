"""A few worker processes that compare answers, each killed when a comparison takes too long.

The workers are plain subprocesses (not multiprocessing: nothing of the caller's `__main__` is
imported, nothing is forked with threads running), each driven by one daemon thread.  They start
with the first job, restart after a kill and are reaped at exit.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
from concurrent.futures import Future
from dataclasses import dataclass, field

_ALARM = getattr(signal, "SIGPROF", 0)

START_SECONDS = 600.0
"""A worker imports sympy before its first comparison; that is not counted as comparing."""

PATIENCE = 10.0 if hasattr(signal, "setitimer") else 1.0
"""Elapsed over processor seconds: workers count their own, so that a busy machine grades alike."""

PROBE = "0"


class ComparisonError(Exception):
    """A comparison was given up.

    `busy` says during what: "starting", being "idle", parsing the "gold" or the "prediction", or
    "comparing"; `unreadable` which of the two answers cannot be compared with anything.
    """

    def __init__(self, reason: str, busy: str) -> None:
        super().__init__(f"{reason} ({busy})")
        self.busy = busy
        self.unreadable: tuple[str, ...] = ()


@dataclass(slots=True)
class _Job:
    gold: str
    prediction: str
    seconds: float
    future: Future[bool] = field(default_factory=Future)


class _Worker:
    """One process that speaks the protocol of `reasoning.answers.worker`."""

    def __init__(self) -> None:
        threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
        paths = [os.path.abspath(path) for path in sys.path if path]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "reasoning.answers.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            # The caller's import paths, in their order.
            env={**os.environ, **threads, "PYTHONPATH": os.pathsep.join(paths)},
            start_new_session=True,  # Ctrl-C in the terminal is the caller's
            text=True,
            encoding="utf-8",
        )
        self.ready = False

    def ask(self, job: _Job) -> bool:
        """Raises ComparisonError when the worker dies or is killed; it is unusable then."""
        if not self.ready:
            self._exchange(None, START_SECONDS, "ready")
            self.ready = True
        request = {"gold": job.gold, "prediction": job.prediction, "seconds": job.seconds}
        return self._exchange(json.dumps(request) + "\n", job.seconds * PATIENCE, "equal")

    def _exchange(self, request: str | None, seconds: float, wanted: str) -> bool:
        expired = threading.Event()

        def expire() -> None:
            expired.set()
            self.process.kill()

        assert self.process.stdin
        assert self.process.stdout
        busy = "starting" if request is None else "idle"
        timer = threading.Timer(seconds, expire)
        timer.daemon = True
        timer.start()
        try:
            if request is not None:
                self.process.stdin.write(request)
                self.process.stdin.flush()
            for line in self.process.stdout:
                message = json.loads(line)
                if wanted in message:
                    return bool(message[wanted])
                busy = message.get("parsing", "comparing")
        except (OSError, ValueError):
            pass  # a broken pipe or half a line: the worker is gone
        finally:
            timer.cancel()
            timer.join()
            if expired.is_set():  # also when the reply and the alarm crossed
                self.process.wait()
        late = expired.is_set() or self.process.wait() == -_ALARM
        raise ComparisonError("out of time" if late else "the worker died", busy)

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    def close(self) -> None:
        self.process.kill()
        for pipe in (self.process.stdin, self.process.stdout):
            with contextlib.suppress(OSError):  # an unsent request
                if pipe:
                    pipe.close()
        self.process.wait()


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return max(1, len(os.sched_getaffinity(0)))
    return os.cpu_count() or 1


class Workers:
    """Runs comparisons on `workers` processes; safe to use from any thread.

    As many as there are cores to run on, sixteen at most: each holds some 150 MB. They start as
    comparisons wait for them.
    """

    def __init__(self, workers: int | None = None) -> None:
        workers = min(16, _cores()) if workers is None else workers
        if workers < 1:
            raise ValueError(f"a pool needs at least one worker, not {workers}")
        self.size = workers
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._workers: dict[threading.Thread, _Worker] = {}
        self._waiting = 0
        self._closed = False
        self._lock = threading.Lock()

    @property
    def processes(self) -> list[int]:
        """The ids of the worker processes alive now."""
        return [w.process.pid for w in list(self._workers.values()) if w.alive]

    def submit(self, gold: str, prediction: str, seconds: float) -> Future[bool]:
        """The comparison of two canonical answers in at most `seconds` of processor time.

        Elapsed time is bounded by `PATIENCE` times that, not counting the queue and a worker's
        start.  The future raises ComparisonError where the worker ran out of time or memory and
        RuntimeError where the pool was closed first.
        """
        job = _Job(gold, prediction, seconds)
        with self._lock:
            if self._closed:
                raise RuntimeError("the grading pool is closed")
            self._waiting += 1
            if len(self._threads) < min(self.size, self._waiting):
                name = f"grading-{len(self._threads)}"
                self._threads.append(threading.Thread(target=self._serve, name=name, daemon=True))
                self._threads[-1].start()
            self._jobs.put(job)
        return job.future

    def close(self) -> None:
        """Kill the workers and fail what still waits."""
        with self._lock:
            self._closed = True
            for worker in self._workers.values():
                worker.process.kill()
            for _ in self._threads:
                self._jobs.put(None)
        for thread in self._threads:
            thread.join()

    def _serve(self) -> None:
        me = threading.current_thread()
        while (job := self._jobs.get()) is not None:
            if job.future.set_running_or_notify_cancel():
                try:
                    job.future.set_result(self._ask(me, job))
                except BaseException as error:
                    job.future.set_exception(error)
            with self._lock:
                self._waiting -= 1
        self._discard(me)

    def _ask(self, me: threading.Thread, job: _Job, retry: bool = True) -> bool:
        try:
            return self._worker(me).ask(job)
        except ComparisonError as failure:
            self._discard(me)
            if failure.busy == "idle" and retry:
                return self._ask(me, job, retry=False)  # it had died before this job
            sides = {"gold": job.gold, "prediction": job.prediction}
            if failure.busy in sides:
                failure.unreadable = (sides[failure.busy],)
            elif failure.busy == "comparing" and job.prediction != PROBE:
                # Which one is hostile?  The one that cannot be compared with 0 either.
                failure.unreadable = tuple(
                    side for side in sides.values() if not self._survives(me, side, job.seconds)
                )
            raise

    def _survives(self, me: threading.Thread, answer: str, seconds: float) -> bool:
        try:
            self._ask(me, _Job(answer, PROBE, seconds))
        except ComparisonError:
            return False
        return True

    def _worker(self, me: threading.Thread) -> _Worker:
        if me in self._workers and not self._workers[me].alive:
            self._discard(me)
        with self._lock:
            if self._closed:
                raise RuntimeError("the grading pool was closed")
            if me not in self._workers:
                self._workers[me] = _Worker()
            return self._workers[me]

    def _discard(self, me: threading.Thread) -> None:
        with self._lock:
            worker = self._workers.pop(me, None)
        if worker:
            worker.close()


_default: Workers | None = None
_default_lock = threading.Lock()


def default_pool() -> Workers:
    """The pool that the whole process shares; a new one after `shutdown`."""
    global _default
    with _default_lock:
        if _default is None:
            _default = Workers()
        return _default


def shutdown() -> None:
    """Close the shared pool, if one was used; the next comparison opens another."""
    global _default
    with _default_lock:
        pool, _default = _default, None
    if pool:
        pool.close()


def _forget() -> None:
    global _default, _default_lock
    _default, _default_lock = None, threading.Lock()


atexit.register(shutdown)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)  # threads and pipes stay with the parent
