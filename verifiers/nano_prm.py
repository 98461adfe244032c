"""The embedded process reward model: how likely each step is right, given the ones before it.

A step ends at a blank line, in training and here. Math-Shepherd (arXiv:2312.08935) describes the
kind of model; this one is small and knows the word arithmetic of `evals.tasks.nano` alone.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

from pydantic import Field

from reasoning.backends.nano import reward
from reasoning.backends.nano.reward import StepModel, marked
from reasoning.errors import RecipeError, VerificationError
from reasoning.generate import Meter
from reasoning.problem import Problem
from reasoning.runs import names
from reasoning.tree import Node
from reasoning.verify import Reduction, Scores, Verifier, reading
from verifiers.engines.steps import new_steps


@names.validated
def nano_prm(
    *,
    path: str | Path = reward.WEIGHTS,
    max_batch: Annotated[int, Field(ge=1)] = 64,
    cache_tokens: Annotated[int, Field(ge=0)] = 32768,
    reduction: Reduction = "last",
) -> NanoPRM:
    """The embedded process reward model: one score in (0, 1) for every step of a node.

    path: a checkpoint folder instead of the bundled one. max_batch: nodes computed at once.
    cache_tokens: tokens of shared beginnings that are kept, so that only new steps are computed.
    """
    try:
        model = StepModel(Path(path), max_batch=max_batch, cache_tokens=cache_tokens)
    except Exception as error:  # tokenizers and safetensors raise kinds of their own
        raise RecipeError(
            f"nano_prm: {path} holds no usable checkpoint ({type(error).__name__}: {error}); leave "
            "verifier.path out for the bundled one"
        ) from error
    return NanoPRM(model).reduced_by(reduction)


class NanoPRM(Verifier):
    """Scores the steps in a node's sample, given the question and the path that leads there.

    Calls that wait together are computed together, by the model itself. Question, path and steps
    are metered in full, also where the model still knew their beginning, so that the count does
    not depend on what was scored before.
    """

    name = "nano_prm"
    text_only = True

    def __init__(self, model: StepModel) -> None:
        self._model = model
        self._longest = max(map(len, model.text.pieces))

    @property
    def parameters(self) -> float:
        return self._model.parameters

    async def score(self, problem: Problem, node: Node, *, meter: Meter) -> Scores:
        """Raises VerificationError for a node without a step, or a path beyond the context."""
        before = node.before
        steps, new = new_steps(before, node.sample.text)
        if new == 0:
            raise VerificationError(f"problem {problem.id!r}: a node without text has no step")
        self._refuse_hopeless(problem, steps)
        tokens, _ = marked(self._model.text, problem.question, steps)
        with reading(len(tokens), meter):
            scores = await self._model.score(problem.question, steps)
        return tuple(float(score) for score in scores[-new:])

    async def aclose(self) -> None:
        """Give back the model's cache and thread; no later call succeeds."""
        await asyncio.to_thread(self._model.close)

    def _refuse_hopeless(self, problem: Problem, steps: list[str]) -> None:
        """Spare the tokenizer what cannot be encoded, or cannot fit however it is encoded."""
        try:
            size = sum(len(part.encode()) for part in (problem.question, *steps))
        except UnicodeEncodeError as error:
            raise VerificationError(f"problem {problem.id!r}: not valid text: {error}") from None
        # Unicode's normal form C, which the tokenizer works on, may be up to a third as long.
        if size > 3 * self._longest * self._model.context:
            raise VerificationError(
                f"problem {problem.id!r}: question and steps have {size} bytes; the model reads at "
                f"most {self._model.context} tokens"
            )
