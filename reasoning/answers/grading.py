"""Whether two answers mean the same: the one policy for grading, voting and tie-breaking.

`equivalent` settles equal strings, numbers, words and collections of these in microseconds and
asks a worker process with a hard time and memory limit about the rest.  docs/grading.md states
the policy.  `benchmarks/agreement.py` compares it with labelled pairs.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
import threading
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import Future
from typing import Generic, TypeVar

from reasoning.answers import MAX_LENGTH, Answer, canonical
from reasoning.answers.pool import ComparisonError, default_pool, shutdown
from reasoning.answers.rules import decide

__all__ = ["classify", "equivalent", "equivalent_sync", "group", "matches", "shutdown"]

log = logging.getLogger(__name__)

K = TypeVar("K")
V = TypeVar("V")


class _Lru(Generic[K, V]):
    """A bounded mapping that forgets what was not used for longest; safe between threads."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._items: OrderedDict[K, V] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: K) -> V | None:
        with self._lock:
            if key in self._items:
                self._items.move_to_end(key)
            return self._items.get(key)

    def put(self, key: K, value: V) -> None:
        with self._lock:
            self._items[key] = value
            self._items.move_to_end(key)
            while len(self._items) > self._size:
                self._items.popitem(last=False)


_known: _Lru[tuple[str, str], bool] = _Lru(65_536)
_unreadable: _Lru[str, bool] = _Lru(4_096)  # answers that sink any comparison


def _quick(gold: str, prediction: str) -> bool | None:
    """What needs no worker; None for the rest.  Both canonical."""
    if not gold or not prediction:
        return False
    if gold == prediction:
        return True
    if max(len(gold), len(prediction)) > MAX_LENGTH:
        return False
    if (known := _known.get(_pair(gold, prediction))) is not None:
        return known
    decided = decide(gold, prediction)
    if decided is None and (_unreadable.get(gold) or _unreadable.get(prediction)):
        return False
    return decided


def _pair(a: str, b: str) -> tuple[str, str]:
    return (a, b) if a < b else (b, a)  # equivalence is symmetric


def _learn(gold: str, prediction: str, future: Future[bool]) -> bool:
    """The result of a finished comparison, remembered; a failed one is False and logged.

    Raises RuntimeError where no worker could be started.
    """
    try:
        equal = future.result()
    except ComparisonError as failure:
        if failure.busy == "starting":  # says nothing about the answers
            command = f"{sys.executable} -m reasoning.answers.worker"
            raise RuntimeError(f"the grading worker did not start; try {command}") from failure
        log.warning("gave up comparing %.80r with %.80r: %s", gold, prediction, failure)
        equal = False
        for answer in failure.unreadable:
            _unreadable.put(answer, True)
    _known.put(_pair(gold, prediction), equal)
    return equal


async def equivalent(gold: str, prediction: str, *, seconds: float = 5.0) -> bool:
    """Whether two extracted answers mean the same.

    A comparison that needs more than `seconds` of processor time (ten times that on the clock of
    a busy machine), or crashes the worker, is False and logged; so is one with an empty answer.
    Usable from any asyncio event loop and any thread.  Raises RuntimeError where no worker can be
    started.
    """
    a, b = canonical(gold), canonical(prediction)
    if (quick := _quick(a, b)) is not None:
        return quick
    future = default_pool().submit(a, b, seconds)
    with contextlib.suppress(
        ComparisonError
    ):  # _learn reports it; a cancelled task cancels the future
        await asyncio.wrap_future(future)
    return _learn(a, b, future)


def equivalent_sync(gold: str, prediction: str, *, seconds: float = 5.0) -> bool:
    """`equivalent` for code without an event loop; blocks the calling thread."""
    a, b = canonical(gold), canonical(prediction)
    if (quick := _quick(a, b)) is not None:
        return quick
    return _learn(a, b, default_pool().submit(a, b, seconds))


async def matches(one: str, others: Sequence[str], *, seconds: float = 5.0) -> list[bool]:
    """Which of `others` mean the same as `one`: `equivalent` of each, side by side.

    Those that need a worker are given to all workers at once.
    """
    key, keys = canonical(one), [canonical(other) for other in others]
    found = {other: _quick(key, other) for other in dict.fromkeys(keys)}
    pool = default_pool() if None in found.values() else None
    futures = {
        other: pool.submit(key, other, seconds)
        for other, quick in found.items()
        if quick is None and pool
    }
    try:
        for other, future in futures.items():
            with contextlib.suppress(ComparisonError):  # _learn reports it
                await asyncio.wrap_future(future)
            found[other] = _learn(key, other, future)
    finally:
        for future in futures.values():
            future.cancel()  # nothing to one that is done
    return [bool(found[other]) for other in keys]


async def group(answers: Sequence[str], *, seconds: float = 5.0) -> list[int]:
    """For each answer the index of the earliest equivalent one: its class representative.

    Depends on the order of the answers only. Each distinct canonical form is compared with the
    representatives so far, earliest first; `seconds` bounds one comparison.
    """
    keys = [canonical(answer) for answer in answers]
    waiting = {key: i for i, key in reversed(list(enumerate(keys)))}
    waiting = dict(sorted(waiting.items(), key=lambda item: item[1]))
    classes: dict[str, int] = {}  # canonical form: its representative
    while waiting:
        first, index = next(iter(waiting.items()))
        del waiting[first]
        classes[first] = index
        others = list(waiting)
        for other, same in zip(others, await matches(first, others, seconds=seconds), strict=True):
            if same:
                classes[other] = index
                del waiting[other]
    return [classes[key] for key in keys]


async def classify(texts: Sequence[str], *, seconds: float = 5.0) -> list[Answer]:
    """The answers with the canonical form of their class representative as key."""
    indices = await group(texts, seconds=seconds)
    return [Answer(text, canonical(texts[i])) for text, i in zip(texts, indices, strict=True)]
