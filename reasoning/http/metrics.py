"""What a server's `/metrics` say of its load, by the names of vLLM, SGLang and llama.cpp.

vLLM labels every number with the engine that it is of: under data parallelism one server has
several, each with a cache of its own, and `X-data-parallel-rank` says which is to take a call.
"""

from __future__ import annotations

import math
import re

from reasoning.http.standing import Load

RANK = "x-data-parallel-rank"
"""The header that names one of a server's engines."""
_NAMES = {
    b"vllm:num_requests_running": "running",
    b"sglang:num_running_reqs": "running",
    b"llamacpp:requests_processing": "running",
    b"vllm:num_requests_waiting": "waiting",
    b"sglang:num_queue_reqs": "waiting",
    b"llamacpp:requests_deferred": "waiting",
    b"vllm:kv_cache_usage_perc": "cache",
    b"vllm:gpu_cache_usage_perc": "cache",  # before 0.10
    b"sglang:token_usage": "cache",
    b"llamacpp:kv_cache_usage_ratio": "cache",
}
_LINE = re.compile(rb"^(%b)(\{[^}\n]*\})?[ \t]+(\S+)" % b"|".join(_NAMES), re.MULTILINE)
_ENGINE = re.compile(rb'[{,]engine="(\d+)"')


def load(text: bytes, rank: int | None = None) -> Load | None:
    """The load of a server, or of one of its engines; None if the text does not tell."""
    found: dict[str, float] = {}
    for name, labels, said in _LINE.findall(text):
        if rank is not None and _engine(labels) != rank:
            continue
        try:
            value = float(said)
        except ValueError:
            continue
        if not 0 <= value < math.inf:
            continue
        kind = _NAMES[name]
        # Calls of several engines add up; of shares the largest says whether one is full.
        before = found.get(kind, 0.0)
        found[kind] = max(before, value) if kind == "cache" else before + value
    if "running" not in found or "waiting" not in found:
        return None
    return Load(round(found["running"]), round(found["waiting"]), found.get("cache", 0.0))


def ranks(text: bytes) -> list[int]:
    """The engines of a vLLM server, if it has several."""
    found = {_engine(labels) for name, labels, _ in _LINE.findall(text) if name[:5] == b"vllm:"}
    known = sorted(rank for rank in found if rank is not None)
    return known if len(known) > 1 else []


def _engine(labels: bytes) -> int | None:
    found = _ENGINE.search(labels)
    return int(found[1]) if found else None
