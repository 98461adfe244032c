"""The pages of reference hold every parameter there is, each with what it means."""

from __future__ import annotations

import inspect
from typing import get_args

import pytest

from reasoning.runs import names, reference
from reasoning.runs.fields import REQUIRED

KINDS = get_args(names.Kind)


@pytest.mark.parametrize("kind", KINDS)
def test_every_parameter_of_every_plug_in_is_told(kind: names.Kind) -> None:
    text = reference.page(kind)
    for name in names.known(kind):
        function = names.find(kind, name)
        told = reference.entries(kind, name)
        assert [e.name for e in told] == [*names.parameters(function)]
        assert all(e.takes and e.default and e.meaning for e in told), name
        must = {n for n, p in names.parameters(function).items() if p.default is p.empty}
        assert {e.name for e in told if e.default == REQUIRED} == must
        if hasattr(function, "licence"):  # benchmarks share a table
            assert f"| `{name}` |" in text
        else:
            part = text.split(f"\n## {name}\n")[1].split("\n## ")[0]
            assert all(f"\n| `{e.name}` | {e.takes}" in part for e in told), name
            assert inspect.getdoc(function)


def test_nothing_is_told_of_what_is_not_there() -> None:
    there: dict[str, set[str]] = {"any": set()}
    for kind in KINDS:
        for name in names.known(kind):
            found = set(names.parameters(names.find(kind, name)))
            there["any"] |= found
            there[name] = there.get(name, set()) | found
    for owner, words in reference.stated().items():
        assert words.keys() <= there[owner], owner


def test_what_a_docstring_defines_and_mentions() -> None:
    doc = """What it does with `depth`: a lot.

    size: how large, in
    metres. one, two: of a pair; three: what follows.

    Another paragraph is about `depth`, too.
    """
    doc = inspect.cleandoc(doc)
    known = ["size", "one", "two", "three", "depth"]
    assert reference.definition(doc, "size", known) == "How large, in metres."
    assert reference.definition(doc, "two", known) == "Of a pair."
    assert reference.definition(doc, "three", known) == "What follows."
    assert reference.definition(doc, "depth", known) == ""
    assert reference.mention(doc, "depth") == "What it does with `depth`: a lot."


def test_a_parameter_that_nobody_explains_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    async def mine(search: object, *, zeal: int = 1) -> None:
        """Does it."""

    monkeypatch.setattr(names, "find", lambda kind, name: mine)
    with pytest.raises(KeyError, match="nobody says what zeal means"):
        reference.meaning("searcher", "mine", "zeal")
