"""How fast a server says a token, told from the answers that it has ended."""

from __future__ import annotations

_BEGIN = 0.1
"""Seconds a token before anything is known: slow."""
_WEIGHT = 0.125
"""Of the latest answer."""
_MARGIN = 2.0


class Pace:
    """`seconds` a token, waiting in the server's line included; a moving average."""

    def __init__(self) -> None:
        self.seconds = _BEGIN

    def met(self, tokens: int, took: float) -> None:
        """An answer of `tokens` took so many seconds."""
        if tokens > 0:
            self.seconds += _WEIGHT * (took / tokens - self.seconds)

    def given_up(self, took: float, most: int) -> int:
        """An answer of `most` tokens at most was left after so many seconds, nothing of it seen.

        About how many tokens were generated in vain. From now on so long an answer is not one that
        is sure to come within that time.
        """
        guess = min(most, int(took / self.seconds)) if self.seconds else most
        self.seconds = max(self.seconds, took / most)
        return guess

    def within(self, timeout: float, tokens: int) -> bool:
        """Whether so many tokens are sure to be said before `timeout` seconds are over."""
        return _MARGIN * self.seconds * tokens < timeout
