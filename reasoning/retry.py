"""How often, and when, a call that has failed is tried again."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Retry:
    """Transient failures are tried again `attempts` times in all.

    The pause is what the server asked for, else `pause` seconds doubled each time, shortened by
    up to half at random (seeded), and never above `longest`. With `raises` they are raised instead,
    to somebody who tries it all again.
    """

    attempts: int = 4
    pause: float = 0.5
    longest: float = 30.0
    raises: bool = False

    def delay(self, attempt: int, asked: float | None, u: float) -> float:
        """Seconds to wait after failed attempt number `attempt` (from 0); `u` is in [0, 1)."""
        wait = asked if asked is not None else self.pause * 2**attempt * (1 - u / 2)
        return min(self.longest, wait)
