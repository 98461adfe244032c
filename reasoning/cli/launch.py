"""`reasoning launch`: the servers that a recipe needs, here or on many machines."""

from __future__ import annotations

import importlib
import os
import shlex
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from reasoning.cli.options import Recipes, Sets, Trust
from reasoning.errors import EngineError, RecipeError
from reasoning.runs.files import writing
from reasoning.text import visible

if TYPE_CHECKING:
    from reasoning.launching.engines import Launch
    from reasoning.launching.options import Options
    from reasoning.runs.recipe import Recipe

_LAUNCHERS = ("slurm", "kubernetes", "skypilot")


def launch(
    recipe: Recipes,
    options: Annotated[
        list[str] | None,
        typer.Argument(metavar="[KEY=VALUE]...", help="What a launcher is told, as nodes=8."),
    ] = None,
    slurm: Annotated[bool, typer.Option("--slurm", help="Write a batch script for Slurm.")] = False,
    kubernetes: Annotated[
        bool, typer.Option("--kubernetes", help="Write manifests for Kubernetes.")
    ] = False,
    skypilot: Annotated[
        bool, typer.Option("--skypilot", help="Write a task for SkyPilot.")
    ] = False,
    submit: Annotated[bool, typer.Option("--submit", help="Submit what was written, too.")] = False,
    out: Annotated[
        Path | None, typer.Option(help="With a launcher: the folder of the run [runs/NAME].")
    ] = None,
    run: Annotated[bool, typer.Option("--run", help="Start them here, until interrupted.")] = False,
    gpus: Annotated[int, typer.Option(min=1, help="How many GPUs there are here.")] = 1,
    cpu: Annotated[
        bool | None, typer.Option("--cpu/--gpu", help="What vLLM runs on [as installed here].")
    ] = None,
    engine: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE", help="An engine option of the generator by its name."),
    ] = None,
    sets: Sets = None,
    trust: Trust = False,
) -> None:
    """Print the `vllm serve` commands that fit a recipe, or write what starts them on a cluster.

    Here: one command a line, comments begin with #. Generator and reward models get servers of
    their own, on one GPU with its memory split. A recipe that runs vLLM in its own process is told
    how to use the servers instead.

        reasoning launch math500 --gpus 2 --engine max_model_len=8192

    On many machines: with `--slurm`, `--kubernetes` or `--skypilot` files are written into the
    folder `launch` of the run, which start a server on every so many GPUs, wait until they are
    healthy, and run the recipe on them. Servers may come and go meanwhile; a job that is requeued
    goes on with the run. Nothing is submitted unless you say `--submit`.

        reasoning launch math500 --slurm nodes=8 gpus=8 time=12:00:00 partition=h100

        reasoning launch math500 --kubernetes replicas=16 gpus=2

        reasoning launch math500 --skypilot nodes=4 accelerators=H100:8

    What they can be told: `reasoning launch math500 --slurm help`, and so on.
    """
    from reasoning.cli.consent import trusted
    from reasoning.runs.editing import with_sets

    on = zip(_LAUNCHERS, (slurm, kubernetes, skypilot), strict=True)
    told = [*(options or ()), *["--submit"] * submit, *([f"--out {out}"] if out else [])]
    launcher = _chosen([name for name, said in on if said], told, run)
    if launcher is not None and options == ["help"]:
        _help(launcher)
        return
    with trusted(recipe, sets or (), trust) as loaded:
        pass  # what follows imports nothing of others
    more = with_sets({}, engine or ())
    if launcher is None:
        _here(loaded, recipe, sets or (), gpus=gpus, cpu=cpu, more=more, run=run)
        return
    from reasoning.launching import engines
    from reasoning.launching.options import read

    module = importlib.import_module(f"reasoning.launching.{launcher}")
    said = read(launcher, module.OPTIONS, options or ())
    job = engines.Launch(
        recipe,
        loaded,
        engines.engines(loaded, said, cpu=bool(cpu) or said.cpu, more=more),
        (out or Path("runs") / loaded.name).resolve(),
        sets or (),
        trust or _asked(recipe, loaded, sets or ()),
        engines.further(said),
    )
    _write(module, job, said, submit=submit)


def _chosen(launchers: Sequence[str], told: Sequence[str], run: bool) -> str | None:
    """The launcher that is asked for, if one is. Raises RecipeError for two, for what it is `told`
    where there is none, and for one beside --run."""
    if len(launchers) > 1:
        raise RecipeError(
            f"--{launchers[0]} and --{launchers[1]} are two launchers; say one of them"
        )
    if told and not launchers:
        raise RecipeError(
            f"{told[0]!r} is for a launcher; say --slurm, --kubernetes or --skypilot, too"
        )
    if launchers and run:
        raise RecipeError("--run starts servers here; with a launcher say --submit")
    return launchers[0] if launchers else None


def _here(
    loaded: Recipe,
    recipe: str,
    sets: Sequence[str],
    *,
    gpus: int,
    cpu: bool | None,
    more: Mapping[str, Any],
    run: bool,
) -> None:
    """Print the commands for this machine, and start the servers if asked to."""
    from reasoning.launching import clients, program, servers

    cpu = program.on_cpu() if cpu is None else cpu
    found = servers.servers(loaded, gpus=gpus, cpu=cpu, more=more)
    command = program.program()
    for server in found:
        typer.echo(visible(f"# {server.role}: {server.url}\n{server.line(command)}"))
    own = [word for item in sets for word in ("--set", item)]
    then = shlex.join(["reasoning", "run", recipe, *own, *clients.changes(loaded, found)])
    typer.echo(visible(f"# then: {then}"))
    if run:
        from reasoning.cli import serving

        serving.run(found, typer.echo)


def _write(launcher: Any, job: Launch, said: Options, *, submit: bool) -> None:
    """Write what the launcher makes of it, say what to do with it, and do that if asked to."""
    folder = job.out / "launch"
    written = launcher.written(job, said, Path.cwd())
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in written.items():
            (folder / name).write_text(text, encoding="utf-8")
    for engine in job.engines:
        typer.echo(visible(f"# {engine.role}: {engine.model}"))
    for name in written:
        typer.echo(visible(f"# written: {folder / name}"))
    command = launcher.submission(job, said, folder)
    typer.echo(visible(f"# {'now' if submit else 'then'}: {shlex.join(command)}"))
    if submit:
        _submit(command)


def _submit(command: Sequence[str]) -> None:
    try:
        code = subprocess.run(command, check=False).returncode
    except OSError as error:
        raise EngineError(
            f"{command[0]} cannot be started: {error.strerror}; submit what was written where it "
            "is installed"
        ) from error
    if code:
        raise EngineError(f"{command[0]} ended with exit code {code}; what was written is kept")


def _asked(source: str, loaded: Recipe, sets: Sequence[str]) -> bool:
    """Whether the recipe may do more than it could without consent: nobody asks the driver."""
    from reasoning.runs.consent import needs, typed
    from reasoning.runs.editing import changes
    from reasoning.runs.recipe import located, shipped

    known = typed(changes(sets))
    foreign = not shipped(located(source))
    return foreign and any(need.said not in known for need in needs(loaded, os.environ))


def _help(launcher: str) -> None:
    """Print what a launcher can be told."""
    from reasoning.launching.options import described

    options = importlib.import_module(f"reasoning.launching.{launcher}").OPTIONS
    for key, meaning in described(options):
        typer.echo(f"{key:24}{meaning}")
