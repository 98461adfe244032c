"""phi-Decoding: foresight sampling with adaptive pruning (Xu et al., 2025, arXiv:2503.13288)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import inf, isfinite
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from reasoning.search import Search
from reasoning.tree import Node
from searchers.kernels.foresight import Combine, Selection, in_width
from searchers.tree.engine import (
    Growth,
    Natural,
    NonNegative,
    Positive,
    Temperature,
    at_least_partial,
    grow,
    mean_logprob,
    run_out,
)

AGGREGATOR = "first"
STEPS = True


@dataclass(frozen=True, slots=True, eq=False)
class Path:
    """A path and what is ahead of it.

    `end` is its continuation to the end (itself if it has ended, None if that came to nothing),
    `value` F, the continuation's mean logprob, and `before` the F of the path without its last
    step; 0 where unknown.
    """

    node: Node
    before: float = 0.0
    end: Node | None = None
    value: float = -inf

    @property
    def level(self) -> float:
        """F, for the next step to be measured against."""
        return self.value if isfinite(self.value) else 0.0

    @property
    def text(self) -> str:
        return self.end.sample.text.strip() if self.end else ""


async def phi_decoding(
    search: Search,
    *,
    beams: Positive = 4,
    rollouts: Positive = 4,
    clusters: Positive = 3,
    agreement: Annotated[float, Field(gt=0, le=1)] = 0.7,
    min_steps: Natural = 4,
    max_steps: Positive = 8,
    deviations: NonNegative = 1.0,
    advantage_temperature: Temperature = 0.1,
    cluster_temperature: Temperature = 1.0,
    combine: Combine = "mean",
    rise_only: bool = True,
    top_up: bool = True,
    stop_identical: bool = True,
    step_temperature: NonNegative | None = None,
) -> None:
    """Judge every next step by a look ahead to the end, keep those that gain and that agree.

    Each of the `beams` paths draws `rollouts` steps. Steps whose mean logprob is more than
    `deviations` below the mean are pruned; the others are continued to the end. F is the mean
    logprob of that continuation, A = F - F of the path before (0 at first), and k-means on TF-IDF
    puts the continuations into `clusters`. The next beams are drawn without replacement by a
    softmax over A plus one over the size of the own cluster. Once `agreement` of the paths are in
    one cluster (from `min_steps` on), or after `max_steps`, all beams are run to their end and one
    is drawn.

    The defaults are the authors' code. It differs from the paper, which has both temperatures 0.6,
    `combine` exp (exp(R) instead of R), and neither `rise_only` (only A > 0 may be drawn; with
    fewer than `beams` of them, by A alone among all), nor `top_up` (pruned steps come back where
    fewer than `beams` are left), nor `stop_identical` (stop when all beams took the same step).
    The code draws steps at temperature 0.6 (`step_temperature`). A step that ends its solution is
    judged by its own logprob and text, and draws no more steps. Solutions met on the way are
    candidates behind the one drawn.
    """
    selection = Selection(clusters, advantage_temperature, cluster_temperature, combine, rise_only)
    rng, view = search.rng("phi_decoding"), _View(search, step_temperature)
    with at_least_partial(search, view.worth):
        beam, ended = [Path(search.root, value=0.0)], list[Path]()
        for step in range(1, max_steps + 1):
            steps = await view.next_steps(beam, rollouts * (beams if step == 1 else 1))
            if not steps:
                break
            scores, size = [view.worth(path.node) for path in steps], beams - len(ended)
            kept = in_width(scores, deviations=deviations, at_least=size * top_up, rng=rng)
            paths = await view.look_ahead([steps[i] for i in kept])
            drawn, share = selection.several(*views(paths), size, least=beams, rng=rng)
            chosen = [paths[i] for i in drawn]
            ended += [path for path in chosen if path.node.finished]
            beam = [path for path in chosen if not path.node.finished]
            agreed = share >= agreement or (stop_identical and identical(chosen))
            if not beam or (agreed and step >= min_steps):
                break
        rest = await view.look_ahead([Path(p.node, p.level) for p in beam if p.node.parent])
        if final := [path for path in ended + rest if path.end and path.end.finished]:
            view.choose(final[selection.one(*views(final), rng=rng)])
        await run_out(search, view.worth)


@dataclass(frozen=True, slots=True)
class _View:
    """What the search draws for its paths."""

    search: Search
    temperature: float | None  # of steps, not of what is ahead

    def worth(self, node: Node) -> float:
        """The mean logprob of its own tokens."""
        return mean_logprob(self.search, node)

    async def next_steps(self, beam: list[Path], n: int) -> list[Path]:
        """`n` next steps of every path, those that say something."""
        wishes = [Growth(path.node, n) for path in beam]
        grown = await grow(
            self.search, wishes, judge=None, land=self.land, temperature=self.temperature
        )
        pairs = [(path, node) for path, row in zip(beam, grown, strict=True) for node in row]
        return [Path(node, before=p.level) for p, node in pairs if node.sample.generated_tokens]

    async def look_ahead(self, paths: list[Path]) -> list[Path]:
        """The paths, each with its continuation to the end."""
        wishes = [Growth(path.node, int(not path.node.finished)) for path in paths]
        grown = await grow(self.search, wishes, judge=None, land=self.land, until="end")
        found = []
        for path, nodes in zip(paths, grown, strict=True):
            end = path.node if path.node.finished else next(iter(nodes), None)
            found.append(replace(path, end=end, value=self.worth(end) if end else -inf))
        return found

    def land(self, node: Node) -> None:
        """A solution met on the way is a candidate behind the one drawn."""
        if node.finished:
            self.search.emit(node, rank=1 - max(-1e9, self.worth(node)))

    def choose(self, path: Path) -> None:
        assert path.end is not None
        self.search.emit(path.end, rank=0)


def identical(paths: list[Path]) -> bool:
    """Whether several paths took the same step."""
    return len(paths) > 1 and len({path.node.sample.text.strip() for path in paths}) == 1


def views(paths: list[Path]) -> tuple[NDArray[np.float64], list[str]]:
    """The advantages A and the texts ahead."""
    return np.array([path.value - path.before for path in paths]), [path.text for path in paths]
