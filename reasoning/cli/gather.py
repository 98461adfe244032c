"""`reasoning gather`: what a run has written, made into notes that other runs may read."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer


def gather(
    run: Annotated[Path, typer.Argument(help="The folder of a run that is over.")],
    out: Annotated[Path, typer.Option(help="The notes to write.")] = Path("notes.json"),
    strategy: Annotated[
        str | None, typer.Option(help="A strategy of the run [the only one].")
    ] = None,
    trust: Annotated[
        bool, typer.Option("--trust", help="Let its task be code that is not ours.")
    ] = False,
) -> None:
    """Gather what a run has written about its problems into notes that searchers of others read.

    Searcher `medprompt` reads solved problems of any run, `handbook` those of `behaviours`,
    `sleep_time` those of `study` on the contexts of a task: docs/across.md. What the strategy has
    cost stands in the notes, and is told by whoever reads them. No model is called.

    Example: reasoning gather runs/train --out notes.json
    """
    from reasoning.cli.show import console
    from reasoning.runs import names

    gathering: Any = names.ours("evals.gathering")
    notes = gathering.gather(run, strategy, trust=trust)
    gathering.write(notes, out)
    cost = {name: f"{notes.cost[name]:,.0f}" for name in ("generated_tokens", "calls")}
    console.print(
        f"{out}: notes about {len(notes.notes):,} {notes.about} by {notes.strategy}, which cost "
        f"{cost['generated_tokens']} generated tokens in {cost['calls']} calls",
        markup=False,
        soft_wrap=True,
    )
