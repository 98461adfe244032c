"""What a search reads, by hand: every prefix once, and unknown where it is."""

from __future__ import annotations

import pytest

from evals.statistics.compute import processed
from evals.statistics.reading import Call, reads

OPENING = Call((0,), "end", prompt=100, generated=40)


def written(*path: int, text: bool = True) -> Call:
    return Call(path, "written", text=text)


@pytest.mark.parametrize(
    ("calls", "read"),
    [
        ([], {}),
        ([OPENING, Call((1,), "end", prompt=100, generated=7)], {"": 100}),
        ([OPENING, Call((1,), "cancelled", generated=7)], {"": 100}),
        # Steps: each reads what the one before has generated, which is there already.
        ([Call((0,), "stop", 100, 40), Call((0, 0), "stop", 141, 9), Call((0, 1), "end", 0, 3)],
         {"": 100}),
        # Text that the search wrote is read once by those who go on from it, if anybody does.
        ([OPENING, written(0, 0), Call((0, 0, 0), "end", 145, 9), Call((0, 0, 1), "end", 145, 2)],
         {"": 105}),
        ([OPENING, written(0, 0)], {"": 100}),
        ([OPENING, written(0, 0, text=False), Call((0, 0, 0), "end", 0, 9)], {"": 100}),
        # A probe reads its suffix; one without reads what is there.
        ([OPENING, Call((0, 0), "probe", 143, 1, suffix="So"), Call((0, 1), "probe", 140, 1),
          Call((0, 2), "probe", 146, 1, suffix="Hence")], {"": 109}),
        # A turn reads what the user says; where earlier thoughts are left out, all of it.
        ([OPENING, Call((0, 0), "end", 160, 9, turn="Sure?")], {"": 120}),
        ([OPENING, Call((0, 0), "end", 120, 9, turn="Sure?")], {"": 220}),
        # Another conversation, opened twice.
        ([OPENING, Call((0, 0), "end", 30, 9, turn="x", afresh=True),
          Call((1,), "end", 100, 4), Call((1, 0), "end", 30, 9, turn="x", afresh=True)], {"": 130}),
        # Another model reads everything in its own tokens, and goes on from there.
        ([OPENING, Call((0, 0), "stop", 150, 5, model="big"),
          Call((0, 0, 0), "stop", 0, 5, model="big"), Call((0, 0, 0, 0), "end", 152, 5)],
         {"": 112, "big": 150}),
        # A call that a limit cut and that was taken up again tells the sum of its prompts.
        ([Call((0,), "end", 240, 60), Call((1,), "end", 100, 4)], {"": 100}),
        ([OPENING, Call((1,), "failed")], {"": 100}),
        ([Call((0,), "failed")], {"": 0}),
    ],
)  # fmt: skip
def test_every_prefix_is_read_once(calls: list[Call], read: dict[str, int]) -> None:
    assert reads(calls) == read


@pytest.mark.parametrize(
    "calls",
    [
        [Call((0,), "end", generated=40)],
        [Call((0,), "cancelled", generated=4)],
        [OPENING, written(0, 0), Call((0, 0, 0), "end", 0, 9)],
        [OPENING, Call((0, 0), "end", 0, 9, turn="Sure?")],
        [OPENING, Call((0, 0), "probe", 0, 1, suffix="So")],
    ],
)
def test_unknown_prompts_are_not_none(calls: list[Call]) -> None:
    assert reads(calls) == {"": None}
    assert processed({"generated_tokens": 50}, calls) is None


def test_tokens_are_counted_by_model() -> None:
    calls = [OPENING, Call((0, 0), "end", 150, 5, model="big")]
    share = {"generated_tokens": 5, "prompt_tokens": 150}
    usage = {"generated_tokens": 55, "prompt_tokens": 250, "cached_tokens": 90}
    # 10 tokens were generated in tries that left no node.
    assert processed({**usage, "models": {"big": share}}, calls) == {"": 150, "big": 155}
    # 20 tokens of prompts are of texts that were read for their likelihood.
    more = {**usage, "prompt_tokens": 270, "models": {"big": share}}
    assert processed(more, calls) == {"": 170, "big": 155}


def test_the_cache_of_the_engine_plays_no_part() -> None:
    usage = {"generated_tokens": 40, "prompt_tokens": 100}
    assert len({processed({**usage, "cached_tokens": c}, [OPENING])[""] for c in (0, 99)}) == 1  # type: ignore[index]
