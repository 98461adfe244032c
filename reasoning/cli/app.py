"""The command line: run, solve, check, launch, report, tree, compare, replay, list.

Exit codes: 0 done; 1 `solve` found no answer; 2 a mistake in what was asked for; 3 the engine died;
130 interrupted. Everything finished is on disk in every case.
"""

from __future__ import annotations

import asyncio
import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from reasoning.errors import CallError, EngineError, UserError, cause

if TYPE_CHECKING:
    from reasoning.runs.names import Kind
    from reasoning.runs.recipe import Recipe

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    add_completion=False,
    help="""Make a language model answer better by spending compute when it answers.

Start with `reasoning run quickstart`: several strategies side by side on the embedded model.
""",
)

_INTERRUPTED = "interrupted; what is finished is stored, the same command continues"

Sets = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change the recipe, e.g. task.limit=50."),
]


@app.command()
def run(
    recipe: Annotated[str, typer.Argument(help="A YAML file, or the name of a shipped recipe.")],
    out: Annotated[Path | None, typer.Option(help="Folder for the results [runs/NAME].")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first problems.")] = None,
    sets: Sets = None,
) -> None:
    """Run a recipe: every strategy on every problem, with a table, a plot and files.

    The folder gets `manifest.json`, `results.jsonl`, `trees/`, `summary.json` and `accuracy.png`.
    Interrupt it whenever you like: the same command completes the rest.

    A recipe names a task, a generator, perhaps a verifier, and strategies:

        task: {name: nano, n: 100}

        generator: nano

        verifier: nano_prm

        strategies: [{searcher: self_consistency, n: [1, 4, 16]}, {searcher: best_of_n, n: 16}]
    """
    from reasoning.cli.show import ProgressLine, show_summary
    from reasoning.runs import run as runner
    from reasoning.runs.recipe import load

    loaded = load(recipe, sets or ())
    folder = out or Path("runs") / loaded.name
    with ProgressLine(loaded.name) as line:
        summary = asyncio.run(
            runner.run(loaded, folder, limit=limit, watch=line.update, command=sys.argv)
        )
    show_summary(summary, folder)


@app.command()
def solve(
    question: Annotated[
        str, typer.Argument(help="The question; '-' reads it from standard input.")
    ],
    searcher: Annotated[str, typer.Option(help="See `reasoning list searchers`.")] = "best_of_n",
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
    from reasoning.runs.recipe import parse, strategies, with_sets

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
    result = asyncio.run(_solve(question, recipe, strategy))
    show_result(result)
    raise typer.Exit(0 if result.answer is not None else 1)


@app.command()
def check(
    recipe: Annotated[str, typer.Argument(help="A YAML file, or the name of a shipped recipe.")],
    sets: Sets = None,
) -> None:
    """Check a recipe without running it: names, parameters, files; show what would run.

    A server that the recipe names is asked what it can do; without an answer the exit code is 3.
    """
    from reasoning.cli.show import show_description, show_plan
    from reasoning.runs import run as runner
    from reasoning.runs.recipe import load

    plan = runner.plan(load(recipe, sets or ()))
    known = asyncio.run(_described(plan.plugins))
    for facts in known:
        show_description(facts)
    show_plan(plan)
    if any("not ready" in facts for facts in known):
        raise EngineError("the recipe is fine, but what it needs is not ready: see above")
    runner.refuse_steps(plan)
    typer.echo("The recipe is fine.")


@app.command()
def launch(
    recipe: Annotated[str, typer.Argument(help="A YAML file, or the name of a shipped recipe.")],
    run: Annotated[bool, typer.Option("--run", help="Start them, until interrupted.")] = False,
    gpus: Annotated[int, typer.Option(min=1, help="How many GPUs there are.")] = 1,
    cpu: Annotated[
        bool | None, typer.Option("--cpu/--gpu", help="What vLLM runs on [as installed here].")
    ] = None,
    engine: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE", help="An engine option of the generator by its name."),
    ] = None,
    sets: Sets = None,
) -> None:
    """Print the `vllm serve` commands that fit a recipe, one a line; comments begin with #.

    Generator and reward models get servers of their own, on one GPU with its memory split. A
    recipe that runs vLLM in its own process is told how to use the servers instead.

    Example: reasoning launch math500 --gpus 2 --engine max_model_len=8192
    """
    from reasoning.cli import launch as servers
    from reasoning.runs.recipe import load, with_sets

    loaded = load(recipe, sets or ())
    more = with_sets({}, engine or ())
    cpu = servers.on_cpu() if cpu is None else cpu
    found = servers.servers(loaded, gpus=gpus, cpu=cpu, more=more)
    command = servers.program()
    for server in found:
        typer.echo(f"# {server.role}: {server.url}\n{server.line(command)}")
    then = shlex.join(["reasoning", "run", recipe, *servers.changes(loaded, found)])
    typer.echo(f"# then: {then}")
    if run:
        from reasoning.cli import serving

        serving.run(found, typer.echo)


@app.command()
def report(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Folders of runs.")],
    out: Annotated[Path, typer.Option(help="The page to write.")] = Path("report.html"),
    figures: Annotated[
        Path | None, typer.Option(help="A folder for the charts as PNG and SVG files.")
    ] = None,
    baseline: Annotated[
        str | None, typer.Option(help="Compare with this strategy only [all pairs].")
    ] = None,
    size: Annotated[float, typer.Option(min=0.5, help="Keep the page near so many MB.")] = 5.0,
) -> None:
    """Write one HTML page about runs: numbers with intervals, charts, every rollout tree.

    The page needs no server and no network. Texts are shortened to keep its size, those of problems
    where the strategies agree first. An unfinished run is reported as far as it is.

    Example: reasoning report runs/quickstart --out quickstart.html --figures figures
    """
    from reasoning.cli.show import console

    written = _evals("report").write(runs, out, figures=figures, baseline=baseline, megabytes=size)
    for note in written.notes:
        console.print(f"note: {note}", markup=False)
    console.print(
        f"{written.path}: {written.problems} problems, {written.strategies} strategies, "
        f"{written.size / 1e6:.1f} MB",
        markup=False,
        soft_wrap=True,
    )


@app.command()
def tree(
    run: Annotated[Path, typer.Argument(help="The folder of a run.")],
    problem: Annotated[str, typer.Argument(help="The name of a problem in it.")],
    strategy: Annotated[
        str | None, typer.Option(help="A strategy of the run [the first one].")
    ] = None,
) -> None:
    """Print a problem's rollout tree: what was grown, scored, cut, cancelled and chosen.

    Example: reasoning tree runs/quickstart nano-test-0-0 --strategy best_of_n-n=4
    """
    from reasoning.cli.show import console

    _evals("report.terminal").show_tree(run, problem, strategy, console)


@app.command()
def compare(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Folders of runs.")],
    baseline: Annotated[
        str | None, typer.Option(help="The strategy to compare with [the first one].")
    ] = None,
) -> None:
    """Put runs of one task side by side: strategies, paired differences, intervals, p-values.

    Example: reasoning compare runs/before runs/after
    """
    from reasoning.cli.show import console

    _evals("report.terminal").show_comparison(runs, baseline, console)


def _evals(module: str) -> Any:
    """A module of `evals`, found when it is needed: evals build on reasoning."""
    from reasoning.runs import names

    return names.ours(f"evals.{module}")


@app.command()
def replay(
    source: Annotated[
        str, typer.Argument(help="A run's folder, or a .jsonl(.gz) file of recorded samples.")
    ],
    strategy: Annotated[
        list[str] | None,
        typer.Option(help="NAME or NAME-key=value, e.g. short_m_at_k-m=1 [all there are]."),
    ] = None,
    budget: Annotated[
        list[int] | None,
        typer.Option(min=1, help="Samples a problem [powers of two up to what is stored]."),
    ] = None,
    orders: Annotated[
        int, typer.Option(min=0, help="Permutations of each problem's samples.")
    ] = 20,
    seed: Annotated[int, typer.Option(help="Same seed, same orders.")] = 0,
    out: Annotated[Path | None, typer.Option(help="Folder for results [runs/replay-NAME].")] = None,
    where: Annotated[
        list[str] | None,
        typer.Option(metavar="FIELD=VALUE", help="Only such samples of a file: run=data/n16."),
    ] = None,
    samples_of: Annotated[
        str | None, typer.Option(help="The strategy of a run whose samples are used [the fullest].")
    ] = None,
    max_tokens: Annotated[
        int | None, typer.Option(min=1, help="The limit a file's samples were drawn under.")
    ] = None,
    logit: Annotated[
        bool, typer.Option("--logit", help="Scores are logits: use their sigmoid.")
    ] = (False),
) -> None:
    """Try other strategies on samples that are stored already: no model, no new tokens.

    Every strategy that needs no new generation, at every budget, in many orders: self_consistency,
    best_of_n, weighted_majority, best_of_majority, first_finish, short_m_at_k,
    adaptive_consistency, esc, and, where log-probabilities are stored, perplexity, cisc, deepconf.
    The folder gets `replay.json`, `replay.png` and `grades.jsonl`, which saves grading twice.

    Example: reasoning replay runs/math500 --strategy self_consistency --strategy esc-window=4
    """
    _evals("replay.show").main(
        source,
        strategies=strategy or (),
        budgets=budget,
        orders=orders,
        seed=seed,
        out=out,
        where=where or (),
        samples_of=samples_of,
        max_tokens=max_tokens,
        logit=logit,
    )


@app.command("list")
def list_(
    kind: Annotated[
        str | None,
        typer.Argument(
            help="searchers, verifiers, aggregators, generators or tasks; all if left out."
        ),
    ] = None,
) -> None:
    """List what a recipe can name, with parameters and defaults."""
    from reasoning.cli.show import show_names
    from reasoning.errors import RecipeError, unknown
    from reasoning.runs import names

    kinds: dict[str, Kind] = {f"{k}s": k for k in names.PACKAGES}
    if kind is not None and kind not in kinds:
        raise RecipeError(unknown("kind", kind, kinds))
    for plural in [kind] if kind else list(kinds):
        functions = [names.find(kinds[plural], name) for name in names.known(kinds[plural])]
        show_names(plural, names.help_lines(functions))


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
        searcher=strategy.run,
        generator=recipe.generator,
        verifier=recipe.verifier,
        aggregator=strategy.vote,
        sampling=recipe.sampling,
        step=recipe.step,
        limits=recipe.limits,
        seed=recipe.seed,
    )


async def _described(plugins: Sequence[Any]) -> list[Mapping[str, str]]:
    """What generators and verifiers say of themselves, where they do."""
    found = []
    for plugin in plugins:
        try:
            if facts := await plugin.describe():
                found.append(facts)
        except (EngineError, CallError) as error:  # the recipe may be fine all the same
            found.append({"not ready": str(error)})
        finally:
            await plugin.aclose()
    return found


def main() -> None:
    """The `reasoning` command. One clear line for a mistake, no traceback."""
    sys.path.append(os.getcwd())  # as with `python -m`: `module:function` may name a file at hand
    try:
        app()
    except KeyboardInterrupt:
        typer.secho(_INTERRUPTED, err=True)
        sys.exit(130)
    except SystemExit as stop:
        if stop.code == 130:  # typer has caught the interruption
            typer.secho(_INTERRUPTED, err=True)
        raise
    except (UserError, EngineError, ExceptionGroup) as error:
        reason = cause(error)
        if not isinstance(reason, (UserError, EngineError)):
            raise
        typer.secho(f"error: {reason}", fg="red", err=True)
        sys.exit(2 if isinstance(reason, UserError) else 3)


if __name__ == "__main__":
    main()
