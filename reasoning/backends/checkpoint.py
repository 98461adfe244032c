"""How many parameters a checkpoint has, from the headers of its files alone: nothing is loaded."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

_EXPERTS = ("num_experts", "num_local_experts", "n_routed_experts")


def parameters(model: str | Path) -> int | None:
    """The parameters of a checkpoint: a folder, or what the hub's cache holds under that name.

    None where they cannot be told without guessing: the files are not on this machine (yet), the
    weights are packed into integers by quantisation, or a token meets some experts only.
    """
    folder = _folder(str(model))
    if folder is None:
        return None
    try:
        if _has_experts(json.loads((folder / "config.json").read_text(encoding="utf-8"))):
            return None
        return _count(folder)
    except (OSError, ValueError):
        return None


def _folder(model: str) -> Path | None:
    if Path(model).is_dir():
        return Path(model)
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        found = try_to_load_from_cache(model, "config.json")
    except HFValidationError:
        return None
    return Path(found).parent if isinstance(found, str) else None


def _has_experts(config: dict[str, Any]) -> bool:
    parts = [config, *(part for part in config.values() if isinstance(part, dict))]
    return any(isinstance(n := part.get(k), int) and n > 1 for part in parts for k in _EXPERTS)


def _count(folder: Path) -> int | None:
    """The size of all tensors; `consolidated.safetensors` would hold them once more."""
    from safetensors import SafetensorError, safe_open

    sizes: dict[str, int] = {}
    for file in sorted(folder.glob("model*.safetensors")):
        try:
            with safe_open(file, "numpy") as tensors:
                for name in tensors.keys():  # noqa: SIM118 (it is no mapping)
                    part = tensors.get_slice(name)
                    if part.get_dtype().startswith(("I", "U")):
                        return None
                    sizes[name] = math.prod(part.get_shape())
        except SafetensorError as error:
            raise ValueError(str(error)) from None
    return sum(sizes.values()) or None
