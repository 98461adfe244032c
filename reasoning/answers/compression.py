"""Programs that print given data, the shorter the better: the KoLMogorov test."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field

from reasoning.answers import Answer
from reasoning.answers.code import Code
from reasoning.errors import RecipeError
from reasoning.sandbox import Bounds, File, Memory, Seconds


def compression(
    gold: str | None,
    row: Mapping[str, Any],
    *,
    seconds: Seconds = 10.0,
    memory_mb: Memory = 1024.0,
    file_mb: File = 16.0,
    workers: Annotated[int, Field(ge=1)] = 2,
) -> Compression:
    """Programs that print the row's `data`, numbers from 0 to 255 (KoLMogorov test, 2503.13992).

    Right is one that prints all of it. `rate` is measured: the bytes of the program by those of the
    data where it is right, else 1, which is what sending the data costs. The options are those of
    kind code.
    """
    data = row.get("data")
    whole = isinstance(data, list) and all(type(x) is int and 0 <= x <= 255 for x in data)
    if not data or not whole:
        raise RecipeError(f"data is {data!r:.60}; it must be a list of numbers from 0 to 255")
    return Compression(data, Bounds(seconds, memory_mb, file_mb), workers, gold)


class Compression(Code):
    """Programs that print `data`, numbers with blanks between; all that print the same are one."""

    def __init__(
        self,
        data: list[int],
        bounds: Bounds = Bounds(),  # noqa: B008 (immutable)
        workers: int = 2,
        gold: str | None = None,
    ) -> None:
        printed = {"input": "", "output": " ".join(map(str, data))}
        super().__init__(inputs=("",), bounds=bounds, workers=workers, gold=gold, cases=(printed,))
        self.data = data

    async def measures(self, answer: Answer | None) -> Mapping[str, float]:
        right = answer is not None and await self.grade(answer) is True
        size = len(answer.text.strip().encode()) if answer is not None else 0
        return {"rate": size / len(self.data) if right else 1.0}
