"""The commands that hand a run on: export, publish."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from reasoning.integrations import Format, Scale, Table

Run = Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a run.")]
Strategies = Annotated[
    list[str] | None, typer.Option("--strategy", help="Only this one; may be repeated [all].")
]


def export(
    run: Run,
    to: Annotated[
        Format, typer.Option(help="dataframe is a .feather file; dataset and inspect are folders.")
    ] = "parquet",
    table: Annotated[
        Table, typer.Option(help="One row a sample, or one a problem and strategy.")
    ] = "samples",
    strategy: Strategies = None,
    logprobs: Annotated[
        bool, typer.Option("--logprobs", help="Those of every token, too, where they are known.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option(help="The file or folder to write [in RUN/export].")
    ] = None,
) -> None:
    """Write a run as a table of samples: Parquet, CSV, Arrow, a data set, logs of inspect_ai.

    Every column is in docs/integrations/export.md; what is not known is empty. A data set is a
    folder for `datasets.load_dataset`, with both tables; inspect_ai gets a log for each strategy,
    which `inspect view` shows. An unfinished run is exported as far as it is.

    Example: reasoning export runs/quickstart --to csv --table results
    """
    from reasoning.cli.show import console, plain
    from reasoning.integrations import export as exports
    from reasoning.integrations.rows import StoredRun

    stored = StoredRun.open(run, strategy or ())
    name = table + exports.SUFFIX[to] if to in exports.SUFFIX else to
    out = out or run / "export" / name
    files = exports.export(stored, to, out, table=table, logprobs=logprobs)
    for note in dict.fromkeys(stored.notes):
        console.print(f"note: {plain(note)}", soft_wrap=True)
    for file in files:
        console.print(plain(str(file)), soft_wrap=True, highlight=False)


def publish(
    run: Run,
    strategy: Annotated[
        str | None, typer.Option(help="The strategy whose result it is [the only one].")
    ] = None,
    repo: Annotated[
        str | None, typer.Option(metavar="OWNER/MODEL", help="The model whose result it is.")
    ] = None,
    dataset: Annotated[
        str | None, typer.Option(help="The benchmark on the hub [where the task is from].")
    ] = None,
    task: Annotated[
        str | None, typer.Option(help="The benchmark's task id there [its configuration].")
    ] = None,
    scale: Annotated[Scale, typer.Option(help="What the benchmark counts in.")] = "percent",
    source: Annotated[
        str | None, typer.Option(metavar="URL", help="Where readers find the samples.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Write the file to standard output, send nothing.")
    ] = False,
) -> None:
    """Propose a run's result to a model on the Hugging Face hub, as its evaluation-result YAML.

    It is a pull request, made with the key in HF_TOKEN. The notes say the strategy, the interval,
    the tokens, and what the run itself wants known. Part of a benchmark is never sent.

    Example: reasoning publish runs/math500 --strategy best_of_n-n=16 --dry-run
    """
    from reasoning.errors import RecipeError
    from reasoning.integrations import publish as hub
    from reasoning.integrations.rows import StoredRun

    stored = StoredRun.open(run, [strategy] if strategy else ())
    if repo is not None:
        hub.named("--repo", repo)
    found = hub.entry(stored, dataset=dataset, task=task, scale=scale, source=source)
    if dry_run:
        typer.echo(f"# {found.path}\n{found.text}", nl=False)
        if found.partial:
            typer.echo(f"note: it is a result of {found.partial}, and would not be sent", err=True)
        return
    if repo is None:
        raise RecipeError("publish sends to a model: say --repo OWNER/MODEL, or --dry-run to look")
    typer.echo(hub.upload(found, repo))
