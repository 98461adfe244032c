"""Arguments and options that several commands have, each with its words."""

from __future__ import annotations

from typing import Annotated

import typer

from reasoning.cli import completing

Recipes = Annotated[
    str,
    typer.Argument(
        metavar="RECIPE",
        help="A YAML file, or the name of a shipped recipe.",
        autocompletion=completing.recipes,
    ),
]
Sets = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change the recipe, e.g. seed=1."),
]
Trust = Annotated[
    bool, typer.Option("--trust", help="Let the recipe import code and send keys; read it first.")
]
Trace = Annotated[
    bool, typer.Option("--trace", help="Spans for OpenTelemetry, sent as OTEL_* says.")
]
Limit = Annotated[int | None, typer.Option(min=1, help="Only the first problems.")]

# How recorded samples are read.

Where = Annotated[
    list[str] | None,
    typer.Option(metavar="FIELD=VALUE", help="Only such samples of a file: run=data/n16."),
]
SamplesOf = Annotated[
    str | None, typer.Option(help="The strategy of a run whose samples are used [the fullest].")
]
MaxTokens = Annotated[
    int | None, typer.Option(min=1, help="The limit a file's samples were drawn under.")
]
Answers = Annotated[
    str | None,
    typer.Option(help="Their kind where a file does not say: choice, number, ... [math]."),
]
Logit = Annotated[bool, typer.Option("--logit", help="Scores are logits: use their sigmoid.")]
