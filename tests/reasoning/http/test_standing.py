"""How a server stands with us: the state machine as a table, and its windows, shares, pauses."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import pytest

from reasoning.http.standing import BREAKS, Load, Standing, State

Do: TypeAlias = Callable[[Standing], object]
NOW = 100.0


def server(most: int = 512) -> Standing:
    return Standing("http://a/v1", most)


def paced(one: Standing, seconds: float) -> None:
    for _ in range(20):
        one.ended(seconds, 100)


def holding(one: Standing, calls: int) -> Standing:
    one.busy = calls
    return one


def joining() -> Standing:
    one = server()
    one.ask()
    return one


def slow() -> Standing:
    one = server()
    paced(one, 3.0)
    one.compared(0.01)
    return one


def suspect() -> Standing:
    one = server()
    one.unreachable(NOW)
    return one


def draining() -> Standing:
    one = holding(server(), 2)
    one.unlist()
    return one


def gone() -> Standing:
    one = server()
    one.unlist()
    return one


def foreign() -> Standing:
    one = joining()
    one.told(False, NOW)
    return one


BEGIN: dict[State, Callable[[], Standing]] = {
    "joining": joining,
    "healthy": server,
    "slow": slow,
    "suspect": suspect,
    "draining": draining,
    "gone": gone,
    "foreign": foreign,
}


def refuses_alone(one: Standing) -> None:
    one.busy += 1
    one.refused(NOW, None)
    one.busy -= 1


def refuses_among_others(one: Standing) -> None:
    one.busy += 3
    one.refused(NOW, None)
    one.busy -= 3


def breaks(times: int) -> Do:
    def work(one: Standing) -> None:
        for _ in range(times):
            one.broke(NOW + 1000)

    return work


def waits_there(one: Standing) -> None:
    one.metered(Load(4, 9), 13)


def last_call_ends(one: Standing) -> None:
    one.busy = 0


def as_fast_as_others(one: Standing) -> None:
    for _ in range(300):
        one.ended(1.0, 100)
    one.compared(0.01)


EVENTS: dict[str, Do] = {
    "asked: it serves the model": lambda one: one.told(True, NOW),
    "asked: it serves another": lambda one: one.told(False, NOW),
    "takes a call": lambda one: one.begun(one.cuts),
    "refuses, holding none": refuses_alone,
    "refuses, holding others": refuses_among_others,
    "cannot be reached": lambda one: one.unreachable(NOW),
    "takes a connection": lambda one: one.reached(),
    "breaks twice": breaks(BREAKS - 1),
    "breaks three times": breaks(BREAKS),
    "calls wait there": waits_there,
    "unlisted": lambda one: one.unlist(),
    "listed": lambda one: one.relist(),
    "its last call ends": last_call_ends,
    "answers come as fast as from others": as_fast_as_others,
    "answers take three times as long": lambda one: (paced(one, 3.0), one.compared(0.01)),
}

# What is not named leaves the state as it is.
TABLE: dict[State, dict[str, State]] = {
    "joining": {
        "asked: it serves the model": "healthy",
        "asked: it serves another": "foreign",
        "unlisted": "gone",
    },
    "healthy": {
        "asked: it serves another": "foreign",
        "refuses, holding none": "suspect",
        "cannot be reached": "suspect",
        "breaks three times": "suspect",
        "unlisted": "gone",
        "answers take three times as long": "slow",
    },
    "slow": {
        "asked: it serves another": "foreign",
        "refuses, holding none": "suspect",
        "cannot be reached": "suspect",
        "breaks three times": "suspect",
        "unlisted": "gone",
        "answers come as fast as from others": "healthy",
    },
    "suspect": {
        "asked: it serves the model": "healthy",
        "asked: it serves another": "foreign",
        "takes a call": "healthy",
        "takes a connection": "healthy",
        "unlisted": "gone",
    },
    "draining": {
        "listed": "healthy",
        "its last call ends": "gone",
    },
    "gone": {"listed": "healthy"},
    "foreign": {
        "asked: it serves the model": "healthy",
        "unlisted": "gone",
    },
}


@pytest.mark.parametrize("state", TABLE)
@pytest.mark.parametrize("event", EVENTS)
def test_every_event_in_every_state(state: State, event: str) -> None:
    one = BEGIN[state]()
    assert one.state == state
    EVENTS[event](one)
    assert one.state == TABLE[state].get(event, state)


@pytest.mark.parametrize("state", TABLE)
def test_who_gets_calls(state: State) -> None:
    one = BEGIN[state]()
    assert one.room(NOW) == (state in ("healthy", "slow"))
    assert one.room(NOW + 1000) == (state in ("healthy", "slow", "suspect"))
    assert one.usable == (state in ("healthy", "slow"))


def test_a_suspect_is_tried_with_a_single_call_and_ever_less_often() -> None:
    one = server()
    pauses = []
    for _ in range(10):
        one.unreachable(NOW)
        pauses.append(one.paused - NOW)
        assert one.gone == NOW
        assert holding(one, 0).room(one.paused)
        assert not holding(one, 1).room(one.paused)
        one.busy = 0
    for number, pause in enumerate(pauses):
        assert 0.5 <= pause / min(30.0, 0.5 * 2**number) <= 1


def test_who_refuses_gets_what_it_holds_and_more_again_with_what_it_takes() -> None:
    one = holding(server(100), 11)
    one.refused(NOW, None)
    assert one.window == 10
    for _ in range(100):
        one.begun(0)  # sent before the refusal
    assert one.window == 10
    for _ in range(100):
        one.begun(1)
    assert 15 < one.window < 18  # by one for each window full of calls
    one.refused(NOW, 7.0)
    assert not one.room(NOW + 6.9)
    assert holding(one, 0).room(NOW + 7.0)


def test_metrics_cut_the_window_to_what_it_works_on_and_an_eighth() -> None:
    one = holding(server(), 500)
    one.metered(Load(64, 436), 500)
    assert one.window == 72
    one.metered(Load(64, 8), 72)
    assert one.window == 72  # a few wait, so that it never idles
    one.metered(Load(72, 0), 72)
    assert one.window == 144  # it can do more at once
    one.metered(Load(80, 0), 80)
    assert one.window == 144  # and does not need to
    one.metered(Load(144, 0, 0.95), 144)
    assert one.window == 144  # its cache is full


def test_calls_of_others_are_load_and_no_reason_to_send_less_than_one() -> None:
    one = holding(server(), 10)
    one.metered(Load(64, 0), 10)
    assert (one.others, one.load) == (54, 64)
    one.metered(Load(64, 446), 10)
    assert one.window == 1 + 4
    one.metered(Load(5, 0), 10)  # what was sent meanwhile is not seen there yet
    assert one.others == 0


def test_one_of_several_starts_slowly_until_its_metrics_are_seen() -> None:
    one = server()
    one.start_slowly()
    assert one.window == 64
    one.begun(0)
    assert one.window == 64
    one.metered(Load(64, 0), 64)
    assert one.window == 128
    other = server()
    other.start_slowly()
    other.unmetered()
    assert other.window == 512


def test_a_slow_server_s_share_is_by_its_pace() -> None:
    one = server()
    paced(one, 4.0)
    one.compared(0.01)
    assert one.weight == pytest.approx(1 / 4)
    assert holding(one, 8).load == pytest.approx(32)
    for seconds, weight in ((2.5, 0.4), (1.7, 0.4), (1.3, 1.0), (1.8, 1.0)):
        for _ in range(1000):
            one.ended(seconds, 100)
        if seconds != 1.7:
            one.compared(0.01)
            assert one.weight == pytest.approx(weight, rel=0.05)


def test_few_answers_say_nothing_of_a_pace() -> None:
    one = server()
    for _ in range(10):
        one.ended(100.0, 1)
    one.compared(0.01)
    assert (one.pace, one.weight) == (None, 1.0)
