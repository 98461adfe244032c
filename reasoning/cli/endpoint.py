"""The command that serves a recipe's strategies."""

from __future__ import annotations

import importlib.util
import os
from typing import Annotated

import typer

from reasoning.cli.options import Recipes, Sets, Trace, Trust

KEYS = "REASONING_SERVE_KEYS"
"""The environment variable with the keys that clients need, separated by commas."""


def serve(
    recipe: Recipes,
    host: Annotated[str, typer.Option(help="Where to listen; others need keys.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 8001,
    most_searches: Annotated[int, typer.Option(min=1, help="At once; more get a 429.")] = 512,
    seconds: Annotated[float, typer.Option(min=0.1, help="For a search at the most.")] = 600.0,
    drain: Annotated[float, typer.Option(min=1, help="Seconds for what runs at the end.")] = 60.0,
    show_texts: Annotated[
        bool, typer.Option("--show-texts", help="On the page at /, too: questions and answers.")
    ] = False,
    trace: Trace = False,
    sets: Sets = None,
    trust: Trust = False,
) -> None:
    """Serve the strategies of a recipe behind an endpoint that speaks OpenAI's protocol.

    A client names a strategy as its model. The recipe's task is not loaded, its limits hold for
    every search. With keys in REASONING_SERVE_KEYS, separated by commas, clients need one of them.
    A browser shows at / what runs. The first Ctrl-C or SIGTERM lets what is running end. Needs
    `pip install 'reasoning[serve]'`.

    Example: reasoning serve quickstart --port 8001
    """
    from reasoning.cli.consent import trusted
    from reasoning.cli.tracking import spans

    needed("serve")
    from reasoning.serve import running
    from reasoning.serve.desk import Settings
    from reasoning.serve.offers import Offers

    keys = tuple(key for k in os.environ.get(KEYS, "").split(",") if (key := k.strip()))
    settings = running.checked(
        Settings(
            host=host,
            port=port,
            keys=keys,
            most_searches=most_searches,
            seconds=seconds,
            drain=drain,
            texts=show_texts,
        )
    )

    def ready(port: int) -> None:
        shown = f"[{host}]" if ":" in host else host
        typer.echo(f"http://{shown}:{port}/v1 serves {', '.join(offers.by_name)}")

    with trusted(recipe, sets or (), trust) as loaded, spans(trace):
        offers = Offers(loaded, traced=trace)
        running.run(offers, settings, ready)


def needed(command: str) -> None:
    """Raise RecipeError where a server cannot be made."""
    from reasoning.errors import RecipeError

    for package in ("starlette", "uvicorn"):
        if importlib.util.find_spec(package) is None:
            raise RecipeError(
                f"{command} needs {package}, which is not installed: pip install 'reasoning[serve]'"
            )
