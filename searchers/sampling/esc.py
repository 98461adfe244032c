"""ESC, early-stopping self-consistency (Li et al., 2024, arXiv:2401.10480)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field

from reasoning.errors import RecipeError
from reasoning.search import Search
from reasoning.tree import Node
from searchers.kernels.stopping import unanimous

AGGREGATOR = "majority"
VOTES = True
_N, _WINDOW = 40, 5


def ABOUT(stated: Mapping[str, Any]) -> dict[str, Any]:  # noqa: N802  a constant that depends
    """Raises RecipeError for a window that n samples do not fill."""
    n, window = stated.get("n", _N), stated.get("window", _WINDOW)
    if window > n:
        raise RecipeError(
            f"esc: window={window} is more than n={n}: no window would ever be full, and nothing "
            "stopped; set window from 2 to n, or use self_consistency"
        )
    return {}


async def esc(
    search: Search,
    *,
    n: Annotated[int, Field(ge=1)] = _N,
    window: Annotated[int, Field(ge=2)] = _WINDOW,
    hedge: bool = False,
) -> None:
    """Draw windows of samples until all samples of one window agree, n samples at most.

    The answer is then that window's, whatever the earlier ones said; if none agrees it is the
    majority of all. A last window that n leaves short does not stop anything.
    With `hedge` the first sample is greedy.
    """
    earlier: list[Node] = []
    for start in range(0, n, window):
        size = min(window, n - start)
        nodes = await search.draws(
            search.root, size, until="end", hedge=hedge and not start, land=search.emit
        )
        keys = [answer and answer.key for answer in await search.answers(*nodes)]
        if len(keys) == window and unanimous(keys):
            for node in earlier:
                search.emit(node, 0.0)
            return
        if not nodes and search.budget.exhausted:
            return
        earlier += nodes
