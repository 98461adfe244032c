"""A task for SkyPilot: servers on every machine, and the run on the first one.

One endpoint for all servers (SkyServe) is not what is written: behind one, nobody keeps the calls
of a tree at the server that has their prefix in its cache.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import Field

from reasoning.errors import RecipeError
from reasoning.launching.engines import Engine, Launch, shared_out
from reasoning.launching.options import OnMachines
from reasoning.launching.texts import function, readable, shell, text
from reasoning.runs.recipe import located, shipped

_PORT = 8000
_RUNS = "/runs"


class SkyPilot(OnMachines):
    """What may be said of a launch by SkyPilot."""

    accelerators: str | None = Field(
        None,
        pattern=r"^[A-Za-z0-9._-]+(:\d+)?$",
        description="the GPUs of a machine, such as H100:8 [none: servers on the CPU]",
    )
    infra: str | None = Field(None, description="where, as SkyPilot writes it: aws/us-east-1")
    spot: bool = Field(False, description="machines that may be taken away, for `sky jobs launch`")
    bucket: str | None = Field(
        None, description="a bucket for the run's folder, so that a run that is begun again goes on"
    )
    setup: str = Field(
        "pip install 'reasoning[vllm]'", description="what is done once on every machine"
    )
    workdir: str = Field(".", description="the folder that is brought to every machine")

    @property
    def gpus(self) -> int:
        """Of a machine."""
        return int(self.accelerators.partition(":")[2] or 1) if self.accelerators else 0

    @property
    def cpu(self) -> bool:
        return self.gpus == 0


OPTIONS = SkyPilot


def written(launch: Launch, options: SkyPilot, here: Path) -> dict[str, str]:
    """The task by the name of its file."""
    del here
    about = f"# Engines for {launch.source} by SkyPilot, and the run on them.\n"
    if options.bucket is None:
        about += "# The run's folder is on the first machine: fetch it before `sky down`.\n"
    return {"skypilot.yaml": about + readable(task(launch, options))}


def submission(launch: Launch, options: SkyPilot, folder: Path) -> list[str]:
    """The command that submits what was written into the folder."""
    verb = ["jobs", "launch"] if options.spot else ["launch", "--cluster", _name(launch)]
    return ["sky", *verb, str(folder / "skypilot.yaml")]


def task(launch: Launch, options: SkyPilot) -> dict[str, Any]:
    """The task as SkyPilot's YAML has it."""
    resources = {
        "accelerators": options.accelerators,
        "infra": options.infra,
        "use_spot": options.spot or None,
    }
    found = {
        "name": _name(launch),
        "num_nodes": options.nodes,
        "resources": {k: v for k, v in resources.items() if v is not None},
        "workdir": options.workdir,
        "file_mounts": {_RUNS: {"name": options.bucket, "mode": "MOUNT_CACHED"}},
        "setup": options.setup,
        "run": script(launch, options),
    }
    if options.bucket is None:
        del found["file_mounts"]
    return found


def script(launch: Launch, options: SkyPilot) -> str:
    """What every machine runs. Raises RecipeError where one has too few GPUs."""
    at = shared_out(launch.engines, options, options.gpus)
    parts = [*_settings(launch, options, at), "", *_functions(launch, options), ""]
    return "\n".join([*parts, text("replicas.sh"), text("skypilot.sh")])


def _settings(launch: Launch, options: SkyPilot, at: Sequence[tuple[Engine, int]]) -> list[str]:
    names = [name for engine, count in at for name in [engine.name] * count]
    paths = " ".join(f"[{e.name}]={shlex.quote(e.path)}" for e in launch.engines)
    gpus = " ".join(f"[{e.name}]={e.gpus}" for e in launch.engines)
    return [
        f"FILES={shlex.quote(_files(launch))}",
        'LOGS="$FILES/logs"',
        f"SERVERS=({' '.join(names)})  # of each machine",
        f"declare -A PATHS=({paths})  # behind the address of each",
        f"declare -A GPUS=({gpus})  # of each",
        f"PORT=${{PORT:-{_PORT}}} DOOR=${{DOOR:-{_PORT + len(names)}}}",
        f"RESTARTS={options.restarts} START={options.start}",
    ]


def _functions(launch: Launch, options: SkyPilot) -> list[str]:
    """How each engine is started, and the run."""
    lines = []
    for engine in launch.engines:
        lines += function(engine.name, f"exec {shell(engine.command, port='$1')}", "PORT")
    command = launch.driver(
        lambda engine: f"file:{_files(launch)}/{engine.name}.txt",
        source=_source(launch, options),
        out=f"{_RUNS if options.bucket else 'runs'}/{launch.recipe.name}",
    )
    return [*lines, *function("driver", f"exec {shell(command)}")]


def _files(launch: Launch) -> str:
    return f"/tmp/reasoning-engines/{launch.recipe.name}"


def _source(launch: Launch, options: SkyPilot) -> str:
    """The recipe as it is called on the machines. Raises RecipeError if it is not brought there."""
    path = located(launch.source)
    if shipped(path):
        return launch.source
    try:
        return str(path.resolve().relative_to(Path(options.workdir).resolve()))
    except ValueError:
        raise RecipeError(
            f"the recipe {launch.source} is not in {options.workdir!r}, the folder that is brought "
            "to the machines; say workdir=... or put it there"
        ) from None


def _name(launch: Launch) -> str:
    return re.sub("[^a-z0-9]+", "-", launch.recipe.name.lower()).strip("-") or "run"
