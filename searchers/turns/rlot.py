"""RL of thoughts: a policy picks the next logic block (2025, arXiv:2505.14140)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field

from reasoning.errors import RecipeError, unknown
from reasoning.search import Search
from searchers.turns.blocks import BLOCKS, MARKS, Progress

AGGREGATOR = "first"
POLICY: tuple[Mapping[str, int | str], ...] = (
    {"do": "terminate", "C1": 3},
    {"do": "refine", "A1": 1},
    {"do": "refine", "A3": 1},
    {"do": "debate", "B2": 3},
    {"do": "decompose", "B1": 3, "block": 1},
)


async def rlot(
    search: Search,
    *,
    policy: tuple[Mapping[str, int | str], ...] = POLICY,
    max_blocks: Annotated[int, Field(ge=1)] = 5,
) -> None:
    """Reason by blocks, of which a table picks each next one by the model's marks of itself.

    A block is "reason" (one step; 1 call), "decompose" (sub-tasks, each done, summed up; 2 + m),
    "debate" (three plans, the best compared, one step by it; 3), "refine" (the last step checked;
    1) or "terminate" (the answer; 1). Behind each but the last, one call marks A1 to A3 (modelled,
    clear, calculated rightly), B1, B2 (much left, other approaches), C1, C2 (answered, complete)
    from 0, does not apply, to 3, true. The first row of `policy` whose marks, and number of blocks
    done, are all so says what to `do`; without one it is "reason", and so is a refinement of
    nothing. After `max_blocks` it terminates.

    The paper's policy is a network of 3,000 weights, trained on what the model fails at, which is
    not published; this table is a choice of ours, after the patterns that it reports. That a model
    marks itself rightly is the assumption (82 % in the paper). policy=[] is step by step reasoning.
    """
    for row in policy:
        if row.get("do") not in BLOCKS:
            raise RecipeError(unknown("block of rlot", str(row.get("do")), BLOCKS))
        if strange := [key for key in row if key not in {"do", "block", *MARKS}]:
            raise RecipeError(unknown("mark of rlot", strange[0], {"block", *MARKS}))
    progress, marks = Progress(search, search.root), dict.fromkeys(MARKS, 0)
    for i in range(max_blocks + 1):
        state = {**marks, "block": i}
        rows = [r for r in policy if all(state[k] == v for k, v in r.items() if k != "do")]
        do = str(rows[0]["do"]) if rows else "reason"
        if i == max_blocks:
            do = "terminate"
        elif do == "refine" and not i:
            do = "reason"
        step = await BLOCKS[do](progress)
        if step is None:
            return
        search.emit(progress.at, rank=-i)
        if do == "terminate":
            return
        progress.steps.append(step)
        if i + 1 < max_blocks:
            marks = await progress.judged()
