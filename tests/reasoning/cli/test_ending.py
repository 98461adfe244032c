"""Commands end by signals as by Ctrl-C: what is noted on cancellation is noted."""

from __future__ import annotations

import asyncio
import os
import signal

import pytest

from reasoning.cli.ending import INTERRUPTED, awaited


async def killed(number: int, noted: list[str]) -> None:
    try:
        os.kill(os.getpid(), number)
        await asyncio.Event().wait()
    finally:
        noted.append("lost")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_cancels(number: signal.Signals) -> None:
    noted: list[str] = []
    before = signal.signal(number, signal.SIG_DFL)  # the tests may run under nohup
    try:
        with pytest.raises(SystemExit) as stop:
            awaited(killed(number, noted))
        assert signal.getsignal(number) is signal.SIG_DFL
    finally:
        signal.signal(number, before)
    assert stop.value.code == 128 + number
    assert stop.value.code in INTERRUPTED
    assert noted == ["lost"]


def test_what_ends_by_itself_is_returned() -> None:
    async def work() -> int:
        return 3

    async def cancelled() -> None:
        raise asyncio.CancelledError

    assert awaited(work()) == 3
    with pytest.raises(asyncio.CancelledError):
        awaited(cancelled())


def test_what_is_ignored_stays_so() -> None:
    """As under nohup."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)

    async def work() -> str:
        os.kill(os.getpid(), signal.SIGHUP)
        await asyncio.sleep(0)
        return "done"

    try:
        assert awaited(work()) == "done"
    finally:
        signal.signal(signal.SIGHUP, before)
