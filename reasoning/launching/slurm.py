"""A batch script for Slurm: a server a step, then the run, which a requeued job goes on with."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from pydantic import Field

from reasoning.errors import RecipeError
from reasoning.launching.engines import Engine, Launch, shared_out
from reasoning.launching.options import OnMachines
from reasoning.launching.texts import function, shell, text

_PORTS = 65536
_HIGHEST = 32000  # of the first ports that are chosen by the job's number


class Slurm(OnMachines):
    """What may be said of a launch on Slurm."""

    nodes: int = Field(1, ge=1, description="machines (of each task, with array)")
    gpus: int = Field(8, ge=0, description="GPUs of a machine; 0 asks for none")
    cpus: int = Field(8, ge=1, description="cores of a server")
    mem_per_cpu: str | None = Field(
        None,
        pattern=r"^\d+[KMGT]?$",
        description="memory of a core, as Slurm writes it: 8G",
    )
    time: str = Field(
        "24:00:00",
        pattern=r"^(\d+-)?\d+(:\d\d){0,2}$",
        description="how long a start may take, as Slurm writes it: MINUTES, H:MM:SS or DAYS-HH",
    )
    partition: str | None = Field(None, description="Slurm's partition")
    account: str | None = Field(None, description="who pays")
    array: int = Field(
        1, ge=1, le=1000, description="tasks, each with servers of its own and a shard of the run"
    )
    requeue: int = Field(
        20,
        ge=0,
        description="times that the job puts itself back into the queue when its time is up",
    )
    signal: int = Field(
        180, ge=1, description="seconds before the limit at which the run is told to stop"
    )
    sbatch: str = Field("", description="further options of sbatch, such as '--qos=high'")
    setup: str = Field(
        "", description="a line of shell before all else, such as 'source .venv/bin/activate'"
    )
    address: str | None = Field(
        None, description="the address of every machine [its name in Slurm]"
    )
    port: int | None = Field(
        None, ge=1024, le=60000, description="the first server's port [by the job's number]"
    )

    @property
    def cpu(self) -> bool:
        return self.gpus == 0


OPTIONS = Slurm


def written(launch: Launch, options: Slurm, here: Path) -> dict[str, str]:
    """The batch script by the name of its file; the run works in the folder `here`."""
    return {"slurm.sh": script(launch, options, here)}


def script(launch: Launch, options: Slurm, here: Path) -> str:
    """The batch script. Raises RecipeError where a machine has too few GPUs."""
    at = shared_out(launch.engines, options, options.gpus)
    return "\n".join(
        [
            "#!/bin/bash",
            f"# Engines for {launch.source} on machines of a Slurm cluster, and the run on them.",
            *(f"#SBATCH {line}" for line in _asked(launch, options, here, sum(n for _, n in at))),
            *([options.setup] if options.setup else []),
            "",
            *_settings(launch, options, at),
            "",
            *_functions(launch, options),
            "",
            text("replicas.sh"),
            text("slurm.sh"),
        ]
    )


def submission(launch: Launch, options: Slurm, folder: Path) -> list[str]:
    """The command that submits what was written into the folder."""
    del launch, options
    return ["sbatch", str(folder / "slurm.sh")]


def _asked(launch: Launch, options: Slurm, here: Path, servers: int) -> list[str]:
    """What is asked of Slurm, as options of sbatch."""
    log = "slurm-%A_%a.log" if options.array > 1 else "slurm-%j.log"
    lines = {
        "job-name": f"reasoning-{launch.recipe.name}",
        "nodes": options.nodes,
        "ntasks-per-node": 1,
        "cpus-per-task": servers * options.cpus,
        "gres": f"gpu:{options.gpus}" if options.gpus else None,
        "mem-per-cpu": options.mem_per_cpu,
        "time": options.time,
        "partition": options.partition,
        "account": options.account,
        "array": f"1-{options.array}" if options.array > 1 else None,
        "signal": f"B:USR1@{options.signal}",
        "open-mode": "append",
        "chdir": here,
        "output": str(launch.out / "launch").replace("%", "%%") + f"/{log}",
    }
    asked = [f"--{k}={_quoted(str(v))}" for k, v in lines.items() if v is not None]
    requeue = "--requeue" if options.requeue else "--no-requeue"
    more = map(_quoted, shlex.split(options.sbatch))
    return [*asked, requeue, *more]


def _settings(launch: Launch, options: Slurm, at: Sequence[tuple[Engine, int]]) -> list[str]:
    """The variables that the rest of the script reads."""
    names = " ".join(name for engine, count in at for name in [engine.name] * count)
    if (options.port or _HIGHEST) + options.nodes * len(names.split()) > _PORTS:
        raise RecipeError(
            f"--slurm: {options.nodes} machines with {len(names.split())} servers each need more "
            "ports than there are; make port= or nodes= smaller (array= makes several jobs)"
        )
    paths = " ".join(f"[{e.name}]={shlex.quote(e.path)}" for e in launch.engines)
    task = "-$SLURM_ARRAY_TASK_ID" if options.array > 1 else ""
    lines = [
        f"OUT={shlex.quote(str(launch.out))}  # the folder of the run",
        f'FILES="$OUT/launch/replicas{task}"',
        'LOGS="$OUT/launch/logs"',
        f"SERVERS=({names})  # of each machine",
        f"declare -A PATHS=({paths})  # behind the address of each",
        f"CPUS={options.cpus} RESTARTS={options.restarts} START={options.start} "
        f"REQUEUE={options.requeue}",
    ]
    lines += [f"ADDRESS={shlex.quote(options.address)}"] if options.address else []
    return lines + ([f"PORT={options.port}"] if options.port else [])


def _functions(launch: Launch, options: Slurm) -> list[str]:
    """How each engine is started, and the run."""
    lines = []
    for engine in launch.engines:
        command = shell(engine.command, port="$2")
        lines += function(engine.name, f'on "$1" {engine.gpus} {command}', "NODE PORT")
    task = "-$SLURM_ARRAY_TASK_ID" if options.array > 1 else ""
    words = launch.driver(
        # As it stands here the recipe of all tasks is the same: who reads the file fills it in.
        lambda engine: f"file:{launch.out}/launch/replicas{task}/{engine.name}.txt",
        source=launch.source,
        out="{out}",
    )
    if options.array > 1:
        words += ["--shard", f"{{task}}/{options.array}"]
    run = shell(words, out="$OUT", task="$SLURM_ARRAY_TASK_ID")
    return [*lines, *function("driver", f"exec {run}")]


def _quoted(value: str) -> str:
    return f'"{value}"' if " " in value else value
