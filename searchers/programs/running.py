"""How searchers run programs that models write: within limits, and once for each place."""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal, TypeAlias

from reasoning.errors import RecipeError
from reasoning.sandbox import Bounds, Sandbox
from reasoning.search import Search
from reasoning.tree import Node

Language: TypeAlias = Literal["python", "prolog"]
LONGEST = 2_000
"""Characters of an output that a model reads."""
_FENCES = {"python": r"(?:python3?|py)", "prolog": r"(?:prolog|pl)"}
_WORKERS = 2


@dataclass(frozen=True)
class Output:
    """What a program printed, and the error that it ended in, "" if none. Both are stripped."""

    printed: str
    error: str

    @property
    def told(self) -> str:
        """Both, as much as a model reads of it."""
        said = "\n".join(part for part in (self.printed, self.error) if part)
        return said if len(said) <= LONGEST else said[:LONGEST] + "..."


def blocks(text: str, language: Language = "python") -> list[str]:
    """The complete fenced blocks of that language."""
    return re.findall(rf"```{_FENCES[language]}[ \t]*\n((?:(?!```).)*)```", text, flags=re.DOTALL)


async def run(
    search: Search,
    at: Node,
    program: str,
    before: Sequence[str] = (),
    *,
    language: Language = "python",
    seconds: float,
    memory_mb: float,
) -> Output:
    """What comes of a program behind `before`, which the same process runs first.

    It is remembered at the place `at`: a search that is resumed runs nothing twice.
    """
    box = _sandbox(language, seconds, memory_mb)
    reply = await search.call(box.run, {"program": program, "before": list(before)}, at=at)
    if not isinstance(reply, dict):
        return Output("", "the program could not be run")
    if (value := reply.get("value")) is not None:
        return Output(value["printed"].strip(), value["error"].strip())
    return Output("", str(reply.get("error", "the program did not end")).strip())


def installed(language: Language) -> None:
    """Raise RecipeError if nothing runs programs of that language here."""
    if language == "prolog" and shutil.which("swipl") is None:
        raise RecipeError(
            "programs in Prolog are run by SWI-Prolog, and there is no swipl on the PATH; install "
            "it (apt install swi-prolog-nox), or set language: python"
        )


@cache
def _sandbox(language: Language, seconds: float, memory_mb: float) -> Sandbox:
    """One for all problems, so that no more than `_WORKERS` programs run at once."""
    function = {"python": "ran", "prolog": "prolog"}[language]
    bounds = Bounds(seconds, memory_mb)
    name = f"reasoning.sandbox.programs:{function}"
    return Sandbox(name, ("program", "before"), bounds, _WORKERS)
