"""Reports: what they hold, what they say about damage, and that no text in them acts."""

from __future__ import annotations

import csv
import json
import math
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from typer.testing import CliRunner

from evals.report import numbers, write
from evals.report.embed import embed
from evals.report.html import Html, element, join
from evals.report.load import load
from evals.report.numbers import by_interest
from evals.report.rows import as_csv
from evals.report.terminal import show_comparison, show_tree
from evals.report.text import chance, folded, one_line, visible
from evals.report.trees import STATES, read_tree
from reasoning.cli.app import app
from reasoning.errors import RecipeError, StoreError
from reasoning.runs.store import Store
from reasoning.tree import RolloutTree, Sample

MakeRun = Callable[..., Path]


class Elements(HTMLParser):
    """Counts elements and keeps what links out."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.count: dict[str, int] = {}
        self.links: list[str] = []
        self.handlers: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.count[tag] = self.count.get(tag, 0) + 1
        for name, value in attrs:
            if name in ("src", "href", "xlink:href", "action", "data") and value:
                self.links.append(value)
            if name.startswith("on"):
                self.handlers.append(name)


def data_of(page: str) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.S)
    assert found
    data: dict[str, Any] = json.loads(found[1])
    return data


@pytest.fixture(scope="module")
def page(small_run: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    out = tmp_path_factory.mktemp("report") / "deep" / "report.html"
    written = write([small_run], out, figures=out.parent / "figures")
    assert (written.problems, written.strategies) == (6, 3)
    assert written.size == out.stat().st_size < 1e6
    kinds = {path.name for path in out.parent.joinpath("figures").iterdir()}
    assert {"accuracy_by_generated_tokens.png", "tokens.svg", "reliability_0.png"} <= kinds
    assert {"samples_0.png", "samples_0.svg"} <= kinds
    return out.read_text(encoding="utf-8")


def test_the_page_stands_alone_and_nothing_in_it_acts(page: str) -> None:
    elements = Elements(page)
    assert all(link.startswith("#") for link in elements.links)
    assert not elements.handlers
    assert elements.count["script"] == 3  # two of data, one of ours
    assert "img" not in elements.count
    assert "default-src 'none'" in page
    for acting in ("\u202e", "\x1b", "onerror=\"document.title='owned'\">"):
        assert acting not in page.replace('\\"', "'")
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids))


def test_the_page_says_what_was_measured(page: str) -> None:
    assert "Keep in mind" in page
    assert "verifier oracle looks" in page
    for words in ("Wilson", "exact McNemar", "Holm over all 3 pairs", "6 problems", "AUROC"):
        assert words in page
    for head in ("Summary", "Paired differences", "Calibration of the verifier", "By level"):
        assert f">{head}</h2>" in page


def test_every_problem_has_its_results_votes_and_trees(page: str, hostile: str) -> None:
    data = data_of(page)
    assert data["strategies"] == ["vote-n=2", "vote-n=3", "deep"]
    assert [problem["id"] for problem in data["problems"]] == [f"p{i}" for i in range(6)]
    bad = data["problems"][1]
    assert bad["q"] == visible(hostile)
    assert [r["ok"] for r in bad["r"]] == [False, True, False]
    votes = bad["r"][1]["votes"]
    assert votes[0][:4] == ["2", 2, 2, True]
    deep = bad["r"][2]["tree"]
    names = [list(STATES)[int(code)] for code in deep["t"]]
    assert names == ["grown", "chosen", "cut", "limit", "failed"]
    assert deep["p"] == [-1, 0, 0, -1, -1]
    assert deep["s"] == [0, 0, 2, 1, 3]
    assert deep["v"]["prm"][:3] == [[0.5], [0.9], []]
    assert bad["texts"][deep["x"][1]] == visible(hostile)
    assert "no <U+001B>" in bad["texts"][deep["x"][4]]
    assert bad["r"][0]["tree"]["t"][-1] == str(list(STATES).index("cancelled"))


def test_numbers_of_a_small_run(small_run: Path) -> None:
    runs = load([small_run])
    lines = numbers.summary_lines(runs)
    assert [line.accuracy.value for line in lines if line.accuracy] == [0.5, 1.0, 5 / 6]
    assert [line.cost["generated_tokens"] for line in lines] == [60, 90, 30]
    assert lines[1].wasted == pytest.approx(0.1)
    assert [line.strategy.family for line in lines] == ["vote", "vote", "deep"]
    assert [line.strategy.label for line in numbers.front(lines, "generated_tokens")] == [
        "deep",
        "vote-n=3",
    ]
    first = numbers.comparisons(runs).shown[0]
    assert (first.a, first.b, first.problems) == ("vote-n=2", "vote-n=3", 6)
    assert (first.difference, first.only_a, first.only_b) == (0.5, 0, 3)
    named = numbers.comparisons(runs, baseline="deep")
    assert named.family == "Holm over 2 comparisons with deep"
    assert {(c.a, c.b) for c in named.shown} == {
        ("deep", "vote-n=2"),
        ("deep", "vote-n=3"),
    }
    assert numbers.groupings(runs) == {"level": ["1", "2"]}
    count, found = numbers.by_group(runs.strategies[0], runs, "level", "2")
    assert found is not None
    assert (count, found.value) == (3, 0.0)
    assert numbers.by_interest(runs)[:3] == ["p1", "p3", "p5"]


def test_damage_is_said_and_worked_around(small_run: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(small_run, tmp_path / "run"))
    (run / "summary.json").unlink()
    tree = Store(run).tree_path("deep", "p0")
    tree.write_text(tree.read_text().replace('{"path": [0, 0]', '{"path": [0, 0', 1))
    Store(run).tree_path("deep", "p2").unlink()
    with (run / "results.jsonl").open("a") as file:
        file.write('[1]\n{"strategy": "deep", "problem": "p0"}\n{"strategy": "deep", "prob')
    written = write([run], tmp_path / "r.html")
    told = "\n".join(written.notes)
    assert "unfinished" in told
    assert "damaged lines of results.jsonl, left out: 3" in told
    assert "trees missing from the run folders: 1" in told
    assert "damaged lines of trees, left out: 1" in told
    data = data_of((tmp_path / "r.html").read_text(encoding="utf-8"))
    assert "tree" not in data["problems"][2]["r"][2]
    assert len(data["problems"][0]["r"][2]["tree"]["t"]) == 4


@pytest.mark.parametrize(
    ("manifest", "summary"),
    [
        ("{", "[]"),
        ("[]", '{"strategies": 5}'),
        ('{"run": [1]}', '{"notes": "x"}'),
        ('{"packages": 3}', "{"),
        ("\\xff", "null"),
    ],
)
def test_a_manifest_or_summary_may_be_broken(
    small_run: Path, tmp_path: Path, manifest: str, summary: str
) -> None:
    run = Path(shutil.copytree(small_run, tmp_path / "run"))
    (run / "manifest.json").write_text(manifest)
    (run / "summary.json").write_text(summary)
    written = write([run], tmp_path / "r.html")
    for name in ("manifest", "summary"):
        assert any(f"{name}.json is damaged" in note for note in written.notes)


LINES = [
    "null",
    '{"strategy": 3, "problem": "p0", "usage": {}}',
    '{"strategy": "s", "problem": "p0", "usage": "x"}',
    '{"strategy": "s", "problem": "p0", "usage": {}, "candidates": [5]}',
    '{"strategy": "s", "problem": "p0", "usage": {}, "candidates": [{"path": null}]}',
    '{"strategy": "s", "problem": "p", "usage": {}, "candidates": [{"path": [0], "steps": 1}]}',
    '{"strategy": "s", "problem": "p0", "usage": {}, "meta": 4}',
    "\x00\x01",
    "[" * 100_000,
]


def test_lines_that_no_run_writes_are_counted(small_run: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(small_run, tmp_path / "run"))
    with (run / "results.jsonl").open("a") as file:
        file.writelines(line + "\n" for line in LINES)
    written = write([run], tmp_path / "r.html")
    assert f"damaged lines of results.jsonl, left out: {len(LINES)}" in written.notes
    assert written.strategies == 3


def test_results_without_questions_or_grades(small_run: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(small_run, tmp_path / "run"))
    lines = [json.loads(line) for line in (run / "results.jsonl").read_text().splitlines()]
    for line in lines:
        del line["question"], line["meta"]
        line |= {"correct": None, "gold": None}
        for candidate in line["candidates"]:
            candidate["correct"] = None
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (run / "results.jsonl").write_text(text)
    written = write([run], tmp_path / "r.html")
    page = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert "Nothing is graded" in page
    assert "q" not in data_of(page)["problems"][0]
    assert any("no problem has a graded result" in note for note in written.notes)


@pytest.mark.parametrize(("size", "kind"), [(0, "treeless"), (10**6, "whole")])
def test_texts_give_way_to_the_size(small_run: Path, size: int, kind: str) -> None:
    text, kept = embed(load([small_run]), size)
    assert getattr(kept, kind) == 6
    assert bool(kept.notes(5)) == (kind != "whole")
    assert [p["id"] for p in json.loads(text)["problems"]] == [f"p{i}" for i in range(6)]


def test_a_page_may_be_of_any_size(small_run: Path, tmp_path: Path) -> None:
    sizes = [
        write([small_run], tmp_path / "page.html", megabytes=megabytes).size
        for megabytes in (5.0, math.inf)
    ]
    assert sizes[0] == sizes[1]


def test_problems_where_strategies_differ_keep_their_texts_longest(small_run: Path) -> None:
    runs = load([small_run])
    bare = len(embed(runs, 0)[0])
    seen = set()
    for size in range(bare, 5 * bare, 500):
        text, _ = embed(runs, size)
        assert len(text) < max(size, bare) * 1.1
        having = {p["id"] for p in json.loads(text)["problems"] if "texts" in p}
        assert {"p3", "p5"} <= having or not having & {"p0", "p2", "p4"}
        seen.add(len(having))
    assert {0, 6} < seen


def test_trees_that_do_not_all_fit_are_those_that_interest_most(
    small_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("evals.report.embed.NODE", 200)  # bytes that are surely enough
    runs = load([small_run])
    bare, order = len(embed(runs, 0)[0]), by_interest(runs)
    seen = set()
    for size in range(bare, 6 * bare, 500):
        page = json.loads(embed(runs, size)[0])
        having = {p["id"] for p in page["problems"] if any("tree" in r for r in p["r"] if r)}
        assert not having or order[0] in having
        seen.add(len(having))
    assert len(seen) > 2


def test_several_runs(make_run: MakeRun, tmp_path: Path) -> None:
    first = make_run(tmp_path / "a" / "run", problems=4)
    second = make_run(tmp_path / "b" / "run", problems=5)
    runs = load([first, second, first])
    assert [run.label for run in runs.runs] == ["a/run", "b/run"]
    assert len(runs.strategies) == 6
    assert runs.common == ["p0", "p1", "p2", "p3"]
    written = write([first, second], tmp_path / "r.html", baseline="b/run: deep")
    assert written.strategies == 6
    with pytest.raises(RecipeError, match="did you mean 'b/run: deep'"):
        write([first, second], tmp_path / "r.html", baseline="b/run: dep")


def test_runs_of_different_data_are_refused(make_run: MakeRun, tmp_path: Path) -> None:
    first = make_run(tmp_path / "a", problems=2)
    other = make_run(tmp_path / "b", task="products", problems=2)
    with pytest.raises(RecipeError, match="different tasks"):
        load([first, other])
    changed = make_run(tmp_path / "c", problems=2)
    text = (changed / "results.jsonl").read_text()
    (changed / "results.jsonl").write_text(text.replace("what is 1 + 1", "what is 2 + 2"))
    with pytest.raises(RecipeError, match="another question"):
        load([first, changed])
    with pytest.raises(StoreError, match=r"results\.jsonl"):
        load([tmp_path / "nowhere"])


def printed(action: Callable[[Console], None]) -> str:
    console = Console(width=80, force_terminal=False)
    with console.capture() as capture:
        action(console)
    return capture.get()


def test_tree_in_the_terminal(small_run: Path) -> None:
    text = printed(lambda console: show_tree(small_run, "p1", "deep", console))
    for words in ("★ 0", "✂ 2  cut", "… 1  limit", "! 3  failed", "prm 0.90", "300 tok"):
        assert words in text
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert max(map(len, text.splitlines())) <= 80
    first = printed(lambda console: show_tree(small_run, "p1", None, console))
    assert "⊘" in first
    assert "Other strategies: vote-n=3, deep" in first


@pytest.mark.parametrize(
    ("problem", "strategy", "words"),
    [("p11", None, "did you mean 'p1'"), ("p1", "vote-n=4", "did you mean 'vote-n=")],
)
def test_tree_of_nothing(small_run: Path, problem: str, strategy: str | None, words: str) -> None:
    with pytest.raises(RecipeError, match=words):
        show_tree(small_run, problem, strategy, Console())


def test_tree_of_no_problem_says_which_there_are(make_run: MakeRun, tmp_path: Path) -> None:
    few, many = make_run(tmp_path / "few", problems=2), make_run(tmp_path / "many", problems=12)
    with pytest.raises(RecipeError, match=r"which problem\? .*few has 2 problems: p0, p1$"):
        show_tree(few, None, None, Console())
    with pytest.raises(RecipeError, match=r"many has 12 problems: p0, .*, \.\.\.$"):
        show_tree(many, None, None, Console())
    with pytest.raises(RecipeError, match=r"unknown problem 'x'\. .*many has 12 problems: p0"):
        show_tree(many, "x", None, Console())


def test_compare_in_the_terminal(make_run: MakeRun, small_run: Path, tmp_path: Path) -> None:
    other = make_run(tmp_path / "other", problems=5)
    text = printed(lambda console: show_comparison([small_run, other], None, console))
    assert "5 common problems" in text
    assert "exact McNemar" in text
    assert "small: vote-n=2" in text
    for note in load([small_run]).runs[0].notes:
        assert text.replace("\n", " ").count(visible(note)) == 1
    assert max(map(len, text.splitlines())) <= 80
    lines = [json.loads(line) for line in (other / "results.jsonl").read_text().splitlines()]
    renamed = "".join(json.dumps({**x, "problem": "x" + x["problem"]}) + "\n" for x in lines)
    (other / "results.jsonl").write_text(renamed)
    with pytest.raises(RecipeError, match="no problem in common"):
        show_comparison([small_run, other], None, Console())


def test_adjusted_p_values_are_the_same_in_compare_and_report(
    small_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = load([small_run])
    family = numbers.comparisons(runs)
    text = printed(lambda console: show_comparison([small_run], None, console))
    assert "Holm over all 3 pairs" in " ".join(text.split())
    for c in family.shown[:2]:
        rows = map(str.strip, text.split("Difference")[1].splitlines())
        line = next(row for row in rows if row.startswith(c.b))
        assert line.split()[-1] == f"{c.adjusted:.3f}"
    monkeypatch.setattr(numbers, "MANY_PAIRS", 2)
    few = numbers.comparisons(runs)
    assert few.shown == family.shown[:2], "what is not shown is part of the family"
    assert few.together == 3


def test_results_as_a_table(small_run: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(small_run, tmp_path / "run"))
    text = (run / "results.jsonl").read_text()
    (run / "results.jsonl").write_text(text.replace('"answer": "3"', '"answer": "=1+2"'))
    write([run], tmp_path / "r.html", csv=tmp_path / "deep" / "r.csv")
    with (tmp_path / "deep" / "r.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 18
    odd = next(row for row in rows if (row["strategy"], row["problem"]) == ("vote-n=2", "p1"))
    known = {"run": "run", "gold": "2", "answer": "'=1+2", "correct": "false", "flops": ""}
    assert odd.items() >= {**known, "generated_tokens": "60", "seconds": "0.5"}.items()
    assert as_csv(load([run])).splitlines()[0].startswith("run,strategy,problem,gold,answer")


def test_the_commands(small_run: Path, tmp_path: Path) -> None:
    run, page = str(small_run), str(tmp_path / "page.html")
    for command, words in (
        (["report", run, "--out", page, "--size", "1"], "6 problems, 3 strategies"),
        (["tree", run, "p0", "--strategy", "deep"], "★ 0"),
        (["compare", run, "--baseline", "deep"], "Difference in accuracy to deep"),
    ):
        done = CliRunner().invoke(app, command)
        assert done.exit_code == 0, done.output
        assert words in done.output
        told = CliRunner().invoke(app, [command[0], "--help"]).output
        assert "Example: reasoning" in told
    assert Path(page).stat().st_size < 1e6


def test_long_arrays_are_skipped_and_look_alikes_are_kept(tmp_path: Path) -> None:
    text = 'a "token_ids": [1, 2], b\\" "logprobs": ['
    tree = RolloutTree("p")
    for slot, ids in enumerate([(1, 2), ()]):
        info = {"token_ids": [3], "x": 1}
        tree.add(tree.root, slot, Sample(text, token_ids=ids, info=info, generated_tokens=2))
    (tmp_path / "t.jsonl").write_text(tree.to_jsonl())
    found = read_tree(tmp_path / "t.jsonl", {})
    assert found is not None
    assert [node.text for node in found.nodes] == [text, text]
    assert not found.damaged


@given(st.text())
def test_visible_text_keeps_what_does_not_act(text: str) -> None:
    shown = visible(text)
    shown.encode("utf-8")
    assert visible(shown) == shown
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", shown)
    assert len(one_line(text, 10)) <= 10


@given(st.text(), st.integers(3, 20))
def test_folded_text_keeps_its_ends(text: str, limit: int) -> None:
    short = folded(text, limit)
    assert short == text or (short[0] == text[0] and short[-1] == text[-1])


@given(st.text(alphabet="<>&\"'ab\u202e"))
def test_elements_escape_text_and_attributes(text: str) -> None:
    made = element("p", text, title=text)
    assert re.fullmatch(r'<p title="[^"<>]*">[^<>]*</p>', made) or "<U+202E>" in visible(text)
    assert join(made, Html("<br>")) == made + "<br>"
    assert Elements(made).count == {"p": 1}


def test_evaluations_have_sections_figures_and_tables(small_run: Path, tmp_path: Path) -> None:
    out = tmp_path / "r.html"
    written = write(
        [small_run], out, measures=["fragile", "lengths", "direct"],
        figures=tmp_path / "f", tables=tmp_path / "t",
    )  # fmt: skip
    page = out.read_text()
    for head in ("Fragile", "Lengths", "Direct"):
        assert f">{head}</h2>" in page
    assert 'id="measure-direct"' in page
    assert "compare it at equal n" in page  # what it does not mean
    names = {p.name for p in (tmp_path / "f").iterdir()}
    assert {f"direct.{k}" for k in ("png", "svg", "pdf")} <= names
    assert "accuracy_by_generated_tokens.pdf" in names
    assert (tmp_path / "f" / "direct.pdf").read_bytes().startswith(b"%PDF")
    told = {p.name for p in (tmp_path / "t").iterdir()}
    assert {
        f"{n}.{k}" for n in ("strategies", "differences", "direct") for k in ("csv", "tex")
    } <= told
    assert any(p.name == "direct.tex" for p in written.figures)


def test_the_command_says_where_its_figures_are(small_run: Path, tmp_path: Path) -> None:
    out, folder = tmp_path / "r.html", tmp_path / "figures"
    done = CliRunner().invoke(app, ["report", *map(str, (small_run, "--out", out))])
    assert str(folder) not in done.output
    done = CliRunner().invoke(
        app, ["report", *map(str, (small_run, "--out", out, "--figures", folder))]
    )
    said = next(line for line in done.output.splitlines() if line.startswith(f"{folder}: "))
    assert f" {len(list(folder.iterdir()))} files: accuracy_by_" in said
    with pytest.raises(RecipeError, match="unknown measure"):
        write([small_run], out, measures=["mood"])
    with pytest.raises(RecipeError, match="stress"):
        write([small_run], out, measures=["stress"])
    write([small_run], out, measures=["all"])
    assert ">Reliability</h2>" in out.read_text()


def test_no_column_is_cut_off_where_all_there_are_stand_side_by_side(
    make_run: MakeRun, small_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = numbers.summary_lines

    def fullest(runs: Any) -> list[Any]:
        return [replace(x, failed=12, cost={**x.cost, "flops": 1.2e12}) for x in real(runs)]

    monkeypatch.setattr(numbers, "summary_lines", fullest)
    other = make_run(tmp_path / "other", problems=5)
    text = printed(lambda console: show_comparison([small_run, other], None, console))
    assert "5 to 6 problems (n)" in text
    head = next(line for line in text.splitlines() if "accuracy (95 %)" in line)
    columns = ["failed", "tokens", "wasted", "calls", "chain", "s", "FLOP"]
    assert head.split()[-7:] == columns
    assert "1.2T" in text
    assert "operations (2 x parameters x tokens)" in " ".join(text.split())


def test_no_p_value_is_shown_as_0() -> None:
    assert [chance(p) for p in (0.0, 0.0009, 0.25)] == ["< 0.001", "< 0.001", "0.250"]
    assert chance(0.25, "= ") == "= 0.250"
    assert chance(0.0, "= ") == "< 0.001"
