"""Outcome reward models on vLLM, in this process or behind HTTP: one score for a whole answer.

Cobbe et al., 2021 (arXiv:2110.14168) describe their use. A reward model reads question and answer
as a conversation, through its own chat template, and classifies the whole.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from reasoning.backends import checkpoint
from reasoning.errors import RecipeError, VerificationError
from reasoning.generate import Meter
from reasoning.problem import Problem
from reasoning.runs import names
from reasoning.tree import Node
from reasoning.verify import Reduction, Scores, Verifier, reading
from verifiers.engines.pooling import PoolingEngine, PoolingServer, Rows, Task


@names.validated
def reward_model(
    *,
    model: str,
    base_url: str | list[str] | None = None,
    label: int = -1,
    last_token: bool = False,
    api_key_env: str = "OPENAI_API_KEY",
    reduction: Reduction = "last",
    **engine: Any,
) -> RewardModel:
    """An outcome reward model on vLLM: one score in [0, 1] for the answer so far.

    model: a sequence classifier, by folder or name on the hub; with `base_url` the name it is
    served by. base_url: servers started with `--runner pooling`; without it vLLM runs in this
    process and further options go to its engine by vLLM's own names.
    label: the class that is good, of several: the score is its share in their softmax, and the
    sigmoid of its logit in a model with one output.
    last_token: for models that score every token (Qwen2.5-Math-RM-72B); the last one counts.
    """
    if base_url is not None and engine:
        raise RecipeError(
            f"reward_model: {', '.join(engine)}: options of the engine belong on the server's "
            "command line where base_url is set"
        )
    source = (
        PoolingEngine(model, engine)
        if base_url is None
        else PoolingServer(base_url, model, api_key_env)
    )
    return RewardModel(source, label, last_token).reduced_by(reduction)


class RewardModel(Verifier):
    """Scores the text of a path, as the assistant's answer to the question.

    What the model reads is metered. A server tells how much that was with its answer, so a call
    that is cancelled before counts nothing.
    """

    name = "reward_model"
    text_only = True

    def __init__(self, source: PoolingEngine | PoolingServer, label: int, last_token: bool) -> None:
        self._source = source
        self._label = label
        self._last_token = last_token

    @property
    def version(self) -> str:
        """Which model, and where it runs."""
        return self._source.version

    @property
    def parameters(self) -> int | None:
        """Of the model, None where its files are not here (yet) or do not tell."""
        return checkpoint.parameters(self._source.model)

    async def score(self, problem: Problem, node: Node, *, meter: Meter) -> Scores:
        """Raises VerificationError for a path without text, or beyond the model's context."""
        text = node.text.strip()
        if not text:
            raise VerificationError(f"problem {problem.id!r}: a node without text has no score")
        try:
            f"{problem.question}{text}".encode()
        except UnicodeEncodeError as error:
            raise VerificationError(f"problem {problem.id!r}: not valid text: {error}") from None
        messages = [
            {"role": "user", "content": problem.question},
            {"role": "assistant", "content": text},
        ]
        values = await self._read(messages, meter)
        return (self._good(values),)

    async def astart(self) -> None:
        """Start the engine, or see that the model is served."""
        await self._source.astart()

    async def describe(self) -> Mapping[str, str]:
        """What is read from where, in words; a server is asked. Raises what a call raises."""
        if isinstance(self._source, PoolingServer):
            await self._source.astart()
        return {"reward model": self._source.version}

    async def aclose(self) -> None:
        await self._source.aclose()

    async def _read(self, messages: Sequence[Mapping[str, str]], meter: Meter) -> Rows:
        """The logits [labels], or those of all tokens [tokens]."""
        task: Task = "token_classify" if self._last_token else "classify"
        if isinstance(self._source, PoolingServer):
            return await self._source.converse(messages, task, meter)
        ids = await self._source.render(messages)
        with reading(len(ids), meter):
            pooled = await self._source.pool(ids, task, activate=False)
        return pooled.rows.reshape(-1)

    def _good(self, logits: Rows) -> float:
        """The probability of the good label: a sigmoid, or a softmax over several labels."""
        if self._last_token:
            logits = logits[-1:]
        if not np.isfinite(logits).all():
            raise VerificationError(f"the reward model gave {logits.tolist()}, no finite numbers")
        if not -len(logits) <= self._label < len(logits):
            raise RecipeError(
                f"the reward model has {len(logits)} outputs, none of them is number {self._label};"
                " set verifier.label to the one that is good"
            )
        both = logits.astype(np.float64) if len(logits) > 1 else np.array([0.0, logits[0]])
        shares = np.exp(both - both.max())
        return float(shares[self._label] / shares.sum())
