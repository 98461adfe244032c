"""What is started on many machines for a recipe: engines, and the run that asks them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reasoning.errors import RecipeError
from reasoning.launching.clients import moved
from reasoning.launching.options import OnMachines, Options
from reasoning.launching.servers import Server, apart, generates
from reasoning.runs.recipe import Recipe

EVERYWHERE = "0.0.0.0"
"""The address that an engine listens on, for drivers on other machines."""

VLLM = ("vllm", "serve")
_ARGUMENTS = "{arguments}"


@dataclass(frozen=True, slots=True)
class Engine:
    """One server, of which there are as many as there is room for.

    `role` says which parts of the recipe it serves, as a `Server` does. `command` has `{port}`
    where the port stands. `path` follows the address in a base URL.
    """

    role: str
    model: str
    gpus: int
    command: tuple[str, ...]
    path: str

    @property
    def name(self) -> str:
        """What its files, functions and services are called."""
        return re.sub("[^a-z0-9]+", "_", self.role.partition(",")[0].lower())


@dataclass(frozen=True, slots=True)
class Launch:
    """A recipe to be run, with the engines it asks. `source` is what the user calls the recipe.

    `out` is the folder of the run. `sets` are the user's own `--set`s, `trust` whether the recipe
    may do what it needs consent for.
    """

    source: str
    recipe: Recipe
    engines: Sequence[Engine]
    out: Path
    sets: Sequence[str] = ()
    trust: bool = False
    more: Sequence[str] = ()

    def driver(self, base_url: Callable[[Engine], str], *, source: str, out: str) -> list[str]:
        """The command that runs the recipe on replicas which `base_url` says the place of."""
        sets = [word for item in self.sets for word in ("--set", item)]
        sets += moved(self.recipe, {e.role: base_url(e) for e in self.engines})
        trust = ["--trust"] if self.trust else []
        return ["reasoning", "run", source, "--out", out, *sets, *trust, *self.more]


def engines(
    recipe: Recipe, options: Options, *, cpu: bool, more: Mapping[str, Any] | None = None
) -> list[Engine]:
    """The engines of a recipe. `more` are further engine options of the generator.

    Raises RecipeError where `servers.apart` does.
    """
    found: dict[str, Engine] = {}
    for server in apart(recipe, cpu=cpu, more=more):
        engine = _engine(server, options, cpu)
        if engine.name in found:
            raise RecipeError(
                f"{found[engine.name].role} and {engine.role} would both be called {engine.name}; "
                "rename one of them"
            )
        found[engine.name] = engine
    return list(found.values())


def _engine(server: Server, options: Options, cpu: bool) -> Engine:
    command = server.arguments(VLLM, EVERYWHERE, "{port}")
    if options.server is not None:
        command = _own(options.server, server)
    path = "" if server.options.get("runner") == "pooling" else "/v1"
    return Engine(server.role, server.model, 0 if cpu else server.needs, tuple(command), path)


def _own(line: str, server: Server) -> list[str]:
    """The user's own command for a server. Raises RecipeError where it cannot be told its port."""
    words = [
        word.replace("{model}", server.model).replace("{role}", server.role)
        for word in _words("server", line)
    ]
    if at := words.index(_ARGUMENTS) if _ARGUMENTS in words else 0:
        words[: at + 1] = server.arguments(words[:at], EVERYWHERE, "{port}")
    if not any("{port}" in word for word in words):
        raise RecipeError(
            f"server={line!r} does not say on which port to listen; write {{port}} where the port "
            f"belongs, or {_ARGUMENTS} for all that vllm would be told"
        )
    return words


def shared_out(
    engines: Sequence[Engine], options: OnMachines, gpus: int
) -> list[tuple[Engine, int]]:
    """How many servers of each engine a machine with `gpus` GPUs gets.

    Other models get `options.verifiers` each, since what they read is computed in one go, and the
    generator what is left. Raises RecipeError where that is too little.
    """
    generators = [e for e in engines if generates(e.role)]
    others = [e for e in engines if e not in generators]
    room = gpus - options.verifiers * sum(e.gpus for e in others)
    each = sum(e.gpus for e in generators)
    count = options.servers or (room // each if each else 1)
    if generators and (count < 1 or count * each > room):
        wanted = ", ".join(f"{e.name} {e.gpus}" for e in engines)
        raise RecipeError(
            f"a machine has {gpus} GPUs, and {max(count, 1)} x the generator with "
            f"{options.verifiers} x each other model needs more (GPUs of a server: {wanted}); say "
            "gpus=... if there are more, make servers= or verifiers= smaller, or take a smaller "
            "tensor_parallel_size: a server does not go over several machines here"
        )
    if room < 0:
        raise RecipeError(
            f"a machine has {gpus} GPUs and its servers need {gpus - room}; say gpus=... if there "
            "are more, or make verifiers= smaller"
        )
    return [(e, count if e in generators else options.verifiers) for e in engines]


def further(options: Options) -> list[str]:
    """The user's further options of `reasoning run`."""
    return _words("run", options.run)


def _words(key: str, text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError as error:
        raise RecipeError(f"{key}={text!r} is no command line: {error}; mind its quotes") from None
