"""Asking whoever is at the terminal what a recipe may do; see `reasoning.runs.consent`."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import typer

from reasoning.errors import RecipeError
from reasoning.http.keys import sent_to
from reasoning.runs import names
from reasoning.runs.consent import needs, typed
from reasoning.runs.editing import changes
from reasoning.runs.recipe import Recipe, load, located, shipped
from reasoning.text import visible


@contextmanager
def trusted(source: str, sets: Sequence[str], trust: bool) -> Iterator[Recipe]:
    """The recipe `source`, meanwhile allowed what somebody has agreed to and nothing else.

    Recipes of ours need no consent, and neither does what was typed as `--set`. For the rest there
    is `trust`, or the answer to a question at a terminal. Raises RecipeError without either.
    """
    recipe = load(source, sets)
    if trust or shipped(located(source)):
        yield recipe
        return
    found, known = needs(recipe, os.environ), typed(changes(sets))
    if asked := [need.what for need in found if need.said not in known]:
        _ask(source, asked)
    codes = [need.code for need in found if need.code]
    urls = [need.key for need in found if need.key]
    with names.trusting(codes), sent_to(urls):
        yield recipe


def _ask(source: str, asked: Sequence[str]) -> None:
    shown = [visible(what) for what in asked]
    if not _somebody_there():
        raise RecipeError(
            f"the recipe {source} needs your consent to {'; '.join(shown)}. Read it, then say "
            "--trust"
        )
    lines = "".join(f"\n  - {what}" for what in shown)
    typer.echo(f"The recipe {visible(source)} would{lines}", err=True)
    if not typer.confirm("Do you trust whoever wrote it?", err=True):
        raise RecipeError(f"the recipe {source} is not trusted; nothing was run")


def _somebody_there() -> bool:
    return sys.stdin.isatty() and sys.stderr.isatty()
