"""The `vllm serve` commands that a recipe needs: one a replica, reward models beside them.

What is written here is what the search wants of a server: prefixes are cached, deeper paths and
urgent ones run first, a reward model pools at the token its family judges a step at, and servers
that share a GPU share its memory.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import urlsplit

from reasoning.backends import checkpoint
from reasoning.errors import RecipeError
from reasoning.launching.program import flags
from reasoning.runs import names
from reasoning.runs.recipe import Recipe

_PORT = 8000
_HERE = "127.0.0.1"
_LOCAL = {"localhost": _HERE, _HERE: _HERE, "0.0.0.0": _HERE, "::1": "::1"}
_MEMORY = 0.9  # of a GPU, for all servers on it together
_LEAST = 0.2  # of the largest model's part: a small one needs room to compute, too
_SHARE = "gpu_memory_utilization"
_FOR_SEARCH = {
    "enable_prefix_caching": True,
    "scheduling_policy": "priority",
    "generation_config": "vllm",  # not what the checkpoint ships
}
_USAGE = {"enable_prompt_tokens_details": True}  # how much of a prompt was cached
_ON_CPU = {"kv_cache_memory_bytes": 1 << 30, "block_size": 32}
_SEEDS_ON_CPU = {"enable_chunked_prefill": False}  # two prompt parts and a seed kill the worker


@dataclass(frozen=True, slots=True)
class Server:
    """One server to start. `options` are vLLM's, by the names of its Python arguments.

    `role` says which parts of the recipe it serves, separated by commas. `share` is the part of
    its GPUs' memory it may have, None where that is said in the options or there is no GPU.
    """

    role: str
    model: str
    host: str
    port: int
    options: Mapping[str, Any] = field(default_factory=dict)
    gpus: tuple[int, ...] = ()
    share: float | None = None

    @property
    def url(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"

    @property
    def needs(self) -> int:
        """GPUs, by its parallel sizes. Raises RecipeError for what is no such size."""
        need = 1
        for name in ("tensor_parallel_size", "pipeline_parallel_size", "data_parallel_size"):
            size = self.options.get(name)
            if size is None:
                continue
            if isinstance(size, bool) or not isinstance(size, int) or size < 1:
                raise RecipeError(f"{self.role}: {name} is {size!r}; it must be an integer above 0")
            need *= size
        return need

    def arguments(
        self, program: Sequence[str], host: str | None = None, port: str | None = None
    ) -> list[str]:
        """The command line; it listens on `host` and `port` if these are given."""
        options = dict(self.options)
        if self.share is not None:
            options.setdefault(_SHARE, round(self.share, 2))
        model = [self.model] if program[-1] == "serve" else ["--model", self.model]
        place = ["--host", host or self.host, "--port", port or str(self.port)]
        return [*program, *model, *place, *flags(options)]

    def line(self, program: Sequence[str]) -> str:
        """The same for a shell."""
        devices = ",".join(map(str, self.gpus))
        before = f"CUDA_VISIBLE_DEVICES={devices} " if self.gpus else ""
        return before + shlex.join(self.arguments(program))


def servers(
    recipe: Recipe, *, gpus: int = 1, cpu: bool = False, more: Mapping[str, Any] | None = None
) -> list[Server]:
    """What a recipe's generator and verifiers need, in the order to start it in.

    `gpus` are shared out in turn; a server needs as many as its tensor, pipeline and data parallel
    sizes multiply to. Parts that name the same place share a server. `more` are further engine
    options of the generator. Raises RecipeError if nothing in the recipe runs on vLLM, if two parts
    want different servers at one place, or if a server needs more GPUs than there are.
    """
    if gpus < 1:
        raise RecipeError(f"gpus is {gpus}; it must be at least 1 (on the CPU, say --cpu)")
    found, sizes = _wanted(recipe, cpu, more or {})
    return found if cpu else _placed(found, sizes, gpus)


def apart(
    recipe: Recipe, *, cpu: bool = False, more: Mapping[str, Any] | None = None
) -> list[Server]:
    """One server for each part of a recipe, as if each had GPUs of its own.

    Parts that share a place, and places that share a part, become one. What the recipe says of a
    GPU's memory is for servers that share it. Raises RecipeError as `servers` does.
    """
    more = more or {}
    found, _ = _wanted(recipe, cpu, more)
    alone: list[Server] = []
    for s in found:
        options = {k: v for k, v in s.options.items() if k != _SHARE or k in more}
        mates = [o for o in alone if {*o.role.split(", ")} & {*s.role.split(", ")}]
        roles = ", ".join(dict.fromkeys(r for o in [*mates, s] for r in o.role.split(", ")))
        alone = [o for o in alone if o not in mates]
        alone.append(replace(s, role=roles, options=options, share=None if cpu else _MEMORY))
    return alone


def _wanted(
    recipe: Recipe, cpu: bool, more: Mapping[str, Any]
) -> tuple[list[Server], list[float | None]]:
    """A server for each place, and the parameters of its model; nobody has a GPU yet."""
    found: dict[tuple[str, int], Server] = {}
    sizes: dict[tuple[str, int], float | None] = {}
    named = list(parts(recipe))
    taken = {port for _, spec in named for _, port in _places(spec)}
    free = iter(port for port in range(_PORT, 1 << 16) if port not in taken)
    for role, spec in named:
        if (options := _options(spec, cpu)) is None:
            continue
        places = _places(spec)
        if not places and not spec.get("base_url"):
            places = [(_HERE, next(free))]
        if places and not spec.get("model"):
            raise RecipeError(f"{role} names no model to serve; say --set {role}.model=...")
        for place in places:
            server = Server(role, str(spec["model"]), *place, options)
            found[place] = _shared(found[place], server) if place in found else server
            sizes[place] = _size(spec)
    if not found:
        raise RecipeError(
            "nothing in this recipe is served by vLLM: launch knows the generators vllm and "
            "openai (with a base_url on this machine) and the verifiers vllm_prm and reward_model"
        )
    return [_with_options(server, more) for server in found.values()], list(sizes.values())


def parts(recipe: Recipe) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every generator and verifier with options in the recipe, and where it stands there.

    Raises RecipeError for one whose name no `--set` could lead to.
    """
    for path in ("generator", "verifier"):
        yield from _nested(path, getattr(recipe, path))
    for path in ("models", "verifiers"):
        for name, spec in getattr(recipe, path).items():
            if "." in name:
                raise RecipeError(
                    f"{path}: {name!r} has a dot in its name, where --set goes further down; "
                    "give it another name"
                )
            yield from _nested(f"{path}.{name}", spec)


def generates(role: str) -> bool:
    """Whether a server of this role is the generator or another model, not a verifier's."""
    parts = [part.partition(".")[0] for part in role.split(", ")]
    return "generator" in parts or "models" in parts


def _nested(path: str, spec: Any) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """A plug-in and those inside it: a journal's generator, a judge's, an ensemble's verifiers."""
    if isinstance(spec, Mapping):
        if isinstance(spec.get("name"), str):
            yield path, spec
        for key, value in spec.items():
            yield from _nested(f"{path}.{key}", value)
    elif isinstance(spec, list):
        for i, value in enumerate(spec):
            yield from _nested(f"{path}.{i}", value)


def _places(spec: Mapping[str, Any]) -> list[tuple[str, int]]:
    """Host and port of each of a plug-in's URLs that is on this machine."""
    from reasoning.http.replica import checked_url  # a client of HTTP: only if needed

    urls = spec.get("base_url") or []
    given = urls if isinstance(urls, list | tuple) else [urls]
    given = [url for url in given if not str(url).startswith(("file:", "dns:"))]  # others' servers
    parts = [urlsplit(checked_url(str(url), str(spec["name"]))) for url in given]
    found = [p for p in parts if p.hostname in _LOCAL]
    return [(_LOCAL[str(p.hostname)], p.port or 80) for p in found]


def _shared(one: Server, other: Server) -> Server:
    """One server for two parts of the recipe that name the same place."""
    if (one.model, one.options) != (other.model, other.options):
        same = one.model == other.model
        what = "other options" if same else f"other models, {one.model} and {other.model},"
        raise RecipeError(
            f"{one.role} and {other.role} name one place, {one.url}, and want {what} there; give "
            "one of them another port"
        )
    return replace(one, role=f"{one.role}, {other.role}")


def _with_options(server: Server, more: Mapping[str, Any]) -> Server:
    """With further options if it serves the generator, maybe one inside a journal."""
    its = {**server.options, **more} if generates(server.role) else server.options
    return replace(server, options=its)


def _options(spec: Mapping[str, Any], cpu: bool) -> dict[str, Any] | None:
    """What a plug-in's server is started with; None for one that vLLM does not serve."""
    kind = spec["name"]
    if kind == "vllm" or (kind == "openai" and spec.get("base_url")):
        options = {**_FOR_SEARCH, **_USAGE, **_engine(spec, _SEEDS_ON_CPU if cpu else None)}
        if lora := spec.get("lora"):
            options |= {"enable_lora": True, "lora_modules": [f"adapter={lora}"]}
        return options
    if kind in ("vllm_prm", "reward_model"):
        judging = _judging(spec) if kind == "vllm_prm" else {}
        return {"runner": "pooling", **judging, **_engine(spec, {} if cpu else None)}
    return None


def _engine(spec: Mapping[str, Any], on_cpu: Mapping[str, Any] | None) -> dict[str, Any]:
    """The engine options among a plug-in's: all that are not its own."""
    known = {"name", "parameters", *own(spec)}
    given = {k: v for k, v in spec.items() if k not in known}
    return given if on_cpu is None else {**_ON_CPU, **on_cpu, **given}


def own(spec: Mapping[str, Any]) -> set[str]:
    """The options of a plug-in that are not the engine's."""
    kind: names.Kind = "generator" if spec["name"] in ("vllm", "openai") else "verifier"
    return set(names.parameters(names.find(kind, spec["name"])))


def _judging(spec: Mapping[str, Any]) -> dict[str, Any]:
    """Where the reward model's family judges a step, and what makes a reward model of it."""
    families: Any = names.ours("verifiers.engines.prm_families")
    prm: Any = names.ours("verifiers.vllm_prm")
    source = spec.get("tokenizer") or spec["model"]
    name = spec.get("family") or families.family_of(source)
    if name not in families.FAMILIES:
        raise RecipeError(f"verifier.family is {name!r}; known: {', '.join(families.FAMILIES)}")
    family = families.FAMILIES[name]
    options: dict[str, Any] = prm.engine_options(family, {})
    if family.tag is not None:
        # Scores at the steps alone are less to send than scores at all tokens, which serve, too.
        with suppress(RecipeError):
            tag = families.Tokens(source).id(family.tag)
            del options["enable_prefix_caching"]  # pooling at steps does without
            options["pooler_config"] = {"step_tag_id": tag}
    return options


def _size(spec: Mapping[str, Any]) -> float | None:
    """Parameters: as the recipe says, else as the files here do, else as the name does."""
    model = str(spec["model"])
    told = names.size(spec, None) or checkpoint.parameters(model)
    if told is None and (found := re.search(r"(\d+(?:\.\d+)?)[bB](?![a-zA-Z])", model)):
        told = float(found[1]) * 1e9
    return told


def _placed(found: Sequence[Server], sizes: Sequence[float | None], gpus: int) -> list[Server]:
    """Give every server its GPUs, in turn, and its part of their memory where it shares them."""
    known = [size for size in sizes if size is not None]
    whole = len(known) == len(sizes)
    weights = [max(s or 1, _LEAST * max(known)) if whole else 1.0 for s in sizes]
    places: list[tuple[int, ...]] = []
    at = 0
    for server in found:
        need = server.needs
        if need > gpus:
            raise RecipeError(
                f"{server.model} needs {need} GPUs by its parallel sizes and there are {gpus}; "
                "say how many there are with --gpus"
            )
        places.append(tuple(sorted((at + i) % gpus for i in range(need))))
        at += need
    placed = []
    for server, weight, place in zip(found, weights, places, strict=True):
        loads = [sum(w for w, p in zip(weights, places, strict=True) if gpu in p) for gpu in place]
        placed.append(
            replace(server, gpus=place if gpus > 1 else (), share=_MEMORY * weight / max(loads))
        )
    return placed
