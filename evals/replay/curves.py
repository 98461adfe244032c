"""The curves of a replay in a file: what every strategy got and cost on every problem.

With them another replay, or a run, can be compared on the same problems later.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from evals.statistics.equal_compute import Points
from reasoning.errors import StoreError

if TYPE_CHECKING:
    from evals.replay.evaluate import Replayed
    from evals.replay.samples import Recording

FILE = "curves.json.gz"


class Curves(NamedTuple):
    """`points` by strategy, over `problems` in their order; what they cost is on `axis`."""

    problems: list[str]
    axis: str
    points: dict[str, Points]


def save(recording: Recording, results: Sequence[Replayed], axis: str, folder: Path) -> None:
    """Write the file. `axis` is tokens, or samples where tokens are unknown."""
    told = {
        "problems": [p.id for p in recording.problems],
        "axis": axis,
        "curves": {
            r.strategy.label: {
                "values": r.values.round(6).tolist(),
                "costs": (r.tokens if axis == "tokens" else r.samples).round(3).tolist(),
            }
            for r in results
        },
    }
    packed = gzip.compress(json.dumps(told).encode(), 6, mtime=0)
    (folder / FILE).write_bytes(packed)


def load(folder: Path) -> Curves:
    """Read the file. Raises StoreError if it is damaged."""
    path = folder / FILE
    try:
        told = json.loads(gzip.decompress(path.read_bytes()))
        points = {n: Points.of(c["values"], c["costs"]) for n, c in told["curves"].items()}
        problems, axis = list(map(str, told["problems"])), str(told["axis"])
        if any(len(p.values) != len(problems) for p in points.values()):
            raise ValueError("a curve has not as many problems as there are names")
        return Curves(problems, axis, points)
    except (
        OSError,
        EOFError,
        zlib.error,
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
    ) as error:
        raise StoreError(
            f"{path} cannot be read: {error}; replay again to write it anew"
        ) from error
