"""Who is told how far a run is, beside the terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reasoning.runs.plan import Plan
from reasoning.runs.recipe import Recipe
from reasoning.runs.run import Progress, Watcher


@dataclass(frozen=True, slots=True)
class Told:
    """Everybody who watches a run; `summary` is for those who keep numbers."""

    watchers: Sequence[Watcher]
    keepers: Sequence[Any]

    def __call__(self, progress: Progress) -> None:
        for watcher in (*self.watchers, *self.keepers):
            watcher(progress)

    def summary(self, summary: Mapping[str, Any]) -> None:
        for keeper in self.keepers:
            keeper.summary(summary)


@contextmanager
def tracked(
    recipe: Recipe, names: Sequence[str] | None, folder: Path, *watchers: Watcher
) -> Iterator[Told]:
    """Watchers, and the trackers of a recipe and those named beside it. Raises RecipeError."""
    if not (named := [*recipe.track, *(names or ())]):
        yield Told(watchers, ())
        return
    from reasoning.integrations.trackers import watching

    with watching(named, recipe, folder) as trackers:
        yield Told(watchers, [trackers])


def spans(wanted: bool) -> AbstractContextManager[None]:
    """Spans are sent meanwhile, if they are `wanted`. Raises RecipeError where they cannot be."""
    if not wanted:
        return nullcontext()
    from reasoning.integrations.telemetry import exported

    return exported()


def traced() -> Callable[[Plan], Plan]:
    """What makes spans of a run."""
    from reasoning.integrations.tracing import traced

    return traced
