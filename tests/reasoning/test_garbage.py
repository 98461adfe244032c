"""Commands have Python look for garbage rarely, and leave it as they found it."""

from __future__ import annotations

import gc

import pytest

from reasoning import garbage
from reasoning.cli.ending import awaited


def test_a_command_looks_for_garbage_rarely_and_others_as_before() -> None:
    before, frozen = gc.get_threshold(), gc.get_freeze_count()

    async def work(fails: bool) -> tuple[int, int]:
        if fails:
            raise ValueError("no")
        return gc.get_threshold()[0], gc.get_freeze_count()

    threshold, count = awaited(work(False))
    assert threshold > 5 * before[0]
    assert count > frozen
    with pytest.raises(ValueError, match="no"):
        awaited(work(True))
    assert gc.get_threshold() == before
    assert gc.get_freeze_count() == 0


def test_cycles_are_still_found() -> None:
    found = []

    class Knot:
        def __init__(self) -> None:
            self.me = self

        def __del__(self) -> None:
            found.append(1)

    with garbage.rarely():
        for _ in range(200_000):
            Knot()
        assert found
