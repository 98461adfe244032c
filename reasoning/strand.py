"""How many tokens had to be generated one after another, told from who waited for whom.

A strand is the work of one asyncio task. It starts where the task that started it stands, goes on
by the tokens of its own calls, and when its task ends, whoever waited for it stands no earlier.
In virtual time, where a token takes a tick and nothing else any time, it is the clock's reading.
"""

from __future__ import annotations

import asyncio
from contextvars import ContextVar
from typing import Any

_here: ContextVar[Strand | None] = ContextVar("strand", default=None)


class Strand:
    """`time` is in tokens since the search began."""

    __slots__ = ("outer", "root", "task", "time")

    def __init__(
        self, root: object, task: asyncio.Task[Any] | None, time: int, outer: Strand | None
    ) -> None:
        self.root = root
        self.task = task
        self.time = time
        self.outer = outer

    @classmethod
    def of(cls, search: object, begin: int = 0, *, waited: bool = False) -> Strand:
        """The strand of `search` in the running task; where there is none yet, it starts at
        `begin`. Where it ends is told to the strand that started it when the task is done, unless
        that one is `waited` for and reads it: to be told costs a turn of the event loop."""
        try:
            task = asyncio.current_task()
        except RuntimeError:  # no event loop: nothing is waited for
            return cls(search, None, begin, None)
        innermost = found = _here.get()
        while found is not None and found.root is not search:
            found = found.outer  # another search, in whose course this one is asked
        if found is not None and found.task is task:
            return found
        strand = cls(search, task, found.time if found else begin, innermost)
        if found is not None and task is not None and not waited:
            parent = found
            task.add_done_callback(lambda _: parent.reach(strand.time))
        _here.set(strand)
        return strand

    def reach(self, time: int) -> None:
        """Stand no earlier than `time`."""
        if time > self.time:
            self.time = time
