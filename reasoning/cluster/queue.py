"""Who works on which problem: a state machine without clocks, processes or networks.

A problem waits, is held by one worker, and is over. A worker that leaves, for whatever reason,
gives back what it held. Where the reason may be a problem (a process that dies while its machine
lives: memory, a crash in native code) all that the worker held is suspect. A suspect waits for a
worker that holds nothing else, so that the next death says who it was: no problem is given up for
what its neighbour did.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable

ATTEMPTS = 2
"""Workers that a problem may kill, the first in company and the last alone."""


class Queue:
    """Times are seconds on any one clock. A worker has a name of its own each time it comes."""

    def __init__(self, problems: Iterable[str], patience: float, attempts: int = ATTEMPTS) -> None:
        self._waiting = deque(problems)
        self._suspects: deque[str] = deque()
        self._kills: Counter[str] = Counter()
        self._held: dict[str, set[str]] = {}
        self._until: dict[str, float] = {}
        self._patience = patience
        self._attempts = attempts

    @property
    def over(self) -> bool:
        """Whether nothing waits and nobody holds anything."""
        return not (self._waiting or self._suspects or any(self._held.values()))

    @property
    def waiting(self) -> int:
        """How many nobody holds, but for suspects."""
        return len(self._waiting)

    def join(self, worker: str, now: float) -> None:
        """A worker is ready. Raises ValueError for one that is here, or has been."""
        if worker in self._until:
            raise ValueError(f"{worker} has joined before")
        self._held[worker] = set()
        self._until[worker] = now + self._patience

    def heard(self, worker: str, now: float) -> None:
        """It lives: its lease is renewed."""
        if worker in self._held:
            self._until[worker] = now + self._patience

    def expires(self, worker: str) -> float:
        """When it has been silent for too long."""
        return self._until[worker]

    def holds(self, worker: str) -> frozenset[str]:
        """What it is at work on; nothing once it has left."""
        return frozenset(self._held.get(worker, ()))

    def take(
        self, worker: str, room: int, ready: Callable[[str], bool] = lambda _: True
    ) -> list[str]:
        """Up to `room` more problems for it, until one is not `ready`. A suspect comes alone, after
        all that are none, or where none is ready."""
        held = self._held.get(worker)
        if held is None or any(self._kills[problem] for problem in held):
            return []
        taken: list[str] = []
        while self._waiting and len(taken) < room and ready(self._waiting[0]):
            taken.append(self._waiting.popleft())
        if not (taken or held) and room > 0 and self._suspects:
            taken = [self._suspects.popleft()]
        held.update(taken)
        return taken

    def done(self, worker: str, problem: str) -> bool:
        """Whether the worker held it, and it is over: what others say of it is no news."""
        held = self._held.get(worker, set())
        if problem not in held:
            return False
        held.remove(problem)
        return True

    def leave(self, worker: str, *, blame: bool = False) -> list[str]:
        """It is gone, and never heard again. Returns the problems that are given up with it.

        With `blame` it died of what it did, for all that one can know. Others that it held wait
        first in line: they have been paid for in part.
        """
        held = sorted(self._held.pop(worker, ()))
        given_up = []
        for problem in reversed(held):
            self._kills[problem] += blame
            if self._kills[problem] >= self._attempts and len(held) == 1:
                given_up.append(problem)
            elif self._kills[problem]:
                self._suspects.appendleft(problem)
            else:
                self._waiting.appendleft(problem)
        return given_up
