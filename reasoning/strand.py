"""How many tokens had to be generated one after another, told from who waited for whom.

A strand is the work of one asyncio task. It starts where the task that started it stands, goes on
by the tokens of its own calls, and when its task ends, whoever waited for it stands no earlier.
In virtual time, where a token takes a tick and nothing else any time, it is the clock's reading.
"""

from __future__ import annotations

import asyncio
from contextvars import ContextVar
from functools import partial
from typing import Any

_here: ContextVar[Strand | None] = ContextVar("strand", default=None)


class Strand:
    """`time` is in tokens since the search began; `fork` where its task began, if at one."""

    __slots__ = ("fork", "outer", "root", "task", "time")

    def __init__(
        self,
        root: object,
        task: asyncio.Task[Any] | None,
        time: int,
        outer: Strand | None,
        fork: Fork | None = None,
    ) -> None:
        self.root = root
        self.task = task
        self.time = time
        self.outer = outer
        self.fork = fork

    @classmethod
    def of(cls, search: object, begin: int = 0, *, passing: bool = False) -> Strand:
        """The strand of `search` in the running task; where there is none yet, it starts at
        `begin`. Where it ends is told to the strand that started it: when the task is done, or at
        once where that one stands at a fork (to be told costs a turn of the event loop).

        `passing`: only the caller needs it, and no task that is started meanwhile.
        """
        try:
            task = asyncio.current_task()
        except RuntimeError:  # no event loop: nothing is waited for
            return cls(search, None, begin, None)
        innermost = found = _here.get()
        while found is not None and found.root is not search:
            found = found.outer  # another search, in whose course this one is asked
        if found is None:
            strand = cls(search, task, begin, innermost)
        elif found.task is task:
            return found
        elif isinstance(found, Fork):
            strand = cls(search, task, found.times.get(task, found.time), innermost, found)
            if passing:
                return strand
        else:
            strand = cls(search, task, found.time, innermost)
            if task is not None:
                task.add_done_callback(partial(_told, found, strand))
        _here.set(strand)
        return strand

    def reach(self, time: int) -> None:
        """Stand no earlier than `time`."""
        if time > self.time:
            self.time = time
            if self.fork is not None:
                self.fork.times[self.task] = time


class Fork(Strand):
    """Where tasks begin that are started within `with Fork(here):`, and waited for.

    None of them is any later for what another has done meanwhile. `times` is where each stands.
    """

    __slots__ = ("_token", "times")

    def __init__(self, here: Strand) -> None:
        super().__init__(here.root, here.task, here.time, _here.get())
        self.times: dict[asyncio.Task[Any] | None, int] = {}

    def __enter__(self) -> None:
        self._token = _here.set(self)

    def __exit__(self, *_: object) -> None:
        _here.reset(self._token)

    def join(self, here: Strand) -> None:
        """All have ended: `here`, who has waited for them, stands no earlier than the last."""
        here.reach(max(self.times.values(), default=0))
        self.times.clear()  # they hold their tasks, whose contexts hold this


def _told(parent: Strand, strand: Strand, _: object) -> None:
    parent.reach(strand.time)
