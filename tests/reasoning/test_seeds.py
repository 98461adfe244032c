"""Seeds are the same for ever: what was recorded yesterday replays tomorrow."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reasoning.seeds import fold, generator

keys = st.lists(st.integers() | st.text(st.characters()), max_size=4).map(tuple)


@pytest.mark.parametrize(
    ("seed", "key", "expected"),
    [
        (0, (), 4_246_866_556_266_386_882),
        (0, ("gsm8k-1",), 6_177_569_210_944_620_114),
        (1, ("gsm8k-1",), 657_085_346_919_393_764),
        (1, ("gsm8k-1", 0, 3), 3_365_153_331_292_334_943),
        (-7, ("\ud800", -1), 6_726_483_905_615_491_068),
    ],
)
def test_golden_values(seed: int, key: tuple[int | str, ...], expected: int) -> None:
    assert fold(seed, *key) == expected


def test_golden_generator() -> None:
    assert generator(1, "a").integers(0, 1000, 5).tolist() == [276, 329, 737, 211, 913]


@given(st.integers(), keys)
def test_fits_63_bits(seed: int, key: tuple[int | str, ...]) -> None:
    assert 0 <= fold(seed, *key) < 2**63


@given(st.integers(0, 5), keys, st.integers(0, 5), keys)
def test_different_keys_differ(
    a: int, x: tuple[int | str, ...], b: int, y: tuple[int | str, ...]
) -> None:
    assert (fold(a, *x) == fold(b, *y)) == ((a, x) == (b, y))


@pytest.mark.parametrize(
    ("x", "y"),
    [(("ab",), ("a", "b")), ((12,), (1, 2)), (("1",), (1,)), ((), ("",)), (("a", ""), ("", "a"))],
)
def test_keys_are_not_just_joined(x: tuple[int | str, ...], y: tuple[int | str, ...]) -> None:
    assert fold(0, *x) != fold(0, *y)


def test_numpy_integers_are_integers() -> None:
    assert fold(int(np.int64(3)), np.int64(4)) == fold(3, 4)
