"""`reasoning plan`: what a run will cost, before it is run."""

from __future__ import annotations

import json
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any

import typer

from reasoning.cli.ending import awaited
from reasoning.cli.options import Limit, Recipes, Sets, Trust


def plan(
    recipe: Recipes,
    pilot: Annotated[int, typer.Option(min=1, help="How many problems are run to see.")] = 8,
    gpus: Annotated[
        int | None, typer.Option(min=1, help="GPUs that are held meanwhile: tells GPU hours.")
    ] = None,
    limit: Limit = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Keep the problems that are run: `run --out` goes on with them."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="All numbers as JSON.")] = False,
    sets: Sets = None,
    trust: Trust = False,
) -> None:
    """Run a few problems of a recipe and say what the whole run will cost, with 95 % intervals.

    Calls, tokens, serial tokens, seconds, FLOPs where the models' sizes are known, money where
    prices are; for each strategy, and for all together, which may share samples.

    Example: reasoning plan math500 --pilot 12 --gpus 2
    """
    from reasoning.cli.consent import trusted
    from reasoning.cli.show import ProgressLine, console
    from reasoning.runs import names
    from reasoning.runs import pilot as pilots

    forecasts: Any = names.ours("evals.plan.forecast")
    with ExitStack() as stack:
        loaded = stack.enter_context(trusted(recipe, sets or (), trust))
        folder = out or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        with ProgressLine(loaded.name) as line:
            seen = awaited(
                pilots.pilot(
                    loaded,
                    folder,
                    problems=pilot,
                    limit=limit,
                    watch=line.update,
                    command=sys.argv,
                )
            )
        found = forecasts.forecast(seen, gpus=gpus)
    if as_json:
        typer.echo(json.dumps(found.to_json(), indent=2, ensure_ascii=False))
        return
    shown: Any = names.ours("evals.plan.show")
    shown.show(found, console)
