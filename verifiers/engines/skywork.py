"""The class of the Skywork o1 reward models for vLLM, which has none of its own.

Installed with this package, vLLM finds it by itself (entry point group `vllm.general_plugins`), in
every process it starts. It is Qwen2 with one linear layer on top, scored at every token.
"""

from __future__ import annotations

ARCHITECTURE = "Qwen2ForPrmModel"
"""What the checkpoints' config.json calls it."""


def register() -> None:
    """Tell vLLM where the class is; costs nothing until such a model is loaded."""
    from vllm import ModelRegistry

    if ARCHITECTURE not in ModelRegistry.get_supported_archs():
        ModelRegistry.register_model(
            ARCHITECTURE, f"verifiers.engines.skywork_model:{ARCHITECTURE}"
        )
