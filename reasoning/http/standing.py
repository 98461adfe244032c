"""How a server stands with us: whether it is called, and how much at once.

A state machine without connections or a clock: what happens to a server is told here, with the
time in seconds where time matters, and `state`, `room` and `load` come out. The state is not
stored but follows from a few facts, so that no two of them can contradict each other.

What is asked of a server at once, its `window`, is cut where it has more than it can work on: it
refuses a call (429, 503, ...), or its metrics tell of calls that wait there. Calls that would only
wait are better kept here, from where they may go to another server. By metrics the window opens
from a slow start, as TCP's does, while it is full and nothing waits at the server; without them it
is open until a refusal, and then opens with every call that is taken. A call that was sent before
the refusal does not count: of what the server holds after it, it tells nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from reasoning.seeds import fold

State: TypeAlias = Literal["joining", "healthy", "slow", "suspect", "draining", "gone", "foreign"]

BREAKS = 3
"""Connections in a row that break or fall silent, after which a server is left alone."""
SLOW, FAST = 2.0, 1.5
"""Times the usual seconds an answer from which a server is slow, and below which no more."""
_LEAST = 1 / 16
"""Share of a server however slow it is: less would never show that it has recovered."""
_KNOWN = 16
"""Answers before a server's pace means anything."""
_FADE = 1 - 1 / 64
"""Weight of what was known of a pace before, at each answer."""
_FULL = 0.9
"""Share of a cache in use from which a server gets no more at once."""
_COLD = 64
"""Calls at once for a server whose metrics have not been seen yet."""


@dataclass(frozen=True, slots=True)
class Load:
    """What a server's metrics say: calls that it works on, calls that wait, share of its cache."""

    running: int
    waiting: int
    cache: float = 0.0


class Standing:
    """One server's standing. `most` is how many calls at once it may ever get.

    busy: calls that it holds. lined: calls that wait for it here. others: calls of other clients
    that it holds, as far as is known.
    window: calls at once for now. cuts: how often a refusal has set it. weight: its share of calls,
    1 unless it is slow.
    paused: no call before this time. failures: attempts in a row that did not reach it, or that it
    refused while it held none; `refusing` if the last one reached it, `gone` when the first was.
    """

    def __init__(self, name: str, most: int) -> None:
        self.name = name
        self.most = most
        self.window = float(most)
        self.cuts = 0
        self.busy = 0
        self.lined = 0
        self.others = 0
        self.weight = 1.0
        self.paused = 0.0
        self.failures = 0
        self.refusing = False
        self.gone = 0.0
        self.listed = True
        self.serves: bool | None = True
        """Whether it has the model; None until it was asked."""
        self.crowded = False
        """It has refused a call while it held others: the window is about what it works on."""
        self.meters: bool | None = False
        """Whether its metrics decide on its window; None until they were seen."""
        self._breaks = 0
        self._answers = self._seconds = self._bytes = 0.0

    @property
    def state(self) -> State:
        if not self.listed:
            return "draining" if self.busy else "gone"
        if self.serves is not True:
            return "joining" if self.serves is None else "foreign"
        if self.failures:
            return "suspect"
        return "healthy" if self.weight == 1 else "slow"

    @property
    def usable(self) -> bool:
        """Healthy or slow."""
        return self.listed and self.serves is True and not self.failures

    def room(self, now: float) -> bool:
        """Whether it may get another call."""
        if now < self.paused or not self.listed or self.serves is not True:
            return False
        return self.busy < (1 if self.failures else int(self.window))

    @property
    def load(self) -> float:
        """Calls that it has to do, for its share."""
        return (self.busy + self.lined + self.others) / self.weight

    @property
    def pace(self) -> float | None:
        """Seconds a byte of its latest answers; None while it has given few."""
        return self._seconds / self._bytes if self._answers >= _KNOWN and self._bytes else None

    # Membership.

    def start_slowly(self) -> None:
        """It is one of several, and its metrics will be looked at."""
        if self.meters is False:
            self.meters, self.window = None, min(self.window, float(_COLD))

    def relist(self) -> None:
        """It stands in the list of servers again."""
        self.listed = True

    def unlist(self) -> None:
        """It does not any more: what it holds may end there."""
        self.listed = False

    def ask(self) -> None:
        """Whether it has the model has to be asked."""
        self.serves = None

    def told(self, serves: bool, now: float) -> None:
        """It was asked. One with another model is asked again in a while."""
        self.serves = serves
        self.failures, self.paused = 0, 0.0
        if not serves:
            self.paused = now + 30.0

    # Calls.

    def begun(self, cuts: int) -> bool:
        """It takes a call that was sent after so many `cuts`. Whether that changes anything.

        It is there, and may have more at once unless there was a cut since; slowly, if there ever
        was one.
        """
        self._breaks = 0
        if self.failures:
            self.reached()
        elif self.window >= self.most or self.meters is not False or cuts < self.cuts:
            return False
        more = 1 / self.window if self.crowded else 2
        self.window = min(self.most, self.window + more)
        return True

    def ended(self, seconds: float, size: int) -> None:
        """An answer of `size` bytes took so many seconds, waiting at the server included."""
        self._answers = _FADE * self._answers + 1
        self._seconds = _FADE * self._seconds + seconds
        self._bytes = _FADE * self._bytes + size

    def reached(self) -> None:
        """There is no reason to leave it alone any more."""
        self.failures, self.paused = 0, 0.0

    def refused(self, now: float, wait: float | None) -> None:
        """It refuses a call, which still counts as busy: it gets no more than its other calls.

        `wait`: seconds that it asks for. One that refuses while it holds none is left alone.
        """
        held = self.busy - 1
        self.window = float(max(1, min(held, int(self.window))))
        self.cuts += 1
        self.crowded = held > 0
        if not held:
            self._leave_alone(now, refusing=True)
            if wait:
                self.paused = now
        if wait:
            self.paused = max(self.paused, now + wait)

    def unreachable(self, now: float) -> None:
        """Nobody takes a connection there."""
        self._leave_alone(now, refusing=False)

    def broke(self, now: float) -> None:
        """A connection broke, or fell silent, before the answer was whole."""
        self._breaks += 1
        if self._breaks >= BREAKS and now >= self.paused:
            self._leave_alone(now, refusing=True)

    def holds_at_most(self, most: int) -> None:
        """It cannot have more at once, ever."""
        self.most = max(1, most)
        self.window = min(self.window, float(self.most))

    def _leave_alone(self, now: float, *, refusing: bool) -> None:
        """Pause after one more failure: twice as long each time, but for a seeded jitter."""
        if not self.failures:
            self.gone = now
        self.failures += 1
        self.refusing = refusing
        u = fold(0, self.name, self.failures) / 2**63
        self.paused = now + min(30.0, 0.5 * 2 ** min(10, self.failures - 1)) * (1 - u / 2)

    # What is seen from time to time.

    def metered(self, load: Load, busy: int) -> None:
        """Its metrics, and the most calls of ours that it held while they were on their way.

        Calls that wait there are too many. An eighth more than it works on keeps it from idling.
        """
        self.meters = True
        total = load.running + load.waiting
        self.others = max(0, total - busy)
        if load.waiting:
            running = max(1, round(load.running * busy / max(total, busy, 1)))
            self.window = min(self.window, float(running + max(4, running // 8)))
        elif busy >= int(self.window) and load.cache < _FULL:
            self.window = min(float(self.most), 2 * self.window)

    def unmetered(self) -> None:
        """It has no metrics."""
        if self.meters is None:
            self.meters, self.window = False, float(self.most)

    def compared(self, usual: float) -> None:
        """The usual pace of servers like it, seconds a byte. A slow one gets less for its share."""
        if (pace := self.pace) is None or not usual > 0:
            return
        ratio = pace / usual
        slow = ratio > (SLOW if self.weight == 1 else FAST)
        self.weight = max(_LEAST, 1 / ratio) if slow else 1.0
