"""Looking for garbage: what Python does for programs that keep few objects, and we keep many."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def rarely() -> Iterator[None]:
    """Look for cycles of garbage more rarely, and not among what is there by now.

    With thousands of calls in flight, each of them some dozens of objects that are all alive, it is
    a quarter of what a client costs (`benchmarks/scale.py`). What is in no cycle goes at once.
    """
    before = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(100_000, 5, 8)
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()
