"""What a generator keeps for each event loop that it serves: connections, and what was asked."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from weakref import WeakKeyDictionary

from reasoning.backends.openai.asking import Questions
from reasoning.backends.openai.tokens import Tokenizer
from reasoning.clock import Clock
from reasoning.http.admission import Limits
from reasoning.http.pool import Pool


class Here:
    """What belongs to one event loop."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self.asking = asyncio.Lock()
        self.tokenizer: Tokenizer | None = None
        self.ask: Questions | None = None


class Loops:
    """One `Here` for each loop. `key_env` names the variable that holds the key, `limits` gives
    those of a loop that is new."""

    def __init__(
        self, urls: Sequence[str], key_env: str, limits: Callable[[], Limits], clock: Clock
    ) -> None:
        self._urls = urls
        self._key_env = key_env
        self._limits = limits
        self._clock = clock
        self._closed: Counter[str] = Counter()
        self._open: WeakKeyDictionary[asyncio.AbstractEventLoop, Here] = WeakKeyDictionary()

    def here(self) -> Here:
        """That of the running loop."""
        loop = asyncio.get_running_loop()
        here = self._open.get(loop)
        if here is None:
            key = os.environ.get(self._key_env)
            pool = Pool(self._urls, key=key, limits=self._limits(), clock=self._clock)
            here = self._open[loop] = Here(pool)
        return here

    async def close(self) -> None:
        """Close that of the running loop."""
        here = self._open.pop(asyncio.get_running_loop(), None)
        if here is not None:
            self._closed.update(here.pool.served)
            here.pool.close()
            await asyncio.sleep(0)  # sockets are closed in the loop's next turn

    @property
    def served(self) -> Mapping[str, int]:
        """Calls that each server has answered, where there are several."""
        found = Counter(self._closed)
        for here in self._open.values():
            found.update(here.pool.served)
        return dict(sorted(found.items()))
