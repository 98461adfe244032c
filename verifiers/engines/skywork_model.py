"""Qwen2 with a value head: the model that `verifiers.engines.skywork` registers. Needs vLLM."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from vllm.model_executor.layers.linear import ReplicatedLinear
from vllm.model_executor.models.qwen2_rm import Qwen2ForRewardModel

_HEAD = "v_head.summary."


class Qwen2ForPrmModel(Qwen2ForRewardModel):  # type: ignore[misc]  # vLLM's classes are Any here
    """One logit for every token; the pooler's activation makes it a probability."""

    def __init__(self, *, vllm_config: Any, prefix: str = "") -> None:
        super().__init__(vllm_config=vllm_config, prefix=prefix)
        self.score = ReplicatedLinear(
            vllm_config.model_config.hf_config.hidden_size,
            1,
            params_dtype=self.head_dtype,
            return_bias=False,
        )

    def load_weights(self, weights: Iterable[tuple[str, Any]]) -> Any:
        """Load a checkpoint, whose head has another name than vLLM's reward models give theirs."""
        return super().load_weights(
            (name.replace(_HEAD, "score."), tensor) for name, tensor in weights
        )
