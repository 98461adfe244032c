"""The command line: run, solve, plan, check, launch, serve, watch, report, tree, compare,
calibrate, replay, fit, gather, merge, eval, export, publish, init, schema, list.

Exit codes: 0 done; 1 `solve` found no answer; 2 a mistake in what was asked for; 3 the engine died;
130, 143 or 129 interrupted, terminated or hung up on. Everything finished is on disk in every case.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from reasoning.cli import authoring, completing, endpoint, export, planning, stored, teaching
from reasoning.cli.ending import INTERRUPTED, awaited
from reasoning.cli.eval import evaluate
from reasoning.cli.fit import fit
from reasoning.cli.gather import gather
from reasoning.cli.launch import launch
from reasoning.cli.options import Limit, Recipes, Sets, Trace, Trust
from reasoning.cli.watch import watch
from reasoning.errors import CallError, EngineError, UserError, cause
from reasoning.text import visible

if TYPE_CHECKING:
    from reasoning.runs.names import Kind
    from reasoning.runs.recipe import Recipe

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    help="""Make a language model answer better by spending compute when it answers.

Start with `reasoning run quickstart`: several strategies side by side on the embedded model.
""",
)

_INTERRUPTED = "interrupted; what is finished is stored, the same command continues"


@app.command()
def run(
    recipe: Recipes,
    out: Annotated[Path | None, typer.Option(help="Folder for the results [runs/NAME].")] = None,
    limit: Limit = None,
    shard: Annotated[
        str | None,
        typer.Option(metavar="INDEX/OF", help="Every OF-th problem only; see `reasoning merge`."),
    ] = None,
    extend: Annotated[
        bool, typer.Option("--extend", help="Add to a folder's run what the recipe has more.")
    ] = False,
    workers: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Share the problems out on a Ray cluster."),
    ] = None,
    track: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Tell wandb, mlflow or trackio, too; on this machine."),
    ] = None,
    trace: Trace = False,
    live: Annotated[
        bool, typer.Option("--live/--no-live", help="Let `reasoning watch` look on.")
    ] = True,
    sets: Sets = None,
    trust: Trust = False,
) -> None:
    """Run a recipe: every strategy on every problem, with a table, a plot and files.

    The folder gets `manifest.json`, `results.jsonl`, `trees/`, `summary.json` and `accuracy.png`.
    `reasoning watch FOLDER` shows it in a browser meanwhile. Interrupt it whenever you like: the
    same command completes the rest. With `--shard 3/16` it is a folder `shard-3-of-16` in there,
    and `reasoning merge` makes one run of all. With `--extend` it may be there with other
    strategies, a smaller n or fewer problems: no call is paid for twice.

    A recipe names a task, a generator, perhaps a verifier, and strategies:

        task: {name: nano, n: 100}

        generator: nano

        verifier: nano_prm

        strategies: [{searcher: self_consistency, n: [1, 4, 16]}, {searcher: best_of_n, n: 16}]
    """
    from reasoning.cli.consent import trusted
    from reasoning.cli.show import ProgressLine, show_summary
    from reasoning.cli.tracking import spans, traced, tracked
    from reasoning.cluster.settings import with_workers
    from reasoning.live.feed import feeding, unseen
    from reasoning.runs import run as runner
    from reasoning.runs.shard import Shard

    part = Shard.read(shard) if shard else None
    with trusted(recipe, sets or (), trust) as loaded:
        loaded = with_workers(loaded, workers)
        folder = out or Path("runs") / loaded.name
        folder = folder / part.folder if part else folder
        with (
            spans(trace),
            ProgressLine(loaded.name) as line,
            tracked(loaded, track, folder, line.update) as told,
        ):
            work = runner.run(
                loaded,
                folder,
                limit=limit,
                shard=part,
                extend=extend,
                watch=told,
                feed=feeding if live else unseen,
                command=sys.argv,
                traced=traced() if trace else None,
            )
            summary = awaited(work)
            told.summary(summary)
    show_summary(summary, folder)


@app.command(cls=teaching.Command)
def solve(
    question: Annotated[
        str, typer.Argument(help="The question; '-' reads it from standard input.")
    ],
    searcher: Annotated[
        str,
        typer.Option(help="See `reasoning list searchers`.", autocompletion=completing.searchers),
    ] = "best_of_n",
    generator: Annotated[str, typer.Option(help="See `reasoning list generators`.")] = "nano",
    verifier: Annotated[
        str | None, typer.Option(help="See `reasoning list verifiers` [nano_prm with nano].")
    ] = None,
    aggregator: Annotated[
        str | None, typer.Option(help="See `reasoning list aggregators`.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Same seed, same answer.")] = 0,
    sets: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="A searcher's parameter or sampling.*."),
    ] = None,
) -> None:
    """Solve one question and print the answer.

    Example: reasoning solve "What is 12 * 7 + 5?" --searcher self_consistency --set n=16
    """
    from reasoning.cli.show import show_result
    from reasoning.runs.editing import with_sets
    from reasoning.runs.recipe import parse, strategies

    if question == "-":
        question = sys.stdin.read()
    if not question.strip():
        raise typer.BadParameter("the question is empty", param_hint="QUESTION")
    entry: dict[str, Any] = {"searcher": searcher, "aggregator": aggregator}
    data = {
        "task": "jsonl",
        "seed": seed,
        "strategies": [entry],
    }
    verifier = verifier or ("nano_prm" if generator == "nano" else "null")
    top = ("sampling.", "limits.", "step.", "generator.", "verifier.")
    changes = [f"generator={generator}", f"verifier={verifier}"]  # names, or mappings in YAML
    changes += [s if s.startswith(top) else f"strategies.0.{s}" for s in sets or ()]
    if searcher in ("best_of_n", "self_consistency", "first_finish"):
        entry["n"] = 8
    recipe = parse(with_sets(data, changes))
    strategy, *others = strategies(recipe)
    if others:
        raise typer.BadParameter(
            "solve takes one strategy; use `run` for a sweep", param_hint="--set"
        )
    result = awaited(_solve(question, recipe, strategy))
    show_result(result)
    raise typer.Exit(0 if result.answer is not None else 1)


@app.command()
def check(
    recipe: Recipes,
    sets: Sets = None,
    trust: Trust = False,
) -> None:
    """Check a recipe without running it: names, parameters, files; show what would run.

    A server that the recipe names is asked what it can do; without an answer the exit code is 3.
    """
    from reasoning.cli.consent import trusted
    from reasoning.cli.show import show_description, show_plan
    from reasoning.runs.plan import plan as planned
    from reasoning.runs.plan import refuse_mute, refuse_unable

    with trusted(recipe, sets or (), trust) as loaded:
        plan = planned(loaded)
        known = awaited(_described(plan.plugins))
    for _, facts in known:
        show_description(facts)
    show_plan(plan)
    if any("not ready" in facts for _, facts in known):
        raise EngineError("the recipe is fine, but what it needs is not ready: see above")
    refuse_unable(plan)
    refuse_mute(plan, [part for part, facts in known if facts.get("log-probabilities") == "no"])
    typer.echo("The recipe is fine.")


for _command in (
    launch,
    planning.plan,
    endpoint.serve,
    watch,
    stored.report,
    stored.tree,
    stored.compare,
    stored.calibrate,
    stored.replay,
    fit,
    gather,
    stored.merge,
    export.export,
    export.publish,
    authoring.init,
    authoring.schema,
):
    app.command()(_command)
app.command("eval")(evaluate)


@app.command("list")
def list_(
    kind: Annotated[
        str | None,
        typer.Argument(
            help="searchers, verifiers, aggregators, generators, tasks or answers; all of these "
            "if none. Or the name of one of them. Or recipe: the fields of one."
        ),
    ] = None,
) -> None:
    """List what a recipe can name, with parameters and defaults, or what its own fields are."""
    from reasoning.cli.show import show_benchmarks, show_fields, show_names, show_one
    from reasoning.errors import RecipeError, unknown
    from reasoning.runs import names

    kinds: dict[str, Kind] = {f"{k.removesuffix('s')}s": k for k in names.PACKAGES}
    if kind == "recipe":
        show_fields()
        return
    if kind is not None and kind not in kinds:
        having = [plural for plural in kinds if kind in names.known(kinds[plural])]
        if not having:
            raise RecipeError(unknown("kind", kind, [*kinds, "recipe"]))
        for plural in having:
            show_one(plural, names.find(kinds[plural], kind))
        return
    for plural in [kind] if kind else list(kinds):
        functions = [names.find(kinds[plural], name) for name in names.known(kinds[plural])]
        records = [f for f in functions if hasattr(f, "licence")]
        show_names(plural, names.help_lines(f for f in functions if f not in records))
        if records:
            show_benchmarks(records)


@app.callback(invoke_without_command=True)
def _main(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    if version:
        from reasoning import __version__

        typer.echo(f"reasoning {__version__}")
        raise typer.Exit


async def _solve(question: str, recipe: Recipe, strategy: Any) -> Any:
    from reasoning.session import solve_async

    return await solve_async(
        question,
        stages=strategy.run,
        generator=recipe.generator,
        verifier=recipe.verifier,
        sampling=recipe.sampling,
        step=recipe.step,
        limits=recipe.limits,
        seed=recipe.seed,
    )


async def _described(plugins: Sequence[Any]) -> list[tuple[Any, Mapping[str, str]]]:
    """What generators and verifiers say of themselves, where they do, each with what it says."""
    found = []
    for plugin in plugins:
        try:
            if facts := await plugin.describe():
                found.append((plugin, facts))
        except (EngineError, CallError) as error:  # the recipe may be fine all the same
            found.append((plugin, {"not ready": str(error)}))
        finally:
            await plugin.aclose()
    return found


def main() -> None:
    """The `reasoning` command. One clear line for a mistake, no traceback."""
    sys.path.append(os.getcwd())  # as with `python -m`: `module:function` may name a file at hand
    try:
        app(prog_name="reasoning")
    except KeyboardInterrupt:
        typer.secho(_INTERRUPTED, err=True)
        sys.exit(130)
    except SystemExit as stop:
        if stop.code in INTERRUPTED:  # typer has caught Ctrl-C, and `awaited` the other signals
            typer.secho(_INTERRUPTED, err=True)
        raise
    except (UserError, EngineError, ExceptionGroup) as error:
        reason = cause(error)
        if not isinstance(reason, (UserError, EngineError)):
            raise
        typer.secho(f"error: {visible(str(reason))}", fg="red", err=True)
        sys.exit(2 if isinstance(reason, UserError) else 3)


if __name__ == "__main__":
    main()
