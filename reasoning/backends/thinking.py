"""A budget for thinking: a model that thinks before it answers is made to answer in time.

Budget forcing (Muennighoff et al., 2025, arXiv:2501.19393): when the budget is used up, the mark
that ends the thinking is appended for the model, and it goes on with its answer.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from reasoning.errors import RecipeError
from reasoning.generate import Generator, Meter, Prompt, Sampling, Wrapping
from reasoning.seeds import fold
from reasoning.tree import Node, Sample


class Thinking(Wrapping):
    """Lets `generator` think for at most `tokens` tokens of a path, steps and all.

    The answer has what is left of the call's `max_tokens`. Text up to `end` is thinking; a path
    that holds `end` has thought. Where the budget is used up first, a line with `end` and a blank
    line are appended: they count as generated tokens, drawn with certainty (logprob 0, and the
    confidence of the token before), and `Sample.info` says `thinking_cut`. A call that thinks and
    answers asks the generator twice; `prompt_tokens` and `cached_tokens` are the sums.
    """

    def __init__(self, generator: Generator, tokens: int, end: str = "</think>") -> None:
        if tokens < 1 or not end:
            raise RecipeError(
                f"thinking_tokens is {tokens} and thinking_end {end!r}; give 1 token or more and "
                "the mark the model's thinking ends with, or leave thinking_tokens out"
            )
        super().__init__(generator)
        self.tokens = tokens
        self.end = end

    async def generate(
        self, prompt: Prompt, params: Sampling, *, seed: int, meter: Meter
    ) -> Sample:
        ask = self.generator.generate
        if self.end in prompt.text:
            return await ask(prompt, params, seed=seed, meter=meter)
        left = self.tokens - prompt.written
        thought = Sample("", token_ids=(), finish="length")
        if left > 0:
            limits = replace(
                params, max_tokens=min(left, params.max_tokens), stop=(*params.stop, self.end)
            )
            thought = await ask(prompt, limits, seed=seed, meter=meter)
            left -= thought.generated_tokens
        if self.end not in thought.text:
            if thought.finish != "length" or left > 0:
                return thought
            cut = await self._cut(thought, params.max_tokens - thought.generated_tokens)
            if cut is None:
                return thought
            meter(cut.generated_tokens - thought.generated_tokens)
            thought = cut
        room = params.max_tokens - thought.generated_tokens
        if any(stop in thought.text for stop in params.stop):
            return replace(thought, finish="stop")
        if room < 1:
            return replace(thought, finish="length")
        answer = await ask(
            _behind(prompt, thought),
            replace(params, max_tokens=room),
            seed=fold(seed, "answer"),
            meter=meter,
        )
        return thought + answer

    async def _cut(self, thought: Sample, room: int) -> Sample | None:
        """The thinking, ended by us; None if there is no room for that."""
        text = f"\n{self.end}\n\n"
        # Where tokens are hidden the path goes on as text, and the mark is part of the prompt.
        encode: Any = getattr(self.generator, "encode", None)
        hidden = encode is None or thought.token_ids is None
        ids = None if hidden else tuple(await encode(text))
        size = len(ids or ())
        if size > room:
            return None
        sure = thought.confidence
        level = sure[-1] if sure is not None and len(sure) else 0.0
        mark = Sample(
            text,
            token_ids=ids,
            logprobs=np.zeros(size, np.float32),
            confidence=np.full(size, level, np.float32),
            finish="length",
            generated_tokens=size,
            info={"thinking_cut": True},
        )
        return thought + mark if thought.generated_tokens else mark


def _behind(prompt: Prompt, thought: Sample) -> Prompt:
    """The prompt that goes on after `thought`, which the tree does not hold yet."""
    key = fold(prompt.parent.key, prompt.slot)
    node = Node(prompt.parent, prompt.slot, thought, key, prompt.turn)
    return replace(prompt, parent=node, slot=0, turn=None)
