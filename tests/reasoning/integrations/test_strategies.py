"""Strategies by the settings of other tools, and sessions in a thread of their own."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from reasoning.answers.plain import Plain
from reasoning.errors import RecipeError
from reasoning.integrations.strategies import Aside, Until, chosen, session
from reasoning.session import Session


def test_settings_are_those_of_a_recipe() -> None:
    made = chosen(
        generator="nano",
        searcher="best_of_n",
        n=4,
        verifier="nano_prm",
        **{"limits.tokens": 500, "sampling.temperature": 0.5},
    )
    assert (made.name, made.recipe.limits) == ("best_of_n-n=4", {"tokens": 500})
    opened = session(made)
    assert opened.sampling.temperature == 0.5
    assert opened.limits.tokens == 500
    named = chosen("quickstart", "best_of_n-n=4", seed=3)
    assert (named.name, named.recipe.seed) == ("best_of_n-n=4", 3)


def test_mistakes_are_named(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="name a recipe and its strategy"):
        chosen(searcher="sample")
    with pytest.raises(RecipeError, match="strategy=NAME: sample, "):
        chosen("quickstart")
    with pytest.raises(RecipeError, match="did you mean 'best_of_n-n=4'"):
        chosen("quickstart", "best_of_n-n=5")
    recipe = tmp_path / "r.yaml"
    recipe.write_text("{task: nano, generator: nano, searcher: 'os:getcwd'}")
    with pytest.raises(RecipeError, match=r"import and call os:getcwd.*trust=true"):
        chosen(str(recipe))


def test_a_text_that_has_come_to_its_end_is_finished() -> None:
    answers = Until(Plain(), ("\n\n",))
    assert answers.votes is True
    assert answers.find("It is 4.", finished=False) is None
    found = answers.find("It is 4.\n\nIt is 5.", finished=False)
    assert found is not None
    assert found.text == "4"


def made() -> Session:
    return Session(generator="scripted", searcher="sample")


def test_one_session_for_threads_and_loops_and_again_after_closing() -> None:
    aside = Aside(made)

    async def text(opened: Session) -> str | None:
        return (await opened.solve("x")).text

    first = aside.run(text)
    assert asyncio.run(aside.wait(text)) == first
    assert aside in Aside.open
    aside.close()
    assert aside not in Aside.open
    assert aside.run(text) == first
    aside.close()


def test_what_waits_and_is_cancelled_cancels_the_search() -> None:
    aside, ended = Aside(made), []

    async def forever(opened: Session) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(opened)

    async def short() -> None:
        async with asyncio.timeout(0.05):
            await aside.wait(forever)

    aside.session  # noqa: B018 (opened, so that the time is that of waiting)
    with pytest.raises(TimeoutError):
        asyncio.run(short())
    aside.close()
    assert len(ended) == 1
