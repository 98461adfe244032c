"""A budget for thinking: a model that thinks before it answers is made to answer in time.

Budget forcing (Muennighoff et al., 2025, arXiv:2501.19393): when the budget is used up, the mark
that ends the thinking is written for the model, and it goes on with its answer.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from reasoning.errors import RecipeError
from reasoning.tree import FloatArray, Node, Sample

if TYPE_CHECKING:
    from reasoning.drawing import Drawing

_THOUGHT = {"thinking", "thinking_cut"}
"""What the samples say that come before an answer in one draw: the thinking, and the mark."""


END = "</think>"
"""How most models end their thinking."""


@dataclass(frozen=True, slots=True)
class Thinking:
    """At most `tokens` tokens of an attempt, steps and all, are thought before `end`.

    Text up to `end` is thinking; an attempt that holds `end` has thought. Without `tokens` nothing
    bounds it; then it only says where answers are looked for.
    """

    tokens: int | None
    end: str = END

    @classmethod
    def stated(cls, tokens: int | None, end: str) -> Thinking | None:
        """What a recipe says of a model's thinking, None if that is nothing."""
        return None if tokens is None and end == END else cls(tokens, end)

    def __post_init__(self) -> None:
        if (self.tokens is not None and self.tokens < 1) or not self.end:
            raise RecipeError(
                f"thinking_tokens is {self.tokens} and thinking_end {self.end!r}; give 1 token or "
                "more and the mark the model's thinking ends with, or leave thinking_tokens out"
            )


async def think(
    thinking: Thinking, search: Drawing, node: Node, slot: int, **call: Any
) -> Node | None:
    """What `search` draws in `slot` below `node`: the rest of the thinking, then the answer.

    They stand one below the other, and the last of them is what was drawn; where the budget is
    used up, a node between them holds the mark, which nobody generates. Everything together keeps
    to the `max_tokens` of the call. `call` are the options of `Search.draw`.
    """
    step, changes = call["until"] == "step", call["sampling"]
    before = [] if call["turn"] is not None else node.attempt()
    if thinking.end in "".join(n.sample.text for n in before):
        return await search._draw(node, slot, **call)
    assert thinking.tokens is not None, "nothing bounds this thinking"
    left = thinking.tokens - sum(n.sample.generated_tokens for n in before)
    most = changes.get("max_tokens") or search.sampling.max_tokens
    most = min(most, search.step.max_tokens) if step else most
    stop = changes.get("stop")
    stop = search.sampling.stop if stop is None else stop
    thought = None
    if left > 0:
        limits = {"max_tokens": min(left, most), "stop": (*stop, thinking.end)}
        thought = await search._draw(node, slot, **{**call, "sampling": {**changes, **limits}})
        if thought is None:
            return None
        said, used = thought.sample.text, thought.sample.generated_tokens
        ended = thinking.end in thought.text
        cut = thought.sample.finish == "length" and used == left
        most -= used
        stopped = any(s in said for s in (*stop, *(search.step.stop if step else ())))
        if stopped or most < 1 or not (ended or cut):
            return thought
        node, slot, call = thought, search._take(thought), {**call, "turn": None, "sources": ()}
        left = 1 if ended else 0
    if left <= 0:
        mark = Sample(f"\n{thinking.end}\n\n", finish="written", info={"thinking_cut": True})
        node = search.tree.add(node, slot, mark)
        slot = search._take(node)
    sampling = {**changes, "max_tokens": most}
    answer = await search._draw(node, slot, **{**call, "sampling": sampling})
    if answer is None or thought is None:
        return answer or thought
    info = {**(thought.sample.info or {}), "thinking": True}
    thought.sample = replace(thought.sample, info=info)
    return answer


def drawn(node: Node, values: Literal["logprobs", "confidence"]) -> FloatArray | None:
    """What is known of the tokens of the draw that `node` came of, its thinking included."""
    parts = [getattr(node.sample, values)]
    while (parent := node.parent) is not None and _THOUGHT & (parent.sample.info or {}).keys():
        node = parent
        if node.sample.finish != "written":
            parts.append(getattr(node.sample, values))
    known: list[FloatArray] = [part for part in parts if part is not None]
    return np.concatenate(known[::-1]) if len(known) == len(parts) else None
