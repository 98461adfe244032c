"""The queue: a table of histories, and laws that hold for any of them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reasoning.cluster.queue import Queue

# Each row: what happens, as (verb, worker, argument, what comes of it).
TABLE: dict[str, list[tuple[str, str, Any, Any]]] = {
    "each problem once, and then it is over": [
        ("join", "a", 0, None),
        ("join", "b", 0, None),
        ("take", "a", 2, ["p", "q"]),
        ("take", "b", 2, ["r"]),
        ("take", "b", 2, []),
        ("done", "a", "p", True),
        ("done", "a", "q", True),
        ("over", "", None, False),
        ("done", "b", "r", True),
        ("over", "", None, True),
    ],
    "a machine that goes gives back, first in line, and nobody is to blame": [
        ("join", "a", 0, None),
        ("join", "b", 0, None),
        ("take", "a", 2, ["p", "q"]),
        ("done", "a", "p", True),
        ("leave", "a", False, []),
        ("take", "b", 9, ["q", "r"]),
    ],
    "late results of one that was given up are no news": [
        ("join", "a", 0, None),
        ("join", "b", 0, None),
        ("take", "a", 1, ["p"]),
        ("leave", "a", False, []),
        ("take", "b", 1, ["p"]),
        ("done", "a", "p", False),
        ("done", "b", "p", True),
        ("done", "b", "p", False),
        ("take", "a", 1, []),
    ],
    "a death in company gives nobody up; suspects go alone, and last": [
        ("join", "a", 0, None),
        ("join", "b", 0, None),
        ("take", "a", 2, ["p", "q"]),
        ("leave", "a", True, []),
        ("take", "b", 2, ["r"]),
        ("take", "b", 1, []),  # it holds one
        ("done", "b", "r", True),
        ("take", "b", 2, ["p"]),
        ("take", "b", 1, []),  # p stays alone
        ("leave", "b", True, ["p"]),
        ("join", "c", 0, None),
        ("take", "c", 2, ["q"]),
        ("done", "c", "q", True),
        ("over", "", None, True),
    ],
    "one that kills alone at first has another try": [
        ("join", "a", 0, None),
        ("take", "a", 1, ["p"]),
        ("leave", "a", True, []),
        ("join", "b", 0, None),
        ("take", "b", 2, ["q", "r"]),
        ("leave", "b", False, []),
        ("join", "c", 0, None),
        ("take", "c", 2, ["q", "r"]),
        ("done", "c", "q", True),
        ("done", "c", "r", True),
        ("take", "c", 2, ["p"]),
        ("leave", "c", False, []),  # its machine went: no second kill
        ("join", "d", 0, None),
        ("take", "d", 2, ["p"]),
        ("leave", "d", True, ["p"]),
        ("over", "", None, True),
    ],
    "a lease is renewed by whatever is heard, until it has left": [
        ("join", "a", 5, None),
        ("expires", "a", None, 15),
        ("heard", "a", 12, None),
        ("expires", "a", None, 22),
        ("leave", "a", False, []),
        ("heard", "a", 30, None),
        ("expires", "a", None, 22),
    ],
}


@pytest.mark.parametrize("history", TABLE.values(), ids=TABLE)
def test_histories(history: list[tuple[str, str, Any, Any]]) -> None:
    queue = Queue(["p", "q", "r"], patience=10)
    for step, (verb, worker, argument, expected) in enumerate(history):
        if verb == "over":
            found: Any = queue.over
        elif verb == "leave":
            found = queue.leave(worker, blame=argument)
        elif verb == "expires":
            found = queue.expires(worker)
        else:
            found = getattr(queue, verb)(worker, argument)
        assert found == expected, f"step {step}: {verb} {worker} {argument}"


def test_a_name_is_used_once() -> None:
    queue = Queue(["p"], patience=1)
    queue.join("a", 0)
    queue.leave("a")
    with pytest.raises(ValueError, match="joined before"):
        queue.join("a", 0)


@given(st.integers(1, 12), st.sets(st.integers(0, 11)), st.data())
def test_only_the_guilty_are_given_up(count: int, guilty: set[int], data: st.DataObject) -> None:
    """Whoever dies when: all problems end, each once, and those given up are those that kill."""
    poison = {str(i) for i in guilty if i < count}
    queue = Queue(map(str, range(count)), patience=1)
    ended, given_up, names = list[str](), list[str](), iter(range(10_000))
    workers: list[str] = []
    while not queue.over:
        while len(workers) < 3:
            workers.append(f"w{next(names)}")
            queue.join(workers[-1], 0)
        worker = data.draw(st.sampled_from(workers))
        queue.take(worker, data.draw(st.integers(1, 4)))
        held = sorted(queue.holds(worker))
        if not held:
            continue
        problem = data.draw(st.sampled_from(held))
        machine_dies = next(names) % 7 == 0
        if machine_dies or problem in poison:
            given_up += queue.leave(worker, blame=not machine_dies)
            workers.remove(worker)
        else:
            assert queue.done(worker, problem)
            ended.append(problem)
    assert sorted(ended) == sorted(set(map(str, range(count))) - poison)
    assert sorted(given_up) == sorted(poison)
