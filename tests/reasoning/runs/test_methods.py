"""The README's tables name every searcher and aggregator, each in one line with its papers."""

from __future__ import annotations

import re

import pytest

from reasoning.errors import RecipeError
from reasoning.runs import methods, names

LONGEST = 120
"""Characters of a sentence that is read in a table."""


@pytest.mark.parametrize("kind", ["searcher", "aggregator"])
def test_every_plug_in_has_one_row_of_one_line(kind: names.Kind) -> None:
    table = methods.tables().split("\n\n")[kind == "aggregator"]
    firsts = re.findall(r"^\| `(\w+)` \| (.+?) \| ", table, re.MULTILINE)
    assert sorted(name for name, _ in firsts) == names.known(kind)
    assert not [name for name, words in firsts if len(words) > LONGEST]


def test_a_row_is_a_sentence_and_the_papers_of_the_file() -> None:
    paper = "[2203.11171](https://arxiv.org/abs/2203.11171)"
    assert paper in methods.row("aggregator", "majority")
    assert methods.row("searcher", "sample").endswith("temperature 0 |  |")


def test_where_a_sentence_ends() -> None:
    assert (
        methods.sentence("Do it, with\n   sigmoid(b . x).\n\nMore.") == "Do it, with sigmoid(b . x)"
    )
    assert methods.sentence("Vote: breadth. Then more.") == "Vote: breadth"
    assert methods.sentence("Less < more. `n` times.") == "Less \\< more"


def test_families_stand_in_order() -> None:
    table = methods.tables()
    places = [table.index(f"| `{n}` |") for n in ("sample", "astar", "budget_forcing", "debate")]
    assert places == sorted(places)


def test_what_stands_around_the_tables_stays() -> None:
    page = f"Before\n\n{methods.BEGIN}\nstale rows\n{methods.END}\nAfter\n"
    made = methods.written(page)
    assert made.startswith("Before\n\n")
    assert made.endswith("\nAfter\n")
    assert "stale rows" not in made
    assert methods.written(made) == made
    with pytest.raises(RecipeError, match="no lines <!-- methods"):
        methods.written("a page without marks")
