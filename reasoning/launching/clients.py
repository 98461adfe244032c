"""What a recipe has to say so that its parts use servers that were started for it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from reasoning.launching.servers import Server, own, parts
from reasoning.runs.recipe import Recipe


def changes(recipe: Recipe, started: Sequence[Server]) -> list[str]:
    """The `--set`s that make the recipe use these servers, for parts that it runs in process."""
    sets = []
    for path, spec in parts(recipe):
        urls = [s.url for s in started if s.role == path]
        if urls and not spec.get("base_url"):
            sets += _served(path, spec, urls[0] + ("/v1" if spec["name"] == "vllm" else ""))
    return sets


def moved(recipe: Recipe, urls: Mapping[str, str]) -> list[str]:
    """The same for servers elsewhere: `urls` says by a server's role where its replicas stand."""
    where = {role: url for roles, url in urls.items() for role in roles.split(", ")}
    sets = []
    for path, spec in parts(recipe):
        if path in where and spec.get("base_url"):
            sets += ["--set", f"{path}.base_url={where[path]}"]
        elif path in where:
            sets += _served(path, spec, where[path])
    return sets


def _served(path: str, spec: Mapping[str, Any], url: str) -> list[str]:
    """The plug-in that asks a server at `url` for what this one does in process."""
    if spec["name"] == "vllm":
        known = own({"name": "openai"})
        new = {k: v for k, v in spec.items() if k in known}
        model = "adapter" if spec.get("lora") else spec["model"]
        new |= {"name": "openai", "model": model, "base_url": url, "priority": True}
    else:
        known = own(spec)
        new = {k: v for k, v in spec.items() if k in known or k == "name"}
        new["base_url"] = url
    return ["--set", f"{path}={json.dumps(new)}"]  # JSON is YAML
