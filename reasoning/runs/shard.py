"""Part of a run's problems, for those who start a process a part: a job array, or many machines."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from reasoning.errors import RecipeError

T = TypeVar("T")


@dataclass(frozen=True, slots=True, order=True)
class Shard:
    """Shard `index` of `of`, counted from 1: every `of`-th problem, beginning with the `index`-th.

    Shards of a task that is sorted, by difficulty perhaps, are alike, and a problem's shard is the
    same under every `--limit`.
    """

    index: int
    of: int

    @classmethod
    def read(cls, text: str) -> Shard:
        """`3/16`. Raises RecipeError for anything else."""
        found = re.fullmatch(r"(\d{1,9})/(\d{1,9})", text)
        shard = cls(*map(int, found.groups())) if found else None
        if shard is None or not 1 <= shard.index <= shard.of:
            raise RecipeError(
                f"shard {text!r}: write INDEX/OF with an index from 1 to OF, such as 3/16"
            )
        return shard

    def __str__(self) -> str:
        return f"{self.index}/{self.of}"

    @property
    def folder(self) -> str:
        """The name of its folder in that of the run."""
        return f"shard-{self.index}-of-{self.of}"

    def cut(self, problems: Sequence[T]) -> list[T]:
        """Its problems. Raises RecipeError where there are fewer problems than shards."""
        if len(problems) < self.of:
            raise RecipeError(
                f"shard {self}: there are {len(problems)} problems, and a shard needs one at "
                f"least; use {len(problems)} shards or fewer"
            )
        return list(problems[self.index - 1 :: self.of])

    def refuse(self, run_limits: Mapping[str, Any]) -> None:
        """Raise RecipeError where the shards would have to know what the others spend."""
        if run_limits:
            raise RecipeError(
                f"shard {self}: run_limits hold for all problems together, and a shard knows "
                "nothing of the others; use limits, those of a search"
            )


def joined(parts: Sequence[Sequence[T]]) -> list[T] | None:
    """The whole of which `parts` are all shards in their order; None where they are of no one."""
    total, of = sum(map(len, parts)), len(parts)
    if any(len(part) != len(range(i, total, of)) for i, part in enumerate(parts)):
        return None
    return [parts[k % of][k // of] for k in range(total)]
