"""States of a procedure: the intermediate ones in order, and the final one, as JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from reasoning.answers import Answer, parts
from reasoning.answers.kind import Answers
from reasoning.errors import RecipeError


def states(gold: str | None, row: Mapping[str, Any]) -> States:
    """The states of a procedure, as in ProcBench (arXiv:2410.03117).

    The last object {"intermediate": [...], "final": ...} in a text is its answer. It is right if
    the final state is; two are the same if their final states are. How far the states before it
    are right is measured: by `prefix_match_length`, `prefix_accuracy`, `sequential_match` and
    `final_match`. The row's `intermediate` and `final` are the gold ones.
    """
    del gold
    if "final" not in row or not isinstance(row.get("intermediate"), list):
        raise RecipeError(
            f"no fields 'intermediate', a list, and 'final' among {', '.join(map(repr, row))}"
        )
    return States((*row["intermediate"], row["final"]))


def agrees(wanted: object, said: object) -> bool:
    """Whether a state is the gold one: whole numbers by value, lists by item, else as texts."""
    if isinstance(wanted, list):
        fits = isinstance(said, list) and len(said) == len(wanted)
        return fits and plainly(said) == plainly(wanted)
    if isinstance(wanted, int) and isinstance(said, int | str):
        return bool(re.fullmatch(r"\s*[-+]?\d{1,400}\s*", str(said))) and int(said) == wanted
    return not isinstance(said, list) and str(said) == str(wanted)


def plainly(state: object) -> str:
    """How a state is written, whether numbers in it are texts or not."""
    if isinstance(state, list):
        return json.dumps([plainly(item) for item in state], ensure_ascii=False)
    return str(state)


def prefix_match(wanted: Sequence[object], said: Sequence[object]) -> int:
    """How many states are right before the first that is not."""
    pairs = list(zip(wanted, said, strict=False))
    return next((i for i, pair in enumerate(pairs) if not agrees(*pair)), len(pairs))


@dataclass(frozen=True)
class States(Answers):
    """`wanted` are the gold states, the final one last. An answer's text is its JSON, its key the
    final state."""

    needs_gold: ClassVar[bool] = False

    wanted: tuple[Any, ...]

    @property
    def graded(self) -> bool:
        return True

    def find(self, text: str, finished: bool) -> Answer | None:
        for part in parts(text, finished):  # an object that is closed is whole
            if (found := _last(part)) is not None:
                return Answer(json.dumps(found, ensure_ascii=False), plainly(found["final"]))
        return None

    async def same(self, a: Answer, b: Answer) -> bool:
        return plainly(json.loads(a.text)["final"]) == plainly(json.loads(b.text)["final"])

    async def grade(self, answer: Answer | None) -> bool | None:
        return answer is not None and agrees(self.wanted[-1], json.loads(answer.text)["final"])

    async def measures(self, answer: Answer | None) -> Mapping[str, float]:
        """Of the gold states and the answer's; a final state that is also written as the last
        intermediate one counts once."""
        found = [] if answer is None else _states(json.loads(answer.text))
        length = prefix_match(self.wanted, found)
        accuracy = length / max(len(self.wanted), len(found))
        return {
            "prefix_match_length": float(length),
            "prefix_accuracy": accuracy,
            "sequential_match": float(accuracy == 1),
            "final_match": float(bool(found) and agrees(self.wanted[-1], found[-1])),
        }


def _states(said: Mapping[str, Any]) -> list[object]:
    before, final = list(said["intermediate"]), said["final"]
    return [*(before[:-1] if before and plainly(before[-1]) == plainly(final) else before), final]


def _last(text: str) -> dict[str, Any] | None:
    """The last object in a text that has the states in it."""
    decoder = json.JSONDecoder()
    for start in reversed([found.start() for found in re.finditer(r"\{", text)][-50:]):
        try:
            found, _ = decoder.raw_decode(text, start)
        except (ValueError, RecursionError):
            continue
        if isinstance(found, dict) and "final" in found:
            before = found.get("intermediate", [])
            if isinstance(before, list):
                return {"intermediate": before, "final": found["final"]}
    return None
