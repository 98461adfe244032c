"""The command that evaluates what is stored: `reasoning eval RUN`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from reasoning.runs import names


def evaluate(
    runs: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="RUN...",
            help="The folder of a run, or several of one recipe; or recorded samples.",
        ),
    ] = None,
    measure: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Only this one; see --list.")
    ] = None,
    strategy: Annotated[
        str | None, typer.Option(help="Whose samples are used [the fullest strategy].")
    ] = None,
    greedy: Annotated[
        str | None, typer.Option(help="The strategy that decodes greedily [at temperature 0].")
    ] = None,
    where: Annotated[
        list[str] | None,
        typer.Option(metavar="FIELD=VALUE", help="Only such samples of a recording."),
    ] = None,
    max_tokens: Annotated[
        int | None, typer.Option(min=1, help="The limit a recording was drawn under.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="A folder for tables (CSV, LaTeX, JSON) and figures.")
    ] = None,
    list_: Annotated[bool, typer.Option("--list", help="Say what there is, and stop.")] = False,
) -> None:
    """Evaluate stored runs beyond accuracy: no model, no new tokens.

    How long solutions are, how far more samples would go, how much one answer can be relied on,
    what greedy decoding hides, where thinking could have stopped, whether runs repeat. Each says
    what it means and what it does not, with 95 % intervals; what the run does not hold is named.

    Example: reasoning eval runs/quickstart --measure lengths --measure coverage --out tables
    """
    from reasoning.cli.show import console

    shown = names.ours("evals.measures.show")
    if list_:
        shown.listed(console)
        return
    if not runs:
        raise typer.BadParameter("name the folder of a run, or --list", param_hint="RUN")
    pairs = [pair.partition("=") for pair in where or ()]
    if wrong := [field for field, sign, _ in pairs if not (field and sign)]:
        raise typer.BadParameter(f"must be FIELD=VALUE, got {wrong[0]!r}", param_hint="--where")
    shown.main(
        list(dict.fromkeys(runs)),
        list(dict.fromkeys(measure or ())),
        out,
        console,
        strategy=strategy,
        greedy=greedy,
        where={field: value for field, _, value in pairs},
        max_tokens=max_tokens,
    )
