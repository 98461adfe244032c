"""What templates, conditions and operations make of values, exactly and for any values."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from searchers.programs.language.conditions import holds
from searchers.programs.language.operations import MOST_SPANS, computed, nearest, spans
from searchers.programs.language.parts import Condition
from searchers.programs.language.values import (
    Failure,
    Value,
    filled,
    looked_up,
    made,
    of,
    plain,
    references,
    told,
)

TEXTS = st.text(max_size=20)
PLAIN = st.recursive(
    TEXTS | st.booleans() | st.floats(allow_nan=False),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.from_regex(r"[a-z]{1,3}", fullmatch=True), inner, max_size=3)
    ),
    max_leaves=8,
)
SCOPE = {
    "a": of("one", ["n1"]),
    "b": of(["x", "y"], ["n2"]),
    "c": of({"p": 0.5, "who": ["q"]}, ["n1", "n3"]),
    "d": of([{"t": "u"}, {"t": "v"}]),
}


@given(PLAIN)
def test_data_comes_back(data: Any) -> None:
    assert plain(of(data)) == data


def test_data_of_any_kind_is_taken() -> None:
    assert plain(of([1, None, (2,), object])) == [1.0, "", [2.0], str(object)]
    assert plain(of({1: 10**400})) == {"1": math.inf}
    with pytest.raises(Failure, match="is no number"):
        assert of(10**400).number


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ("a", "a"),
        (3, "3"),
        (0.1, "0.1"),
        (True, "yes"),
        (False, "no"),
        ([], ""),
        (["a", "b\nc"], "1. a\n2. b\n   c"),
        ({"p": 0.5, "q": ["r"]}, "p: 0.5\nq: 1. r"),
    ],
)
def test_how_values_are_told(data: Any, text: str) -> None:
    assert told(of(data)) == text


@pytest.mark.parametrize(
    ("template", "text", "sources"),
    [
        ("no name", "no name", ()),
        ("{a} and {b}", "one and 1. x\n2. y", ("n1", "n2")),
        ("{c.p} {a} {a}", "0.5 one one", ("n1", "n3")),
        ("\\boxed{{a}}", "\\boxed{one}", ("n1",)),
        ('{} { a } {1} {"a": 2}', '{} { a } {1} {"a": 2}', ()),
        ("{d.t}!", "1. u\n2. v!", ()),
    ],
)
def test_templates(template: str, text: str, sources: tuple[str, ...]) -> None:
    found = filled(SCOPE, template)
    assert (found.data, found.sources) == (text, sources)


@given(TEXTS, TEXTS)
def test_what_is_filled_in_is_not_read_again(one: str, other: str) -> None:
    scope = {"a": of(one), "b": of(other)}
    assert filled(scope, "<{a}|{b}>").data == f"<{one}|{other}>"
    assert filled(scope, "{a}") == scope["a"]


@given(TEXTS)
def test_a_text_without_names_stays(text: str) -> None:
    if not references(text):
        assert filled({}, text) == Value(text)


def test_a_name_alone_is_the_value() -> None:
    assert filled(SCOPE, "{b}") is SCOPE["b"]
    assert plain(made(SCOPE, {"x": ["{b}", "{a}!", 2], "y": True})) == {
        "x": [["x", "y"], "one!", 2.0],
        "y": True,
    }
    assert made(SCOPE, ["{a}", "{c}"]).sources == ("n1", "n3")


@pytest.mark.parametrize("reference", ["a.p", "c.q", "b.t", "c.p.q"])
def test_fields_that_are_not_there(reference: str) -> None:
    with pytest.raises(Failure, match="has no field"):
        looked_up(SCOPE, reference)


# ------------------------------------------------------------------------------- conditions


@pytest.mark.parametrize(
    ("condition", "truth"),
    [
        ({"value": "a", "is": " ONE. "}, True),
        ({"value": "a", "is": "{b}"}, False),
        ({"value": "c.p", "is": 0.5}, True),
        ({"value": "c.p", "above": 0.4}, True),
        ({"value": "c.p", "above": 0.5}, False),
        ({"value": "c.p", "below": "0.6"}, True),
        ({"value": "a", "in": ["two", "One"]}, True),
        ({"value": "b", "in": ["y", "x", "z"]}, True),
        ({"value": "b", "in": ["x"]}, False),
        ({"value": "a", "in": "b"}, False),
        ({"value": "b", "empty": False}, True),
        ({"value": "zero", "empty": True}, False),
        ({"value": "none", "empty": True}, True),
        ({"value": "yes", "is": "yes"}, True),
        ({"value": "yes", "is": True}, True),
        ({"not": {"value": "a", "is": "two"}}, True),
        ({"all": [{"value": "a", "is": "one"}, {"value": "yes", "is": "no"}]}, False),
        ({"any": [{"value": "a", "is": "one"}, {"value": "yes", "is": "no"}]}, True),
    ],
)
def test_conditions(condition: dict[str, Any], truth: bool) -> None:
    scope = {**SCOPE, "zero": of(0), "none": of([]), "yes": of(True)}
    assert holds(scope, TypeAdapter(Condition).validate_python(condition)) is truth


# ------------------------------------------------------------------------------- operations


def make(what: str, data: Any, by: str | None = None, to: Any = "", n: int | None = None) -> Any:
    return plain(computed(what, of(data), by, of(to), n, False))


@given(st.lists(st.floats(-50, 50), min_size=1, max_size=8))
def test_shares_and_sums(logs: list[float]) -> None:
    shares = [r["share"] for r in make("softmax", [{"l": x} for x in logs], by="l")]
    assert math.fsum(shares) == pytest.approx(1)
    whole = math.fsum(map(math.exp, logs))
    assert shares == pytest.approx([math.exp(x) / whole for x in logs])
    assert make("mix", logs) == pytest.approx(math.log(whole))
    assert make("sum", logs) == pytest.approx(math.fsum(logs))
    assert make("count", logs) == len(logs)


def test_likelihoods_too_small_for_numbers_are_compared_all_the_same() -> None:
    found = make("softmax", [{"l": -2000.0}, {"l": -2000.0 + math.log(3)}], by="l")
    assert [r["share"] for r in found] == pytest.approx([0.25, 0.75])


@given(st.lists(TEXTS, max_size=8))
def test_lists(texts: list[str]) -> None:
    ordered = make("sort", texts)
    assert ordered == sorted(texts, key=len)
    assert make("reverse", make("reverse", texts)) == texts
    once = make("distinct", texts)
    assert make("distinct", once) == once
    assert make("first", texts, n=2) == texts[:2]
    order = nearest(texts, "some words", len(texts))
    assert sorted(order) == [*range(len(texts))]


def test_sorting_is_stable_and_goes_down() -> None:
    rows = [{"i": i, "p": p} for i, p in enumerate([0.2, 0.7, 0.2, 0.7])]
    assert [r["i"] for r in make("sort", rows, by="p")] == [0, 2, 1, 3]
    down = plain(computed("sort", of(rows), "p", of(""), None, True))
    assert [r["i"] for r in down] == [1, 3, 0, 2]


def test_texts_taken_apart_and_put_together() -> None:
    assert make("split", " a ; b;; c", to=";") == ["a", "b", "c"]
    assert make("split", "", to=";") == []
    assert make("join", ["a", 2, "c"], to=" | ") == "a | 2 | c"
    assert make("minus", 3, to=1) == 2


def test_bm25_by_hand() -> None:
    """Two passages of 2 and 4 words, one word asked for, in both: idf = ln(1 + .5 / 2.5)."""
    passages = ["river sea", "river river stone sand"]
    idf = math.log(1 + 0.5 / 2.5)
    one = idf * 1 * 2.2 / (1 + 1.2 * (0.25 + 0.75 * 2 / 3))
    two = idf * 2 * 2.2 / (2 + 1.2 * (0.25 + 0.75 * 4 / 3))
    assert nearest(passages, "River?", 2) == ([0, 1] if two > one else [1, 0])
    assert nearest(["a", "b", "b c"], "b", 1) == [1]
    assert nearest(["x", "y"], "z", 2) == [1, 0]  # the earlier one is nearer
    assert nearest([], "z", 2) == []


@pytest.mark.parametrize(
    ("what", "data", "why"),
    [
        ("first", [], "no first entry"),
        ("mix", [], "no such number"),
        ("sum", ["x"], "no number"),
        ("sum", [1e308, 1e308], "no such number"),
        ("sort", "abc", "no list"),
    ],
)
def test_what_cannot_be_computed(what: str, data: Any, why: str) -> None:
    with pytest.raises(Failure, match=why):
        make(what, data)


def test_values_are_json_where_data_is() -> None:
    assert json.loads(json.dumps(plain(SCOPE["c"]))) == {"p": 0.5, "who": ["q"]}


def test_spans_are_runs_of_words_the_shorter_ones_first() -> None:
    found = spans("Ann met Ben, I think. He wrote!", 2)
    assert found[:7] == ["Ann", "met", "Ben", "I", "think", "He", "wrote"]
    assert found[7:] == ["Ann met", "met Ben", "I think", "He wrote"]  # within a sentence
    listed = computed("spans", of(["a b", "c"]), None, of(""), 2, False)
    assert plain(listed) == ["a", "b", "c", "a b"]  # none goes from one entry into the next
    assert spans("a b", 0) == spans("... !", 3) == []
    assert len(spans(" ".join(map(str, range(2000))), 5)) == MOST_SPANS


@given(st.text(max_size=60), st.integers(0, 4))
def test_every_span_stands_in_the_text(text: str, n: int) -> None:
    joined = " ".join(text.split())
    for span in (found := spans(text, n)):
        assert span in joined
        assert 1 <= len(span.split()) <= n
    assert len(set(found)) == len(found)
