"""Shards of one run made into one folder like any other, as if one process had run them all."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from reasoning.errors import RecipeError, StoreError
from reasoning.runs.manifest import same_engines
from reasoning.runs.shard import Shard, joined
from reasoning.runs.store import Store, in_words
from reasoning.runs.summary import summary_of


@dataclass(slots=True)
class _Part:
    """The folder of one shard. `told` is what it says for merging, `run` what must be the same."""

    store: Store
    shard: Shard
    manifest: dict[str, Any]
    told: dict[str, Any]

    @property
    def run(self) -> dict[str, Any]:
        return {k: v for k, v in self.manifest["run"].items() if k != "shard"}

    @property
    def problems(self) -> list[str]:
        found: list[str] = self.told["problem_ids"]
        return found

    @property
    def searches(self) -> set[tuple[str, str]]:
        """What it has to hold a result of: strategy and problem."""
        return {(s["name"], p) for s in self.told["strategies"] for p in self.problems}

    def results(self) -> Iterator[dict[str, Any]]:
        """Those that the run is made of; a larger `--limit` may have left others."""
        wanted = self.searches
        for result in self.store.results():
            if (result["strategy"], result["problem"]) in wanted:
                yield result

    def __str__(self) -> str:
        return f"{self.store.folder} (shard {self.shard})"


def merge(
    folders: Sequence[str | Path], out: str | Path | None = None, *, command: Sequence[str] = ()
) -> tuple[dict[str, Any], Path]:
    """Make one run of its shards in the folder `out`; returns its summary and that folder.

    `folders` are those of shards, or hold them; `out` is, unless given, the one that holds them.
    Merging again adds what is new. Raises StoreError, before anything is written, where the folders
    are not all shards of one run, each once, each complete.
    """
    parts = sorted(_parts([Path(f) for f in folders]), key=lambda part: part.shard)
    if out is None:
        if len(folders) > 1 or parts[0].store.folder == Path(folders[0]):
            raise StoreError("say where the merged run goes: --out DIR")
        out = folders[0]
    problems = _refuse(parts)
    store, manifest = Store(out), _manifest(parts, command)
    with store.opened(manifest):
        store.write_json("manifest.json", manifest)
        there = {(r["strategy"], r["problem"]) for r in store.results()}
        for part in parts:
            for result in part.results():
                if (result["strategy"], result["problem"]) not in there:
                    store.take(result, part.store)
        store.take_losses([part.store for part in parts])
        told = {**parts[0].told, "problem_ids": problems}
        summary = summary_of(told, manifest["notes"], store)
        store.write_json("summary.json", summary)
    return summary, store.folder


def _parts(folders: Sequence[Path]) -> Iterator[_Part]:
    """The shards in `folders`. Raises StoreError for a folder that neither is nor holds one."""
    for folder in folders:
        inner = sorted(folder.glob("shard-*-of-*/manifest.json"))
        for place in [path.parent for path in inner] or [folder]:
            store = Store(place)
            manifest = store.read_json("manifest.json")
            if manifest is None:
                raise StoreError(f"{place} holds no run and no shards of one; give their folders")
            run, told = manifest.get("run"), manifest.get("shard")
            if not isinstance(run, dict) or not isinstance(told, dict):
                raise StoreError(
                    f"{place} is no shard: only runs with --shard INDEX/OF can be merged"
                )
            try:
                yield _Part(store, Shard.read(str(run["shard"])), manifest, told)
            except (KeyError, RecipeError) as error:
                raise StoreError(f"{place}/manifest.json is no shard's: {error}") from error


def _refuse(parts: Sequence[_Part]) -> list[str]:
    """The problems of the whole run in order. Raises StoreError where `parts` are not all of it."""
    first = parts[0]
    for part in parts[1:]:
        _refuse_other(first, part)
    for part, other in pairwise(parts):
        if other.shard == part.shard:
            raise StoreError(
                f"{part.store.folder} and {other.store.folder} both hold shard {part.shard}; "
                "give one of them"
            )
    of, there = first.shard.of, {part.shard for part in parts}
    if missing := [Shard(i, of) for i in range(1, of + 1) if Shard(i, of) not in there]:
        raise StoreError(
            f"shards are missing: {_some(missing)}; run them with --shard, or give their folders"
        )
    problems = joined([part.problems for part in parts])
    if problems is None:
        sizes = ", ".join(f"{part.shard}: {len(part.problems)}" for part in parts)
        raise StoreError(
            f"the shards were run with different --limit ({sizes} problems); run them again with "
            "the same one, which keeps what is done"
        )
    if twice := [p for p, count in Counter(problems).items() if count > 1]:
        raise StoreError(
            f"problems are in two shards: {_some(twice)}; the task was not the same for all: run "
            "them again in a new folder"
        )
    for part in parts:
        _refuse_unfinished(part)
    return problems


def _refuse_other(first: _Part, part: _Part) -> None:
    """Raise StoreError if two shards are not of one run, or not by the same programs."""
    ours, theirs = first.run, part.run
    changed = [k for k in sorted({*ours, *theirs}) if ours.get(k) != theirs.get(k)]
    if not changed and {**first.told, "problem_ids": 0} != {**part.told, "problem_ids": 0}:
        changed = ["set of strategies"]
    if not changed and first.shard.of != part.shard.of:
        changed = ["number of shards"]
    if changed:
        raise StoreError(
            f"{part} is of a run with another {in_words(changed)} than {first}; "
            "merge shards of one recipe"
        )
    engines = [p.manifest.get("engines") or [] for p in (first, part)]
    programs = [(p.manifest.get("packages") or {}).get("reasoning") for p in (first, part)]
    for what, (a, b), same in (
        ("engines", engines, same_engines(*engines)),
        ("reasoning", programs, programs[0] == programs[1]),
    ):
        if not same:
            raise StoreError(
                f"{first} was run by {what} {_told(a)} and {part} by {_told(b)}; run one of them "
                "again in a new folder by what the other was run by"
            )


def _refuse_unfinished(part: _Part) -> None:
    """Raise StoreError if a shard lacks a result."""
    left = part.searches - {(r["strategy"], r["problem"]) for r in part.results()}
    if left:
        problems = sorted({problem for _, problem in left})
        raise StoreError(
            f"{part} is not complete: {len(left)} of {len(part.searches)} searches are missing, "
            f"of problem {_some(problems)}; the command that began it completes it"
        )


def _manifest(parts: Sequence[_Part], command: Sequence[str]) -> dict[str, Any]:
    """The manifest of one process's run, and where its shards ran."""
    first = parts[0].manifest
    merged = {k: v for k, v in first.items() if k != "shard"}
    merged["run"] = parts[0].run
    merged["command"] = list(command)
    for name in ("notes", "met", "servers"):
        found = [item for part in parts for item in part.manifest.get(name) or ()]
        if found or name in first:
            merged[name] = list({json.dumps(item, sort_keys=True): item for item in found}.values())
    merged["met"] = [*merged.get("met", ()), *_differences(parts)]
    merged["started"] = min(str(part.manifest.get("started")) for part in parts)
    engines = [part.manifest["engines"] for part in parts if part.manifest.get("engines")]
    if engines:
        merged["engines"] = [max(names, key=len) for names in zip(*engines, strict=True)]
    told = ("started", "command", "python", "platform")
    merged["shards"] = [
        {"shard": str(part.shard), **{k: part.manifest.get(k) for k in told}} for part in parts
    ]
    return merged


def _differences(parts: Sequence[_Part]) -> Iterator[str]:
    """What was not the same for all shards and may change a number, in plain words."""
    installed: list[Mapping[str, Any]] = [
        {"python": part.manifest.get("python"), **(part.manifest.get("packages") or {})}
        for part in parts
    ]
    for name in dict.fromkeys(name for packages in installed for name in packages):
        found: dict[str, Shard] = {}
        for part, packages in zip(parts, installed, strict=True):
            found.setdefault(str(packages.get(name)), part.shard)
        if len(found) > 1:
            told = ", ".join(f"{version} in {shard}" for version, shard in found.items())
            yield f"the shards ran with different {name}: {told}"


def _told(found: object) -> str:
    return (", ".join(found) or "none") if isinstance(found, list) else str(found)


def _some(names: Sequence[object], most: int = 5) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(map(str, names[:most])) + more
