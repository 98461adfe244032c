"""From what is known of a run to what a page shows, in tables."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reasoning.live import view
from reasoning.live.folder import Part
from reasoning.live.following import followed
from reasoning.live.results import Errors, Tally, kind_of
from reasoning.live.words import lasting

NAMES = st.sampled_from("abc")
SECTIONS = st.dictionaries(NAMES, st.dictionaries(NAMES, st.integers() | st.text(), max_size=3))


@given(SECTIONS, SECTIONS)
def test_what_changed_makes_the_new_of_the_old(before: Any, after: Any) -> None:
    found = {name: dict(entries) for name, entries in before.items()}
    for name, entries in view.changes(before, after).items():
        known = found.setdefault(name, {})
        for key, value in entries.items():
            if value is None:
                del known[key]
            else:
                known[key] = value
    assert {k: v for k, v in found.items() if v} == {k: v for k, v in after.items() if v}


def test_what_has_not_changed_is_not_sent() -> None:
    sections = {"a": {"x": 1, "y": 2}}
    assert view.changes(sections, {"a": {"x": 1, "y": 3}}) == {"a": {"y": 3}}
    assert view.changes(sections, sections) == {}


@pytest.mark.parametrize(
    ("points", "pace"),
    [
        ([(0, 0)], None),
        ([(0, 0), (0.5, 100)], None),
        ([(0, 0), (2, 100)], 50),
        ([(0, 0), (2, 100), (2, 100)], 50),
        ([(t, 10 * t if t <= 20 else 200) for t in range(31)], 0),
        ([(0, 0), (60, 600), (70, 800)], 20),
        ([(0, 500), (2, 100)], None),  # another process
        ([(9, 0), (2, 100), (4, 300)], 100),
    ],
)
def test_the_pace_is_of_the_last_seconds(points: list[Any], pace: float | None) -> None:
    moving = view.Pace()
    found = [moving.at(*point) for point in points]
    assert found[-1] == pace


LIVE = {"problems": 4, "done": 1, "new_done": 1, "seconds": 20.0}


@pytest.mark.parametrize(
    ("live", "summary", "quiet", "state"),
    [
        (LIVE, None, 1, "running"),
        (LIVE, {"problems": 4}, 1, "running"),  # more of it than before
        (LIVE, None, 60, "silent"),
        ({**LIVE, "ended": "failed", "why": "no engine"}, None, 1, "failed"),
        ({**LIVE, "ended": "interrupted"}, None, 900, "interrupted"),
        ({**LIVE, "ended": "finished"}, None, 1, "finished"),
        (None, {"problems": 4}, 900, "finished"),
        (None, None, 1, "unseen"),
        (None, None, 900, "stopped"),
        ({"ended": {"a": 1}}, None, 900, "finished"),
    ],
)
def test_how_a_run_is(live: Any, summary: Any, quiet: float, state: str, tmp_path: Path) -> None:
    part = Part(tmp_path)
    part.live, part.summary, part.heard = live, summary, 1000 - quiet
    assert view.state(part, 1000.0) == state
    words = view.told(part, 1000.0)
    if state == "failed":
        assert "no engine" in words
    if state in ("silent", "stopped"):
        assert lasting(quiet) in words


def parts(*lives: Any) -> list[Part]:
    found = []
    for live in lives:
        part = Part(Path("runs") / "r")
        part.live, part.heard = live, 0.0
        found.append(part)
    return found


@pytest.mark.parametrize(
    ("lives", "value", "note", "share"),
    [
        ([LIVE], "1", "of 4, about 60 s left", 0.25),
        ([{**LIVE, "new_done": 0}], "1", "of 4, time left unknown", 0.25),
        ([{**LIVE, "done": 4}], "4", "of 4", 1.0),
        ([{**LIVE, "ended": "interrupted"}], "1", "of 4", 0.25),
        ([LIVE, {**LIVE, "new_done": 3, "done": 3}], "4", "of 8, about 60 s left", 0.5),
        ([{"done": "many"}], "0 or more", "of unknown", None),
        ([{**LIVE, "problems": math.nan}], "0 or more", "of unknown", None),
    ],
)
def test_problems_done(lives: Any, value: str, note: str, share: float | None) -> None:
    found = view.of_run(parts(*lives), view.Pace(), 1.0)["numbers"]["problems"]
    assert (found["value"], found["note"], found.get("share")) == (value, note, share)


def test_what_is_unknown_says_so() -> None:
    numbers = view.of_run(parts({**LIVE, "in_flight": None}), view.Pace(), 1.0)["numbers"]
    assert {name: numbers[name]["value"] for name in ("calls_now", "pace", "money")} == {
        "calls_now": "unknown", "pace": "unknown", "money": "unknown",
    }  # fmt: skip
    assert numbers["money"]["note"] == "nothing is over yet"


def test_money_is_unknown_without_prices() -> None:
    (part,) = parts(LIVE)
    part.results.tallies["s"] = Tally(done=1)
    numbers = view.of_run([part], view.Pace(), 1.0)["numbers"]
    assert (numbers["money"]["value"], numbers["money"]["note"]) == ("unknown", "no prices known")


def test_spending_stands_beside_its_limit() -> None:
    spent = {"tokens": [750, 1000], "money": [0.5, 0.25], "calls": "many", "seconds": [1, None]}
    numbers = view.of_run(parts({**LIVE, "spent": spent}), view.Pace(), 1.0)["numbers"]
    limits = {name: card for name, card in numbers.items() if name.startswith("limit")}
    assert list(limits) == ["limit tokens", "limit money"]
    assert limits["limit tokens"] == {
        "label": "Tokens of the run", "value": "750", "note": "of 1,000 at most, 75%",
        "share": 0.75,
    }  # fmt: skip
    assert limits["limit money"]["share"] == 1.0


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.4, "0 s"), (99, "99 s"), (150, "2 min"), (7260, "2 h 1 min"), (9e5, "10 days")],
)
def test_times_in_words(seconds: float, words: str) -> None:
    assert lasting(seconds) == words


@pytest.mark.parametrize(
    ("failure", "kind"),
    [
        ("generating (0, 1): TransientError: HTTP 500: busy", "TransientError"),
        ("scoring (0,): verifiers.x.Odd: no", "Odd"),
        ("ValueError: x", "ValueError"),
        ("KeyError", "KeyError"),
        ("something else", "other"),
        ("", "other"),
    ],
)
def test_failures_have_a_kind(failure: str, kind: str) -> None:
    assert kind_of(failure) == kind


def test_errors_come_with_their_first_example() -> None:
    errors = Errors()
    for failure in ("a: AError: first", "b: BError: x", "a: AError: second"):
        errors.add(failure)
    errors.add("Traceback (most recent call last):\n  File x\nBError: last line\n", last=True)
    found = view.errors([errors])
    assert found["AError"] == {"count": "2", "example": "a: AError: first"}
    assert found["BError"] == {"count": "2", "example": "b: BError: x"}
    assert view.errors([errors], texts=False) == {
        "AError": {"count": "2"},
        "BError": {"count": "2"},
    }


RUNNING = {"state": "running", "seq": 1, "nodes": 3}
BIG = {"state": "running", "seq": 2, "nodes": 9}
OVER = {"state": "right", "seq": 3}


@pytest.mark.parametrize(
    ("searches", "chosen", "before", "held", "key"),
    [
        ({}, None, None, math.inf, None),
        ({"a": RUNNING, "b": BIG}, None, None, math.inf, "b"),
        ({"a": RUNNING, "b": BIG}, None, "a", 0.0, "a"),
        ({"a": RUNNING, "b": BIG}, "a", "b", math.inf, "a"),
        ({"a": OVER, "b": BIG}, None, "a", 1.0, "a"),  # a while longer
        ({"a": OVER, "b": BIG}, None, "a", 3.0, "b"),
        ({"a": OVER}, None, "a", 30.0, "a"),
        ({"a": OVER, "b": {**OVER, "seq": 9}}, None, None, math.inf, "b"),
        ({"a": OVER}, "gone", None, math.inf, "gone"),
    ],
)
def test_whom_a_page_follows(
    searches: Any, chosen: Any, before: Any, held: float, key: str | None
) -> None:
    assert followed(searches, chosen, before, held) == key


def test_accuracy_has_its_interval(folder: Path, writing: Callable[..., Path]) -> None:
    part = Part(folder)
    part.look()
    found = view.of_run([part], view.Pace(), 0.0)
    assert found["strategies"]["vote"] == {
        "name": "vote", "done": "3", "tokens": "100", "failed": "3",
        "accuracy": "0.667 (0.21–0.94)", "bar": [0.208, 0.667, 0.939],
    }  # fmt: skip
    assert found["run"]["waiting"] == "1 strategy has no result yet."
