"""What statements do: who is asked what, in which order, at which cost, and what comes of it."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest
import yaml

from reasoning import Session, solve
from reasoning.answers.choice import choice
from reasoning.backends.openai import openai
from reasoning.backends.scripted import Scripted
from reasoning.budget import Budget
from reasoning.errors import GenerationError, RecipeError, TransientError
from reasoning.generate import Prompt
from reasoning.problem import Message, Problem
from reasoning.runs.names import bind_searcher
from reasoning.runs.plan import plan
from reasoning.runs.recipe import load, parse, strategies
from reasoning.search import Search
from reasoning.testing import ToyGenerator, random_tree
from reasoning.testing.http_server import VLLM, serving
from searchers.programs.language.reading import parse as program

QUESTION = Problem("p", "q?")


class Teller(Scripted):
    """Says what the table has for the first words of the last message, one text after another."""

    def __init__(self, table: dict[str, str | list[str]], **options: Any) -> None:
        self.heard: list[str] = []
        self.table = {k: [v] if isinstance(v, str) else list(v) for k, v in table.items()}
        super().__init__(self.say, **options)

    def say(self, prompt: Prompt, seed: int) -> str:
        said = prompt.messages[-1].content
        self.heard.append(said)
        texts = next(texts for start, texts in self.table.items() if said.startswith(start))
        return texts.pop(0) if len(texts) > 1 else texts[0]


def run(
    steps: str,
    table: dict[str, str | list[str]] | Scripted,
    problem: Problem = QUESTION,
    *,
    budget: Budget | None = None,
    **params: Any,
) -> tuple[Search, list[str]]:
    """The search, and what was asked, in order."""
    model = Teller(table) if isinstance(table, dict) else table
    models = {"other": Teller({"": "\\boxed{other}"})}
    s = Search(problem, model, models=models, budget=budget)
    asyncio.run(bind_searcher("program", {"steps": yaml.safe_load(steps), **params})(s))
    return s, getattr(model, "heard", [])


def texts(s: Search) -> list[str]:
    return [c.node.text for c in s.candidates if c.node is not None]


# ------------------------------------------------------------------------------------- calls


def test_the_question_alone_is_the_problem_as_it_is() -> None:
    shots = (Message("system", "s"), Message("user", "1?"), Message("assistant", "1."))
    problem = Problem("p", "q?", messages=(*shots, Message("user", "q?")))
    seen: list[list[str]] = []

    def say(prompt: Prompt, seed: int) -> str:
        seen.append([m.content for m in prompt.messages])
        return "\\boxed{1}"

    steps = """
    - {call: "{question}", emit: true}
    - {call: "Other: {question}"}
    - {call: "So", shots: [{ask: "a {question}", say: b}]}
    """
    s, _ = run(steps, Scripted(say), problem)
    plain = solve(problem, searcher="sample", generator=Scripted(say))
    assert seen[:3] == [["s", "1?", "1.", "q?"], ["s", "Other: q?"], ["s", "a q?", "b", "So"]]
    assert s.tree[(0,)].sample.to_json() == plain.tree[(0,)].sample.to_json()


@pytest.mark.parametrize("limit", [None, 0, 5, 20])
def test_the_question_n_times_is_self_consistency(limit: int | None) -> None:
    """The same tree, cost and answer, at any limit."""
    found = []
    for how in (
        {"searcher": "self_consistency", "n": 4},
        {"searcher": "program", "steps": [{"call": "{question}", "n": 4, "emit": True}]},
    ):
        toy = random_tree(3, depth=5)
        limits = {} if limit is None else {"tokens": limit}
        result = solve(toy.problem, generator=ToyGenerator(toy), limits=limits, **how)
        found.append((result.tree.to_jsonl(), result.usage, result.answer))
    assert found[0] == found[1]


def test_a_reply_that_cannot_be_parsed_is_told_so_and_asked_for_again() -> None:
    steps = '[{call: "Sure?", as: sure, parse: yes_no}, {emit: "so {sure}"}]'
    s, heard = run(steps, {"Sure": "Hm", "That cannot": ["Perhaps", "Yes"]}, retries=2)
    assert heard[1].startswith("That cannot be used: its last words are not one of yes, no.")
    assert [n.path for n in s.tree] == [(0,), (0, 0), (0, 0, 0), (1,)]
    assert (texts(s), s.candidates[0].path, s.tree[(1,)].sources) == (
        ["so yes"],
        (1,),
        ((0, 0, 0),),
    )
    assert s.measures == {"gave_up": 0.0}


@pytest.mark.parametrize("retries", [0, 1, 3])
def test_after_that_its_default_is_taken_or_the_program_given_up(retries: int) -> None:
    default = '[{call: "Sure?", as: sure, parse: yes_no, default: "no"}, {emit: "so {sure}"}]'
    s, _ = run(default, {"Sure": "Hm", "That": "Hm"}, retries=retries)
    assert (s.usage.calls, texts(s), s.failures) == (1 + retries, ["so no"], [])
    none = '[{call: "Sure?", as: sure, parse: yes_no}, {emit: "so {sure}"}]'
    s, heard = run(none, {"Sure": "Hm", "That": "Hm", "q?": "\\boxed{1}"}, retries=retries)
    assert (s.usage.calls, texts(s), heard[-1]) == (2 + retries, ["\\boxed{1}"], "q?")
    assert s.failures == [
        "program of the recipe: sure could not be read: its last words are not one of yes, no"
    ]
    assert s.measures == {"gave_up": 1.0}
    s, _ = run(none, {"Sure": "Hm", "That": "Hm"}, retries=retries, plain=False)
    assert (s.usage.calls, texts(s)) == (1 + retries, [])


def test_a_call_that_fails_for_good_takes_its_default_too() -> None:
    model = Scripted(
        lambda p, _: GenerationError("no") if "Sure" in p.messages[-1].content else "x"
    )
    steps = '[{call: "Sure?", as: sure, parse: yes_no, default: "no"}, {emit: "so {sure}"}]'
    s, _ = run(steps, model)
    assert (texts(s), s.usage.failed_calls) == (["so no"], 1)
    s, _ = run('[{call: "Sure?", as: sure}, {emit: "so {sure}"}]', model)
    assert texts(s) == ["x"]


def test_several_replies_are_a_list_and_candidates_as_they_land() -> None:
    steps = """
    - {call: "Draft", n: 3, as: drafts, emit: true}
    - {call: "Read {drafts}", model: other}
    """
    s, _ = run(steps, {"Draft": ["\\boxed{1}", "\\boxed{2}", "\\boxed{1}"]})
    assert texts(s) == ["\\boxed{1}", "\\boxed{2}", "\\boxed{1}"]
    read = s.tree[(3,)]
    assert (read.sample.model, read.sources) == ("other", ((0,), (1,), (2,)))
    s, _ = run('[{call: "Draft", n: 0, as: drafts}, {emit: "{drafts}!"}]', {"Draft": "x"})
    assert (texts(s), s.usage.calls) == (["!"], 0)


def test_of_several_replies_those_count_that_can_be_parsed() -> None:
    steps = '[{call: "Sure?", n: 3, as: sure, parse: yes_no}, {emit: "{sure}"}]'
    s, _ = run(steps, {"Sure": ["yes", "hm", "no"]}, retries=0)
    assert (texts(s), len(s.failures)) == (["1. yes\n2. no"], 1)
    s, _ = run(steps, {"Sure": "hm", "q?": "x"}, retries=0)
    assert (texts(s), s.measures["gave_up"]) == (["x"], 1.0)


ONE_OF = """
- let: {names: [red, "blue green", ""]}
- {call: "Which?", as: which, parse: {one_of: names}}
- emit: '\\boxed{{which}}'
"""


def test_the_embedded_model_says_nothing_but_one_of_the_texts() -> None:
    """It would never say either by itself."""
    done = solve(
        "q?", searcher="program", steps=yaml.safe_load(ONE_OF), generator="nano", plain=False
    )
    assert done.answer in ("red", "blue green")
    assert done.usage.calls == 1


def test_who_cannot_be_held_to_texts_is_asked_again_and_refused() -> None:
    toy = ToyGenerator(random_tree(0))
    s, _ = run(ONE_OF, toy, plain=False)
    assert s.usage.calls == 2
    assert "none of the 3 texts that it may be: 'red', 'blue green', ''" in s.failures[0]
    assert not s.candidates


@pytest.mark.parametrize("able", [True, False])
def test_a_server_is_asked_whether_it_can_be_held_to_texts(able: bool) -> None:
    """Also where that is the first thing that anybody wants to know of it."""
    flavour = VLLM if able else replace(VLLM, fields=VLLM.fields - {"structured_outputs"})
    with serving(flavour) as server:
        generator = openai(base_url=server.url)
        done = solve(
            "q?", searcher="program", steps=yaml.safe_load(ONE_OF), generator=generator, plain=False
        )
        bounds = [call.body.get("structured_outputs") for call in server.seen]
    texts = {"choice": ["red", "blue green"]}
    assert bounds == ([texts] if able else [None, None])
    assert done.answer == ("red" if able else None)


def test_while_a_server_does_not_answer_nobody_is_held_to_anything() -> None:
    class Silent(Scripted):
        async def can(self, field: str) -> bool:
            raise TransientError("later")

    s = Search(QUESTION, Silent(["red"]))
    assert not asyncio.run(s.can("choice"))
    assert asyncio.run(Search(QUESTION, Scripted(["red"])).can("choice"))


def test_nothing_to_choose_from_is_told() -> None:
    steps = ONE_OF.replace('[red, "blue green", ""]', "[]")
    s, heard = run(steps, Scripted(["red"]), plain=False)
    assert not heard
    assert s.usage.calls == 0
    assert s.failures == ["program of the recipe: names has no text that a reply may be"]


def test_thoughts_are_not_parsed() -> None:
    steps = '[{call: "Sure?", as: sure, parse: yes_no}, {emit: "{sure}"}]'
    s, _ = run(steps, {"Sure": "<think>yes or no</think>\nYes."})
    assert texts(s) == ["yes"]


# ------------------------------------------------------------------------------------- loops


def test_bodies_side_by_side() -> None:
    """Each knows what stood before, keeps its own, adds in the order of the items, and reads its
    own item alone; the longest counts for the time, all for the cost."""
    steps = """
    - {call: "List", as: parts, parse: lines}
    - {let: {said: []}}
    - for_each: parts
      most: 3
      item: part
      do:
        - {call: "Do {part}", as: did}
        - {call: "Then {did}", as: then}
        - {add: "{then}", to: said}
    - {call: "Join {said}", emit: true}
    """
    table: dict[str, str | list[str]] = {
        "List": "a\nb\nc\nd",
        "Do a": "a1 x x x x",
        "Do b": "b1",
        "Do c": "c1",
        "Then a": "a2",
        "Then b": "b2 y y",
        "Then c": "c2",
        "Join": "\\boxed{1}",
    }
    model = Teller(table, delay=lambda seed: seed % 7, token_seconds=1.0)
    s, heard = run(steps, model)
    assert heard[-1] == "Join 1. a2\n2. b2 y y\n3. c2"
    assert [n.path for n in s.tree if n.depth == 2] == [
        (place, i) for place in (1, 2, 3) for i in (0, 1)
    ]
    assert s.tree[(2, 0)].sources == ((0,),)
    assert s.tree[(2, 1)].sources == ((2, 0),)
    assert s.tree[s.candidates[0].path].sources == ((1, 1), (2, 1), (3, 1))
    assert s.usage.generated_tokens == 4 + 6 + 4 + 2 + 1
    assert s.usage.critical_tokens == 4 + 6 + 1


def test_a_body_keeps_what_it_sets() -> None:
    """A list that it sets anew is its own, whatever is in it."""
    steps = """
    - {let: {xs: [a], ys: [b], n: "1"}}
    - for_each: xs
      most: 9
      do: [{let: {ys: [c, d, e], n: "2"}}, {add: f, to: ys}, {add: g, to: xs}]
    - for_each: xs
      most: 9
      do: [{let: {xs: text}}, {add: "{item}!", to: ys}]
    - {emit: "{xs} | {ys} | {n}"}
    """
    s, _ = run(steps, {})
    assert texts(s) == ["1. a\n2. g | 1. b\n2. a!\n3. g! | 1"]


def test_a_body_that_comes_to_nothing_is_left_out() -> None:
    steps = """
    - {let: {said: []}}
    - for_each: options
      most: 9
      do: [{call: "Is it {item}", as: p, parse: number}, {add: "{item}", to: said}]
    - {emit: "{said}"}
    """
    quiz = Problem("p", "q?", answers=choice(None, {"options": ["red", "green", "blue"]}))
    table: dict[str, str | list[str]] = {"Is it green": "hm", "Is it": "1", "That": "hm"}
    s, _ = run(steps, table, quiz)
    assert (texts(s), len(s.failures)) == (["1. red\n2. blue"], 1)


def test_loops_in_turn_end_when_they_are_told_to() -> None:
    steps = """
    - {let: {xs: [a, b, c, d], last: none, seen: []}}
    - for_each: xs
      most: 3
      in_turn: true
      do:
        - if: {value: item, is: c}
          then: [break]
        - {let: {last: "{item}"}}
        - {add: "{item}", to: seen}
    - while: {not: {value: last, is: "7"}}
      most: 5
      do:
        - {call: "Count {last}", as: last, parse: number}
    - repeat: 2
      do: [{add: "{last}", to: seen}]
    - {emit: "{seen}"}
    """
    s, heard = run(steps, {"Count": ["3", "7", "9"]})
    assert heard == ["Count b", "Count 3"]
    assert texts(s) == ["1. a\n2. b\n3. 7\n4. 7"]


def test_a_loop_that_would_go_on_ends_at_its_bound() -> None:
    steps = '[{while: {value: question, is: "q?"}, most: 4, do: [{call: "On"}]}, {emit: done}]'
    s, heard = run(steps, {"On": "x"})
    assert (len(heard), texts(s)) == (4, ["done"])
    spin = "{let: {x: '1'}}"
    for _ in range(3):
        spin = f"{{repeat: 10000, do: [{spin}]}}"
    s, _ = run(f"[{spin}]", {"q?": "x"})
    assert "100,000 statements" in s.failures[0]
    assert texts(s) == ["x"]


@pytest.mark.parametrize(
    ("begins", "grows", "why"),
    [
        ("x", "'{a}{a}'", "more than 10,000,000 characters"),
        ("[x]", "['{a}', '{a}']", "more than 20 lists or records within each other"),
        ("[x]", "{b: '{a}'}", "more than 20 lists or records within each other"),
    ],
)
def test_values_do_not_grow_without_end(begins: str, grows: str, why: str) -> None:
    """Sixty doublings would not fit into any memory."""
    s, _ = run(
        f"[{{let: {{a: {begins}}}}}, {{repeat: 60, do: [{{let: {{a: {grows}}}}}]}}, "
        '{emit: "{a}"}]',
        {"q?": "plain"},
    )
    assert why in s.failures[0]
    assert texts(s) == ["plain"]


def test_joins_do_not_grow_without_end() -> None:
    steps = """
    - let: {a: "0123456789", xs: []}
    - repeat: 6
      do: [{let: {a: "{a}{a}{a}{a}{a}{a}{a}{a}"}}]
    - repeat: 5
      do: [{add: "{a}", to: xs}]
    - {make: join, of: xs, to: " ", as: all}
    """
    s, _ = run(steps, {"q?": "plain"})
    assert "more than 10,000,000 characters" in s.failures[0]


def test_routines_nest_so_deep_and_remember() -> None:
    data = {
        "routines": {
            "dig": {
                "takes": ["it"],
                "depth": 2,
                "remember": True,
                "else": "end",
                "steps": [
                    {"call": "Dig {it} {left}", "as": "more", "parse": "text"},
                    {"run": "dig", "with": {"it": "{more}"}, "as": "rest"},
                    {"give": "{it} {rest}"},
                ],
            }
        },
        "steps": [
            {"run": "dig", "with": {"it": "a"}, "as": "one"},
            {"run": "dig", "with": {"it": "A."}, "as": "two"},
            {"emit": "{one}|{two}"},
        ],
    }
    model = Teller({"Dig a": "b", "Dig b": "c", "Dig c": "d"})
    s = Search(QUESTION, model)
    asyncio.run(bind_searcher("program", {"steps": program(data)})(s))
    assert model.heard == ["Dig a 2", "Dig b 1", "Dig c 0"]
    assert texts(s) == ["a b c end|a b c end"]


# ---------------------------------------------------------------------------------- choosing


@pytest.mark.parametrize(
    ("by", "winner"), [("majority", "2"), ("first", "1"), ("{name: long_m_at_k, m: 1}", "3")]
)
def test_votes_by_name(by: str, winner: str) -> None:
    steps = f"""
    - {{call: "Draft", n: 4, as: drafts}}
    - {{vote: drafts, by: {by}, as: best}}
    - {{emit: "The best: {{best}}"}}
    """
    drafts: list[str] = ["\\boxed{1}", "\\boxed{2}", "so \\boxed{2}", "it is so \\boxed{3}"]
    s, _ = run(steps, {"Draft": drafts})
    assert [c.answer.text for c in s.candidates if c.answer] == [winner]
    (source,) = s.tree[s.candidates[0].path].sources
    assert f"\\boxed{{{winner}}}" in s.tree[source].text


def test_texts_vote_too_and_who_reads_none_is_told() -> None:
    steps = "[{let: {xs: ['\\boxed{1}', b, '\\boxed{1}']}}, {vote: xs, as: x}, {emit: '{x}'}]"
    assert texts(run(steps, {})[0]) == ["\\boxed{1}"]
    s, _ = run("[{let: {xs: []}}, {vote: xs, as: x}, {emit: '{x}'}]", {"q?": "x"})
    assert "no answer to choose" in s.failures[0]


def test_emitted_notes_have_weights_and_cost_nothing() -> None:
    steps = """
    - {call: "How sure", as: p, parse: {number: [0, 1]}}
    - {emit: '\\boxed{1}', weight: p}
    - {emit: '\\boxed{2}', weight: 0.5}
    - {emit: ' '}
    """
    s, _ = run(steps, {"How": "0.7"})
    assert [(c.weight, c.node and c.node.finished) for c in s.candidates] == [(0.7, True), (0.5, 1)]
    assert s.usage.generated_tokens == 1


def test_a_program_may_go_before_other_stages() -> None:
    model = Teller({"": ["\\boxed{1}", "\\boxed{2}", "\\boxed{2}", "so so \\boxed{3}"]})
    draft = [{"call": "{question}", "n": 4, "emit": True}]
    stages = [("program", {"steps": draft}), ("long_m_at_k", {"m": 1}), "majority"]
    assert solve(QUESTION, stages=stages, generator=model).answer == "3"
    result = solve(QUESTION, searcher="program", steps=draft, aggregator="first", generator=model)
    assert result.usage.calls == 4


def test_votes_are_refused_for_free_text() -> None:
    from reasoning.answers.text import text

    free = Problem("p", "q?", answers=text(None, {}))
    steps = [{"call": "q", "n": 2, "as": "xs"}, {"vote": "xs", "as": "x"}, {"emit": "{x}"}]
    with pytest.raises(RecipeError, match="program"):
        solve(
            free, searcher="program", steps=steps, aggregator="first", generator=Teller({"": "x"})
        )


# ------------------------------------------------------------------------------------ limits


@pytest.mark.parametrize(("calls", "done"), [(0, 0), (1, 1), (2, 2), (3, 3), (9, 3)])
def test_a_limit_ends_it_where_it_is(calls: int, done: int) -> None:
    """What was put forward by then stays; a default is for what was said, not for a limit."""
    steps = """
    - {call: "A", emit: true}
    - {call: "B", as: b, parse: yes_no, default: "no"}
    - {emit: "after b"}
    - {call: "C", as: c}
    - {emit: "after c"}
    """
    table: dict[str, str | list[str]] = {"A": "\\boxed{1}", "B": "yes", "C": "x"}
    s, heard = run(steps, table, budget=Budget(calls=calls))
    assert len(heard) == done
    assert texts(s) == ["\\boxed{1}", "after b", "after c"][:done]
    assert s.budget.exhausted == ("calls" if calls < 3 else None)


def test_seconds_keep_the_best_so_far() -> None:
    steps = [{"call": "A", "emit": True}, {"call": "B", "emit": True}]
    model = Teller({"": "\\boxed{1}"}, delay=lambda _: 2.0)
    found = solve(QUESTION, searcher="program", steps=steps, generator=model, limits={"seconds": 3})
    assert (found.answer, found.stop_reason, found.usage.calls) == ("1", "seconds", 2)


# ----------------------------------------------------------------------------------- recipes

RECIPE: dict[str, Any] = {"task": {"name": "nano", "n": 2}, "generator": "scripted"}


def test_a_file_lies_beside_its_recipe(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine.yaml").write_text("params: {n: 2}\nsteps: [{call: x, n: '{n}', emit: true}]")
    lines = [{"searcher": "program", "file": "mine.yaml", "n": n} for n in (1, 3)]
    lines.append({"name": "s", "stages": [{"program": {"file": "mine.yaml"}}, "majority"]})
    (tmp_path / "r.yaml").write_text(yaml.safe_dump({**RECIPE, "strategies": lines}))
    found = strategies(load(tmp_path / "r.yaml"))
    assert [s.run.stages[0].given.get("n") for s in found] == [1, 3, None]
    notes = plan(load(tmp_path / "r.yaml")).notes
    assert [note for note in notes if "at most" in note] == [
        f"program mine: at most {n} call{'s' * (n > 1)} a problem, and one for a plain solution "
        "where it comes to nothing"
        for n in (1, 3, 2)
    ]
    monkeypatch.chdir(tmp_path)
    assert strategies(load("r.yaml"))[0].name == "program-file=mine.yaml-n=1"


def test_another_content_of_a_file_is_another_run(tmp_path: Any) -> None:
    from reasoning.runs.manifest import describe

    told = []
    for text in ("x", "y", "x"):
        (tmp_path / "mine.yaml").write_text(f"steps: [{{call: {text}, emit: true}}]")
        line = {"searcher": "program", "file": str(tmp_path / "mine.yaml")}
        told.append(describe(plan(parse({**RECIPE, "strategies": [line]})))["run"])
    assert told[0] == told[2] != told[1]


def test_models_of_a_program_are_looked_for_beforehand() -> None:
    steps = [{"call": "q", "model": "large"}]
    with pytest.raises(RecipeError, match="unknown model 'large'"):
        strategies(parse({**RECIPE, "strategies": [{"searcher": "program", "steps": steps}]}))
    models = {"large": "scripted"}
    line = {"searcher": "program", "steps": steps}
    assert strategies(parse({**RECIPE, "models": models, "strategies": [line]}))


def test_foreign_code_in_a_program_is_not_imported_unasked() -> None:
    from reasoning.runs.names import trusting

    steps = [{"call": "q", "n": 2, "as": "xs"}, {"vote": "xs", "by": "antigravity:x", "as": "x"}]
    with trusting(()), pytest.raises(RecipeError, match="nobody has agreed to"):
        bind_searcher("program", {"steps": steps})


def test_a_row_brings_what_a_program_reads() -> None:
    data = {"row": {"hint": "none", "parts": []}, "steps": [{"emit": "{hint}: {parts}"}]}
    for meta, text in (({"hint": 3, "parts": "one"}, "3: 1. one"), ({}, "none: ")):
        s = Search(Problem("p", "q?", meta=meta), Teller({}))
        asyncio.run(bind_searcher("program", {"steps": program(data)})(s))
        assert texts(s) == [text]


def test_a_session_runs_it_for_many() -> None:
    async def work() -> list[str | None]:
        async with Session(generator="nano", searcher="program", program="iep", k=2) as session:
            return [r.stop_reason for r in await session.solve_many(["2 + 3?", "4 + 5?"])]

    assert asyncio.run(work()) == ["finished", "finished"]
