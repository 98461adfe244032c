"""What is done for an answer grows as its length, not as the square of it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from reasoning.backends.openai.answer import Answer
from reasoning.http.connection import Reply


class Told(list[str]):
    """The pieces of an answer, and how many were read."""

    read = 0

    def __getitem__(self, at: Any) -> Any:
        found = super().__getitem__(at)
        self.read += len(found) if isinstance(at, slice) else 1
        return found


@pytest.mark.parametrize("events", [100, 200, 400])
def test_stop_strings_are_looked_for_in_what_is_new(events: int) -> None:
    async def read() -> tuple[list[bool], int]:
        answer, reply = Answer(), Reply(None)
        answer._streamed, answer._said = True, Told()
        found = []
        for piece in [*[f" word{i}" for i in range(events)], "\nE", "ND"]:
            text = piece.replace("\n", "\\n").encode()
            reply.body += b'data: {"choices": [{"text": "%s"}]}\n\n' % text
            found.append(answer.until(("\nEND", "Observation:"), reply))
        return found, answer._said.read

    found, pieces = asyncio.run(read())
    assert found == [False] * (events + 1) + [True]
    assert pieces == events + 2
