"""What is worked out once for the same objects."""

from __future__ import annotations

import pytest

from reasoning.once import Once


def test_the_same_objects_are_worked_on_once() -> None:
    seen: list[list[int]] = []

    def total(numbers: list[int], more: int) -> int:
        seen.append(numbers)
        return sum(numbers) + more

    once, first, equal = Once(total), [1, 2], [1, 2]
    assert [once(first, 3), once(first, 3), once(equal, 3), once(first, 4)] == [6, 6, 6, 7]
    assert [numbers is first for numbers in seen] == [True, False, True]


def test_an_object_that_is_gone_leaves_its_place_to_nobody() -> None:
    once = Once(list[int].copy)
    assert [once([i]) for i in range(2000)] == [[i] for i in range(2000)]


def test_what_is_raised_is_raised_again() -> None:
    once, empty = Once(list[int].pop), list[int]()
    for _ in range(2):
        with pytest.raises(IndexError):
            once(empty)
