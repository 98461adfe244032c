"""`reasoning fit`: from stored samples to a policy that gives each problem a budget."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from reasoning.cli.options import Answers, Logit, MaxTokens, SamplesOf, Where


def fit(
    runs: Annotated[
        list[str],
        typer.Argument(metavar="RUN...", help="Folders of runs, or files of recorded samples."),
    ],
    out: Annotated[Path, typer.Option(help="The policy to write.")] = Path("policy.json"),
    form: Annotated[
        str,
        typer.Option(
            help="marginal, bins, saturation, allocation, cascade, posterior, presets, fixed."
        ),
    ] = "marginal",
    tokens: Annotated[
        float | None,
        typer.Option(min=1, help="Generated tokens a problem, on average [a quarter of all]."),
    ] = None,
    loss: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="The cheapest that loses at most so much accuracy."),
    ] = None,
    preset: Annotated[
        list[str] | None,
        typer.Option(
            help="Ways to draw: strategies of RUN, the first of which a budget is a part of."
        ),
    ] = None,
    reject: Annotated[
        bool, typer.Option("--reject", help="Samples may end at a step that scores too little.")
    ] = False,
    test: Annotated[
        list[str] | None,
        typer.Option(metavar="RUN", help="Judge it on these [two halves of RUN, in turn]."),
    ] = None,
    chooser: Annotated[
        list[str] | None,
        typer.Option(help="majority, best, weighted_majority, perplexity, cisc [the best able]."),
    ] = None,
    figure: Annotated[
        Path | None, typer.Option(help="A picture: accuracy against tokens on unseen problems.")
    ] = None,
    orders: Annotated[int, typer.Option(min=1, help="Permutations of a problem's samples.")] = 20,
    seed: Annotated[int, typer.Option(min=0, help="Same seed, same policy.")] = 0,
    where: Where = None,
    samples_of: SamplesOf = None,
    max_tokens: MaxTokens = None,
    answers: Answers = None,
    logit: Logit = False,
) -> None:
    """Fit a policy: how many samples each problem gets, by what its first ones look like.

    Searcher `adaptive` runs it: `searcher: adaptive, policy: policy.json`. What it is worth is told
    on problems it was not fitted to: against the best fixed number of samples at equal cost,
    against all samples, and its regret to who knows beforehand. No gain is claimed whose interval
    includes 0. No model is called.

    Example: reasoning fit runs/train --tokens 500 --test runs/test --out policy.json
    """
    from reasoning.runs import names

    command: Any = names.ours("evals.control.command")
    command.main(
        runs,
        out,
        form=form,
        tokens=tokens,
        loss=loss,
        reject=reject,
        presets=preset or (),
        test=test or (),
        choosers=chooser or (),
        figure=figure,
        orders=orders,
        seed=seed,
        where=where or (),
        strategy=samples_of,
        max_tokens=max_tokens,
        answers=answers,
        logit=logit,
    )
