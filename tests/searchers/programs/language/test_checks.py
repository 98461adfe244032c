"""Programs are checked before they run: where a mistake is, what it is, and what to write instead.

And the other way round: one that passes never ends in anything but candidates and notes.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reasoning.backends.scripted import Scripted
from reasoning.budget import Budget
from reasoning.errors import RecipeError
from reasoning.problem import Problem
from reasoning.runs.names import bind_searcher
from reasoning.search import Search
from searchers.programs.interpreter import Interpreter
from searchers.programs.language import reading
from searchers.programs.language.bounds import most_calls
from searchers.programs.language.checks import check
from searchers.programs.language.reading import parse, shipped

Steps = list[Any]
LIST = {"call": "q", "as": "parts", "parse": "numbered"}
RAW = {"call": "q", "as": "said"}
MARK = {"call": "q", "as": "mark", "parse": "yes_no"}
PROVE: dict[str, Any] = {"takes": ["goal"], "else": "no", "steps": [{"give": "{goal}"}]}


def mistake(data: dict[str, Any], **params: Any) -> str:
    def checked() -> None:
        program = parse(data)
        check(program, reading.given(program, params))

    with pytest.raises(RecipeError) as caught:
        checked()
    return str(caught.value)


@pytest.mark.parametrize(
    ("steps", "where", "what"),
    [
        ([{"cal": "q"}], "steps[0]", "did you mean 'call'"),
        (["stopp"], "steps[0]", "did you mean 'stop'"),
        ([{"call": "q", "pars": "lines"}], "steps[0].call", "did you mean 'parse'"),
        ([{"call": "q", "parse": "linse"}], "steps[0].call.parse", "did you mean 'lines'"),
        ([{"call": "{qestion}"}], "steps[0].call", "did you mean 'question'"),
        ([LIST, {"for_each": "parts", "most": 3, "do": [{"call": "{itm}"}]}],
         "steps[1].for_each.do[0].call", "did you mean 'item'"),
        ([LIST, {"for_each": "parts", "do": [RAW]}], "steps[1].for_each", "every loop has a bound"),
        ([{"while": {"value": "question", "is": "x"}, "do": [RAW]}], "steps[0].while", "no `most`"),
        ([{"repeat": -1, "do": [RAW]}], "steps[0].repeat", "greater than or equal to 0"),
        ([{"repeat": "{n}", "do": [RAW]}], "steps[0].repeat", "unknown parameter 'n'"),
        ([RAW, {"for_each": "said", "most": 3, "do": [RAW]}], "steps[1].for_each", "no list"),
        ([RAW, {"branch": "said", "cases": {"a": []}, "else": []}], "steps[1].branch",
         "nobody has parsed"),
        ([RAW, {"if": {"value": "said", "is": "a"}, "then": []}], "steps[1].if.value",
         "nobody has parsed"),
        ([RAW, {"if": {"not": {"value": "said", "empty": True}}, "then": []}],
         "steps[1].if.not.value", "nobody has parsed"),
        ([MARK, {"branch": "mark", "cases": {"yes": []}}], "steps[1].branch", "no `else`"),
        ([MARK, {"if": {"value": "mark", "is": True}, "then": [{"let": {"x": "1"}}]},
          {"call": "{x}"}], "steps[2].call", "'x' is not set on every path"),
        ([{"repeat": 2, "do": [{"let": {"x": "1"}}]}, {"emit": "{x}"}], "steps[1].emit",
         "'x' is not set on every path"),
        ([LIST, {"for_each": "parts", "most": 2, "do": [{"let": {"x": "{item}"}}]},
          {"emit": "{item}"}], "steps[2].emit", "'item' is not set on every path"),
        ([MARK, {"branch": "mark", "cases": {"yes": ["stop"], "no": ["stop"]}, "else": ["stop"]},
          {"call": "q"}], "steps[2]", "never reached"),
        (["stop", {"call": "q"}], "steps[1]", "never reached"),
        ([{"let": {"question": "x"}}], "steps[0].let.question", "is taken"),
        ([{"call": "q", "as": "options"}], "steps[0].call.as", "is taken"),
        ([{"call": "q", "as": "a b"}], "steps[0].call.as", "does not fit"),
        ([{"call": "q", "as": "r", "parse": {"json": ["answer"]}}, {"emit": "{r.anwser}"}],
         "steps[1].emit", "did you mean 'answer'"),
        ([MARK, {"emit": "{mark.x}"}], "steps[1].emit", "has no fields"),
        ([LIST, {"make": "sort", "of": "parts", "by": "p", "as": "x"}], "steps[1].make.by",
         "has no fields"),
        ([LIST, {"make": "srot", "of": "parts", "as": "x"}], "steps[1].make",
         "did you mean 'sort'"),
        ([MARK, {"make": "sort", "of": "mark", "as": "x"}], "steps[1].make.of", "no list"),
        ([LIST, {"make": "nearest", "of": "parts", "as": "x"}], "steps[1].make", "needs `to`"),
        ([MARK, {"if": {"value": "mark", "above": 1}, "then": []}], "steps[1].if.value",
         "is no number"),
        ([MARK, {"if": {"value": "mark", "is": "a", "in": ["b"]}, "then": []}], "steps[1].if",
         "asks one thing"),
        ([MARK, {"if": {"valeu": "mark"}, "then": []}], "steps[1].if", "did you mean 'value'"),
        ([MARK, {"if": {}, "then": []}], "steps[1].if", "'nothing'"),
        ([{"call": "q", "as": "x", "parse": {"number": [1, 0]}}], "steps[0].call.parse",
         "no number from 1 to 0"),
        ([{"add": "x", "to": "xs"}], "steps[0].add.to", "no list yet"),
        (["break"], "steps[0].break", "no loop"),
        ([LIST, {"for_each": "parts", "most": 2, "do": ["break"]}], "steps[1].for_each.do[0].break",
         "no loop"),
        ([LIST, {"for_each": "parts", "most": 2, "do": ["stop"]}], "steps[1].for_each.do[0].stop",
         "in_turn"),
        ([{"give": "x"}], "steps[0].give", "only a routine"),
        ([{"run": "prov", "as": "x"}], "steps[0].run", "did you mean 'prove'"),
        ([{"run": "prove", "as": "x"}], "steps[0].run.with", "takes goal"),
        ([{"run": "prove", "with": {"gaol": "x"}, "as": "x"}], "steps[0].run.with",
         "did you mean 'goal'"),
        ([LIST, {"vote": "parts", "by": "majorty", "as": "x"}], "", "did you mean 'majority'"),
        ([LIST, {"vote": "parts", "by": "rank_filter", "as": "x"}], "steps[1].vote.by", "several"),
        ([{"call": "q", "sampling": {"temprature": 0}}], "steps[0].call.sampling",
         "did you mean 'temperature'"),
        ([{"call": "q", "model": "{m}"}], "steps[0].call.model", "unknown parameter 'm'"),
        ([{"call": "q", "parse": {"regex": "(a+)+"}}], "steps[0].call.parse", "for ever"),
        ([{"call": "q", "parse": {"pick": "ruls"}}], "steps[0].call.parse", "unknown name 'ruls'"),
        ([{"call": "q", "parse": {"one_of": "question"}}], "steps[0].call.parse", "no list"),
        ([{"call": "q", "parse": {"one_of": "options"}, "sampling": {"regex": "a"}}],
         "steps[0].call.sampling", "one_of says what is said, and regex too"),
        ([{"emit": "x", "weight": "question"}], "steps[0].emit.weight", "no number"),
        ([{"call": "q", "n": True}], "steps[0].call.n", "does not fit"),
        ([{"call": "q", "parse": {"choice": ["a", "A."]}}], "steps[0].call.parse", "as 'a' does"),
        ([{"call": "q", "parse": {"choice": ["a", "."]}}], "steps[0].call.parse", "says nothing"),
        ([MARK, {"branch": "mark", "cases": {"yes": [], "Yes": []}, "else": []}], "steps[1].branch",
         "as 'yes' does"),
        ([], "steps", "at least 1 item"),
    ],
)  # fmt: skip
def test_mistakes(steps: Steps, where: str, what: str) -> None:
    told = mistake({"steps": steps, "routines": {"prove": PROVE}})
    assert where in told
    assert what in told
    assert "\n" not in told


@pytest.mark.parametrize(
    ("routine", "where", "what"),
    [
        (
            {"steps": [{"give": 3}], "else": "no"},
            "routines.r.steps[0].give",
            "where else is a text",
        ),
        ({"steps": [RAW]}, "routines.r", "no `else`"),
        ({"steps": ["stop"], "else": "no"}, "routines.r.steps[0].stop", "ends with give"),
        ({"steps": [{"give": "{goal}"}], "else": "no"}, "routines.r.steps[0].give", "'goal'"),
        ({"steps": [RAW], "else": "no", "depth": 51}, "routines.r.depth", "50 is the most"),
        ({"steps": [RAW], "else": "no", "takes": ["question"]}, "routines.r.takes", "is taken"),
        ({"steps": [{"let": {"left": "1"}}], "else": "no"}, "steps[0].let.left", "is taken"),
    ],
)
def test_mistakes_in_routines(routine: dict[str, Any], where: str, what: str) -> None:
    told = mistake({"steps": [RAW], "routines": {"r": routine}})
    assert where in told
    assert what in told


@pytest.mark.parametrize(
    ("params", "what"),
    [
        ({"kk": 3}, "did you mean 'k'"),
        ({"k": "3"}, "it is a number"),
        ({"k": 2.5}, "whole number"),
        ({"k": -1}, "whole number"),
        ({"k": True}, "it is a number"),
        ({"k": float("nan")}, "it is a number"),
    ],
)
def test_parameters_that_do_not_fit(params: dict[str, Any], what: str) -> None:
    with pytest.raises(RecipeError, match=what):
        bind_searcher("program", {"program": "drag", **params})


@pytest.mark.parametrize(
    ("params", "what"),
    [
        ({}, "give one of"),
        ({"program": "iep", "steps": [RAW]}, "give one of"),
        ({"program": "lamdba"}, "did you mean 'lambada'"),
        ({"program": "iep", "retries": -1}, "greater than or equal to 0"),
        ({"file": "/nowhere/x.yaml"}, "cannot be read"),
        ({"steps": {"call": "q"}}, "steps="),
    ],
)
def test_which_program(params: dict[str, Any], what: str) -> None:
    with pytest.raises(RecipeError, match=what):
        bind_searcher("program", params)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("steps: [", "not valid YAML"),
        ("- call: q", "not a mapping"),
        ("steps: [{call: q, call: r}]", "given twice"),
        ("steps: [{call: q}]\nstep: 3", "did you mean 'steps'"),
        ("steps: [{call: q}]\nparams: {a b: 3}", "params"),
        ("steps: " + "[{if: {value: question, is: x}, then: " * 400, "not valid YAML"),
    ],
)
def test_files_that_are_no_programs(tmp_path: Any, text: str, what: str) -> None:
    (tmp_path / "mine.yaml").write_text(text)
    with pytest.raises(RecipeError, match=what):
        bind_searcher("program", {"file": str(tmp_path / "mine.yaml")})


def test_what_is_set_on_all_paths_is_set() -> None:
    """In every case, or in all that go on; and a list grows in bodies side by side."""
    steps: Steps = [
        MARK,
        {"let": {"xs": []}},
        {"if": {"value": "mark", "is": True}, "then": [{"let": {"x": "1"}}], "else": ["stop"]},
        {"branch": "mark", "cases": {"yes": [{"let": {"y": "1"}}]}, "else": [{"let": {"y": "2"}}]},
        {"for_each": "options", "most": 3, "do": [{"add": {"t": "{item}"}, "to": "xs"}]},
        {"call": "{x}{y}{xs.t}"},
    ]
    check(parse({"steps": steps}), {})


# ------------------------------------------------------------------------------------- bounds


@pytest.mark.parametrize(
    ("name", "params", "retries", "calls"),
    [
        ("coin", {}, 3, 1),
        ("iep", {"k": 3, "most": 3}, 0, 1 + 3 + 1),
        ("stoc_tot", {"depth": 3, "width": 3}, 0, 3 * (3 + 3) + 1),
        ("iterdrag", {"rounds": 5}, 0, 2 * 5 + 1),
        ("thinksum", {"facts": 3, "answers": 4, "most": 4}, 0, 2 + 4 * (1 + 3)),
        ("lambada", {"depth": 0}, 0, 1 + 1 + 1 + 3 * 2),
        ("lambada", {"depth": 1, "rules": 1, "conditions": 1}, 0, 1 + (2 + 2) + (2 + 2)),
        ("syzygy", {}, 2, 3),
    ],
)
def test_bounds(name: str, params: dict[str, Any], retries: int, calls: int) -> None:
    program = shipped(name)
    assert most_calls(program, reading.given(program, params), retries) == calls


def test_votes_that_ask_models_have_no_bound() -> None:
    steps = [{**RAW, "n": 3}, {"vote": "said", "by": "tournament", "as": "best"}]
    assert most_calls(parse({"steps": steps}), {}, 1) is None


# ---------------------------------------------------------------------------- any program

NAMES = st.sampled_from(["a", "b", "xs", "n", "r", "question", "r.f", "n", "b"])
LISTS = st.sampled_from(["xs"] * 6 + ["a", "options"])
TEXT = st.sampled_from(
    ["", "{a}", "{b} and {xs}", "{n}", "{r.f}", "plain", "{b}{question}", "{item}"]
)
EXPRESSION = TEXT | st.sampled_from([[], 1, 0.5, True, ["{a}"], {"f": "{a}"}, ["{a}", {"f": 1}]])
PARSE = st.sampled_from(
    ["lines", "numbered", "yes_no", "number", "answer", "text", {"choice": ["yes", "no"]},
     {"json": ["f"]}, {"regex": "(?P<f>.+)", "every": True}, {"pick": "xs"},
     {"one_of": "xs"}]
)  # fmt: skip
COUNT = st.integers(0, 2)
TARGET = st.sampled_from(["a", "b", "xs", "n", "r"])
COMPARE = st.builds(
    lambda value, what: {"value": value, **what},
    NAMES,
    st.sampled_from(
        [{"is": "yes"}, {"in": ["yes", "{a}"]}, {"in": "xs"}, {"is": "{n}"}, {"empty": True}]
    ),
)  # fmt: skip
COMPARE |= st.sampled_from([{"value": "n", "above": 0.5}, {"not": {"value": "n", "below": "{n}"}}])
OPERATION = st.sampled_from(
    [
        "sort",
        "reverse",
        "first",
        "distinct",
        "count",
        "sum",
        "mix",
        "join",
        "split",
        "nearest",
        "spans",
    ]
)
SIMPLE = st.one_of(
    st.fixed_dictionaries({"call": TEXT.filter(bool)}, optional={
        "as": TARGET, "parse": PARSE, "default": EXPRESSION, "n": COUNT, "emit": st.booleans()}),
    st.fixed_dictionaries({"likely": TEXT, "after": TEXT, "as": TARGET}),
    st.fixed_dictionaries({"let": st.dictionaries(TARGET, EXPRESSION, min_size=1, max_size=2)}),
    st.fixed_dictionaries({"add": EXPRESSION, "to": st.just("xs")}),
    st.fixed_dictionaries({"make": OPERATION, "of": LISTS, "as": TARGET},
                          optional={"n": COUNT, "to": st.sampled_from(["{a}", ";"])}),
    st.fixed_dictionaries({"vote": LISTS, "as": TARGET}),
    st.fixed_dictionaries({"emit": TEXT}, optional={"weight": st.sampled_from(["n", 2, "r.f"])}),
    st.fixed_dictionaries({"run": st.just("dig"), "with": st.fixed_dictionaries({"it": EXPRESSION}),
                           "as": TARGET}),
    st.sampled_from(["stop", "break"]),
)  # fmt: skip
STATEMENT = st.recursive(
    SIMPLE,
    lambda inner: st.one_of(
        st.fixed_dictionaries({"for_each": LISTS, "most": COUNT,
                               "do": st.lists(inner, min_size=1, max_size=3)},
                              optional={"in_turn": st.booleans()}),
        st.fixed_dictionaries({"repeat": COUNT, "do": st.lists(inner, min_size=1, max_size=3)}),
        st.fixed_dictionaries({"while": COMPARE, "most": COUNT,
                               "do": st.lists(inner, min_size=1, max_size=3)}),
        st.fixed_dictionaries({"if": COMPARE, "then": st.lists(inner, max_size=2)},
                              optional={"else": st.lists(inner, max_size=2)}),
        st.fixed_dictionaries({"branch": NAMES, "else": st.lists(inner, max_size=2), "cases":
                               st.fixed_dictionaries({"yes": st.lists(inner, max_size=2)})}),
    ),
    max_leaves=6,
)  # fmt: skip
BEFORE: Steps = [{"let": {"a": "text", "b": True, "xs": ["x", "y"], "n": 1, "r": {"f": "z"}}}]
DIG = {
    "takes": ["it"], "depth": 1, "remember": True, "else": "no",
    "steps": [{"call": "{it}", "as": "c", "parse": {"choice": ["yes", "no"]}},
              {"run": "dig", "with": {"it": "{c}"}, "as": "d"}, {"give": "{d}"}],
}  # fmt: skip
REPLIES = ["yes", "1. x\n2. y", "0.5", '{"f": "\\boxed{2}"}', "\\boxed{1}", "NONE", "hm", ""]


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.filter_too_much])
@given(st.lists(STATEMENT, min_size=1, max_size=4), st.integers(0, 7), st.booleans())
def test_a_program_that_passes_runs(steps: Steps, first: int, limited: bool) -> None:
    """Whatever the model says: notes at most, no error, and never more calls than the bound."""
    try:
        program = parse({"steps": BEFORE + steps, "routines": {"dig": DIG}})
        check(program, {})
    except RecipeError:
        return

    turn = first

    def say(prompt: Any, seed: int) -> str:
        nonlocal turn
        turn += 1
        return REPLIES[turn % len(REPLIES)]

    search = Search(Problem("p", "q?"), Scripted(say), budget=Budget(9 if limited else None))
    asyncio.run(Interpreter(program, {}, retries=1).run(search))
    bound = most_calls(program, {}, 1)
    assert bound is not None
    assert search.usage.calls <= bound
