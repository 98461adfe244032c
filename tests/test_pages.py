"""The pages are true: every block of README.md and docs/ is run, in the order of its page.

A page is read as its reader would, in a folder of its own, where `taken_for_granted` has put the
runs and recordings that pages name, each block on what those before it have left. A block with a
title is a file. `bash` and `console` are commands: ours run in this process, others in bash, and
what `console` shows is what comes. `python` runs with `await` anywhere, `py` as a program, `yaml`
as a recipe: the embedded model stands in for engines, a server of ours for other people's,
generated problems for downloads. `text` is what something looks like, and has no command in it.
What cannot run as it stands is named in RULES, with the reason and what is done instead.
"""

from __future__ import annotations

import ast
import asyncio
import fcntl
import gzip
import importlib.metadata
import importlib.util
import inspect
import itertools
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, NamedTuple

import pytest
import typer
from typer.testing import CliRunner

import reasoning
from reasoning.cli.app import app
from reasoning.runs import names
from reasoning.runs.editing import read_yaml
from reasoning.runs.recipe import parse, strategies
from reasoning.runs.run import run
from reasoning.testing.contracts import check_aggregator, check_verifier
from reasoning.testing.http_server import serving
from searchers.programs.language import reading

ROOT = Path(__file__).resolve().parents[1]
CLIENTS = ROOT / "docs" / "clients"
"""tests/reasoning/serve/test_clients.py runs these, whole, against a server."""
PAGES = [
    ROOT / "README.md",
    *sorted(p for p in (ROOT / "docs").rglob("*.md") if p.parent != CLIENTS),
]
ELSEWHERE = {
    "docs/adding/": "tests/test_docs.py runs their code as files of somebody's",
    "docs/seams.md": "tests/test_docs.py runs it as a file of somebody's",
}
"""Pages whose code another test runs; commands and recipes are run here in any case."""
CODE = ("python", "py", "js")
NEEDS = {"docs/integrations/opentelemetry.md": ("opentelemetry.sdk", "otel")}
"""Pages whose code needs a package that is not among those of the tests, and the extra with it."""
SHORTER = {
    "docs/control.md": {"--chooser best --chooser weighted_majority --reject": "--reject"},
    "docs/evaluations.md": {
        "runs/quickstart --out": "runs/quickstart --measure coverage --out"  # all: docs/report.md
    },
    "docs/tutorials/researcher.md": {
        "name: nano, n: 40}": "name: nano, n: 6}",
        "--pilot 4": "--pilot 2",
        "task.n=60": "task.n=9",
        " --figures figures": "",  # of which docs/report.md has as many
    },
}
"""What a page says that would take a test too long, and what it does in its place."""

# ------------------------------------------------------------------------------------- pages

_FENCE = re.compile(
    r"^( *)```(\w*)(?: title=\"([^\"]+)\")?\n(.*?)^ *```$", re.MULTILINE | re.DOTALL
)


class Step(NamedTuple):
    """A block of a page; `file` is its title."""

    language: str
    file: str
    text: str


def steps(page: Path) -> list[Step]:
    text = page.read_text(encoding="utf-8")
    for long, short in SHORTER.get(name_of(page), {}).items():
        assert long in text
        text = text.replace(long, short)
    found = _FENCE.finditer(text)
    return [Step(f[2], f[3] or "", re.sub(f"^{f[1]}", "", f[4], flags=re.M)) for f in found]


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def elsewhere(page: Path) -> bool:
    return name_of(page).startswith(tuple(ELSEWHERE))


class Reader:
    """Somebody who does what a page says, in the folder that is the current one."""

    def __init__(self, page: Path, stack: ExitStack) -> None:
        self.page = page
        self.space = fresh()
        self._stack = stack
        self._port = ""

    def do(self, number: int, step: Step) -> None:
        text = self._here(step.text)
        name = f"{name_of(self.page)}, block {number}, {step.language}"
        if step.file:
            Path(step.file).write_text(text, encoding="utf-8")
        if step.language in CODE and elsewhere(self.page):
            return
        match step.language:
            case "bash" | "console":
                self.commands(text, shown=step.language == "console")
            case "python" if not step.file:
                asyncio.run(execute(name, text, self.space))
            case "py":
                Path("shown.py").write_text(text, encoding="utf-8")
                in_bash(f"{shlex.quote(sys.executable)} shown.py")
            case "yaml" if not step.file:
                as_recipe(text)
            case "text":
                assert not re.search(r"^(\$|reasoning|make|pip|python) ", text, re.M), name
            case "json" | "python" | "yaml" if step.file:
                pass
            case language:
                pytest.fail(f"{name}: nobody knows how to run {language or 'no language'!r}")

    def _here(self, text: str) -> str:
        """With the port at which what the page has started listens."""
        return re.sub(r"localhost:8001", f"127.0.0.1:{self._port}", text) if self._port else text

    # ----------------------------------------------------------------------------- commands

    def commands(self, text: str, *, shown: bool) -> None:
        """Run the commands of a block; where it is `shown`, they say what stands below them."""
        parts = re.split(r"^\$ ", text, flags=re.M)[1:] if shown else commands(text)
        for part in parts:
            line, _, expected = part.partition("\n") if shown else (part, "", "")
            found = self.command(line.strip())
            for words in filter(str.strip, expected.splitlines()):
                pattern = ".*".join(map(re.escape, words.split("...")))
                assert re.search(f"^{pattern}", found, re.M), f"{line}: no {words!r} in\n{found}"

    def command(self, line: str) -> str:
        """Run a command, or what RULES have in its place; what it says."""
        line = self._here(line)
        for rule in RULES:
            if found := re.match(rule.command, line):
                line = rule.instead(self, line, found)
                break
        if not line:
            return ""
        if line.startswith("reasoning "):
            return ours(line)
        return in_bash(line)

    def others(self) -> None:
        """Run the other shard of two."""
        ours(f"reasoning run math500 --shard 2/2 --out runs/m {shlex.join(SMALL)}")

    def calibrated(self, line: str) -> str:
        """Calibrate, and have the file tell what 60 problems have told."""
        ours(line)
        path = Path("stops.json")
        found = json.loads(path.read_text())
        found["tests"]["entropy"]["auroc"] = 0.579
        path.write_text(json.dumps(found))
        return ""

    def listen(self, line: str) -> None:
        """Start a server, which later blocks find where the page says, and end it at the end."""
        words = shlex.split(re.sub(r"--port \d+", "", line), comments=True)[1:]
        command = [sys.executable, "-m", "reasoning.cli", *words, "--port", "0"]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment())
        self._stack.callback(ended, process, line)
        assert process.stdout is not None
        told = process.stdout.readline()
        self._port = re.findall(r":(\d+)/", told)[0]


def ended(process: subprocess.Popen[str], line: str) -> None:
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) in (0, 143), f"{line}: ended with {process.returncode}"
    assert process.stdout is not None
    process.stdout.close()


def commands(text: str) -> Iterator[str]:
    """The commands of a script: lines, as many as bash needs to make one."""
    held = ""
    for line in text.splitlines():
        held += line
        if held.endswith("\\"):
            held = held[:-1] + " "
            continue
        if subprocess.run(["bash", "-n", "-c", held], capture_output=True).stderr:
            held += "\n"
            continue
        if held.strip() and not held.lstrip().startswith("#"):
            yield held.strip()
        held = ""
    assert not held, f"no command: {held}"


def parsed(line: str) -> tuple[str, list[str]]:
    """Name and arguments of a command of ours, checked by its parser."""
    group: Any = typer.main.get_command(app)
    name, *args = shlex.split(os.path.expandvars(line), comments=True)[1:]
    if name.startswith("-"):
        return name, args
    assert name in group.commands, line
    group.commands[name].make_context(name, [*args])
    return name, args


def ours(line: str) -> str:
    name, args = parsed(line)
    asked = "\n\n\n" if name == "init" else None
    trust = ["--trust"] if name in ("run", "check", "plan") else []  # a reader answers yes
    found = CliRunner().invoke(app, [name, *args, *trust], input=asked)
    assert found.exit_code == 0, f"{line}: {found.exception or found.output!r}"
    return found.output


def environment() -> dict[str, str]:
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT), "HOME": os.getcwd()}


def in_bash(line: str) -> str:
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", line],
        env=environment(), capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, f"{line}: {done.stdout[-1000:]}{done.stderr[-2000:]}"
    assert '"error": {' not in done.stdout, f"{line}: {done.stdout}"
    return done.stdout


# -------------------------------------------------------------------------------------- code

PREAMBLE = """
from collections.abc import Sequence

import reasoning
from reasoning import *
from reasoning import Candidate, Choice, Generator, Sample, Search, Turn, Verifier
from reasoning.aggregators.voting import in_order
"""
"""What blocks may take for granted."""


async def execute(name: str, text: str, space: dict[str, Any]) -> None:
    """Run a block, in which `await` may stand anywhere; what a comment says of a value is so."""
    flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    lines = text.split("\n")
    for statement in ast.parse(text, name).body:
        is_value = isinstance(statement, ast.Expr)
        tree: Any = (
            ast.Expression(statement.value) if is_value else ast.Module([statement], [])  # type: ignore[attr-defined]
        )
        code = compile(tree, name, "eval" if is_value else "exec", flags)
        value = eval(code, space)
        if code.co_flags & inspect.CO_COROUTINE:
            value = await value
        _, marked, said = lines[statement.end_lineno - 1].partition("  # ")  # type: ignore[operator]
        if is_value and marked:
            try:
                expected = eval(said, space)
            except (SyntaxError, NameError):
                continue  # words
            assert value == expected, f"{name}: {lines[statement.lineno - 1]}"


def fresh() -> dict[str, Any]:
    space: dict[str, Any] = {"__name__": "page"}
    exec(PREAMBLE, space)
    return space


class Service(ModuleType):
    """Where fastapi is not installed: as much of it as the example needs."""

    Request = SimpleNamespace

    class FastAPI:
        def __init__(self, lifespan: Any) -> None:
            self.state = SimpleNamespace()

        def post(self, path: str) -> Any:
            del path
            return lambda function: function


# ------------------------------------------------------------------------------------- rules


class Rule(NamedTuple):
    """Commands that cannot be run as they stand: which, why, and the command to run instead.

    `instead` may be empty: what it checked of the command is all that is done.
    """

    command: str
    why: str
    instead: Callable[[Reader, str, re.Match[str]], str]


def only_read(reader: Reader, line: str, found: re.Match[str]) -> str:
    parsed(line)
    return ""


def added(*more: str) -> Callable[[Reader, str, re.Match[str]], str]:
    """The same command with more options."""
    return lambda _, line, found: f"{line.partition(' # ')[0]} {shlex.join(more)}"


def extras(reader: Reader, line: str, found: re.Match[str]) -> str:
    """What is to be installed is on offer."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert all(re.search(rf"^{re.escape(e)} = \[", text, re.M) for e in found[1].split(",")), line
    return ""


def without_installing(reader: Reader, line: str, found: re.Match[str]) -> str:
    return f"make -s -n -C {shlex.quote(str(ROOT))} {found[1]}"


def strategy_of(reader: Reader, line: str, found: re.Match[str]) -> str:
    """What inspect_ai or lm-eval would be told of a strategy makes one."""
    words = shlex.split(line, comments=True)
    stated = [w for flag, w in itertools.pairwise(words) if flag in ("-M", "-S")]
    stated += [w for flag, w in itertools.pairwise(words) if flag == "--model_args"]
    given = dict(pair.split("=") for w in stated for pair in w.split(","))
    searcher = given.pop("strategy", None) or given.pop("searcher", None)
    named = re.search(r"--model reasoning/(\S+)", line)
    if searcher is None and named and "/" in named[1]:
        recipe, name = named[1].split("/")
        reader.command(f"reasoning check {recipe}")
        assert name in [s.name for s in strategies(parse(read_yaml(
            (ROOT / f"recipes/{recipe}.yaml").read_text())))]  # fmt: skip
        return ""
    searcher = searcher or (named and named[1])
    typed = {k: read_yaml(v) for k, v in given.items()}
    reasoning.Session(searcher=searcher, **{"generator": "nano", **typed})
    return ""


def listens(reader: Reader, line: str, found: re.Match[str]) -> str:
    parsed(line)
    reader.listen(line)
    return ""


def present(module: str) -> bool:
    package = module.partition(".")[0]
    known = importlib.util.find_spec(package) is not None
    return known and importlib.util.find_spec(module) is not None


def reads_results() -> bool:
    """Whether the hub's library is as new as publishing needs."""
    found = importlib.metadata.version("huggingface_hub")
    return tuple(map(int, found.split(".")[:2])) >= (1, 4)


SMALL = ("--set", "generator=nano", "--set", "task={name: nano, n: 4}")
ENGINES = "math500|gsm8k"

RULES = [
    Rule(r"make ([\w-]+)", "installs, and runs the tests: make says what it would do",
         without_installing),
    Rule(r"pip install (?:-e )?'[\w.]*\[([\w,-]+)\]'", "installs: the extra exists", extras),
    Rule(r"reasoning (serve|watch) ", "does not end by itself: ended when the page does", listens),
    Rule(r"OTEL_\w+=\S+ reasoning run ", "takes minutes", added("--set", "sampling.max_tokens=40")),
    Rule(r"OTEL_\w+=\S+ reasoning serve ", "does not end, and no collector listens: test_spans.py",
         lambda reader, line, found: only_read(reader, line.partition(" ")[2], found)),
    Rule(r"reasoning run \w+ --track ", "trackers are not installed: test_trackers.py",
         only_read),
    Rule(r"reasoning run \w+ --workers ", "Ray is not installed: tests/reasoning/cluster",
         only_read),
    Rule(r"reasoning run math500 --shard ", "an engine, and 16 jobs: one of two, on others",
         lambda _, line, found: f"{re.sub(r'[^ ]+/16', '1/2', line).partition(' #')[0]} "
         f"{shlex.join(SMALL)}"),
    Rule(r"reasoning run perturbed_gsm8k ", "an engine and a download: others stand in",
         added(*SMALL[:2], "--set", "task.task=nano", "--limit", "6")),
    Rule(r"reasoning calibrate runs/think_stops ", "two problems say nothing: as the page has it",
         lambda reader, line, found: reader.calibrated(line)),
    Rule(r"reasoning merge ", "the other jobs have to have run",
         lambda reader, line, found: reader.others() or line),
    Rule(rf"reasoning (run|plan) ({ENGINES})\b", "an engine and a download: others stand in",
         added(*SMALL)),
    Rule(r"reasoning run (quickstart|nano_tree|think_stops|programs|across)\b", "takes minutes",
         added("--limit", "1", "--set", "sampling.max_tokens=40")),
    Rule(r"reasoning run (think_policies|live\.yaml)", "takes many minutes",
         added("--limit", "4", "--set", "sampling.max_tokens=24")),
    Rule(r"reasoning run nano_policies\b", "takes many minutes", added("--limit", "4")),
    Rule(r"reasoning run think_verdicts\b", "takes many minutes",
         added("--limit", "2", "--set", "sampling.max_tokens=60")),
    Rule(r"reasoning --install-completion", "changes what the shell reads when it starts",
         lambda *_: "command reasoning --show-completion && :"),  # &&: bash stays above it
    *([] if present("inspect_ai") else [
        Rule(r"reasoning export .* --to inspect", "needs inspect_ai: test_inspect.py", only_read),
        Rule(r"inspect eval .* --model reasoning/", "needs inspect_ai: test_inspect.py",
             strategy_of),
    ]),
    *([] if reads_results() else [
        Rule(r"reasoning publish ", "needs huggingface_hub 1.4: test_publish.py", only_read),
    ]),
    Rule(r"inspect view", "needs inspect_ai, and does not end: test_inspect.py", lambda *_: ""),
    Rule(r"inspect eval .* --model openai/|python -m reasoning.lm_eval run", "needs a key, or a "
         "download: test_inspect.py, test_lm_eval.py", strategy_of),
    Rule(r"python -m benchmarks\.training\.(\w+) ", "takes hours: the program exists",
         lambda _, line, found: f"test -f {ROOT}/benchmarks/training/{found[1]}.py"),
]  # fmt: skip


# ----------------------------------------------------------------------------------- recipes

PLAIN: Mapping[str, Any] = {
    "task": "nano",
    "generator": "nano",
    "verifier": "nano_prm",
    "searcher": "sample",
    "sampling": {"max_tokens": 64},
}
"""What a part of a recipe does not say."""
DOWNLOADED = ("gsm8k", "math500")
PROBLEMS = {"name": "nano", "n": 100}  # of which the first is solved


def as_recipe(text: str) -> None:
    """A whole recipe or part of one: its names and options are there, and one problem is solved."""
    data = read_yaml(text)
    if "routines" in data:  # a program of prompts
        names.bind_searcher("program", {"steps": reading.parse(data)})
        return
    short = {k: v for k, v in PLAIN.items() if k not in data}
    if "strategies" in data or "stages" in data:
        short.pop("searcher", None)
    whole = {**short, **data}
    strategies(parse(whole))
    for kind, spec in specs(whole):
        options = {"name": spec} if isinstance(spec, str) else dict(spec)
        function = names.find(kind, options.pop("name"))
        options.pop("parameters", None)
        names.checked(function, options)
    with serving() as server:
        recipe = parse(standing_in(whole, server.url))
        folder = Path(f"recipes-run/{len([*Path().glob('recipes-run/*')])}")
        asyncio.run(run(recipe, folder, limit=1))
    rows = [json.loads(line) for line in (folder / "results.jsonl").read_text().splitlines()]
    assert rows
    assert not [row["failures"] for row in rows if row["stop_reason"] == "failed"]


def specs(data: Mapping[str, Any]) -> Iterator[tuple[names.Kind, Any]]:
    yield "task", data["task"]
    for spec in (data["generator"], *data.get("models", {}).values()):
        if not (isinstance(spec, str) and spec in data.get("models", {})):
            yield "generator", spec
    for spec in (data.get("verifier"), *data.get("verifiers", {}).values()):
        if spec is not None:
            yield "verifier", spec


def standing_in(data: Any, url: str) -> Any:
    """The recipe, with something of ours for what cannot be had in a test."""
    if isinstance(data, list):
        return [standing_in(item, url) for item in data]
    if not isinstance(data, dict):
        return PROBLEMS if data in DOWNLOADED else data
    match data.get("name"):
        case "vllm":
            return "nano"
        case "vllm_prm" | "reward_model":
            return "nano_prm"
        case "openai":
            urls = data["base_url"]
            here = [url] * len(urls) if isinstance(urls, list) else url
            return {**data, "base_url": here, "model": "toy"}
        case "gsm8k" | "math500":
            return PROBLEMS
    return {k: standing_in(v, url) for k, v in data.items() if k != "workers"}


# -------------------------------------------------------------------------- what pages take


SMALL_RUN = {
    "task": {"name": "nano", "n": 4},
    "generator": "nano",
    "verifier": "nano_prm",
    "strategies": [
        {"name": "small4", "searcher": "self_consistency", "n": 4},
        {"name": "large4", "searcher": "best_of_n", "n": 8},
        {"searcher": "sample"},
        {"searcher": "self_consistency", "n": [2, 8]},
    ],
}
TWO_RUNS = {
    "a": ["before", "train", "math500", "methods_models_fit"],
    "bb": ["b", "after", "test"],
}
"""Two runs of a small recipe, and what else pages call them."""


def recorded(words: int, right: float) -> list[Any]:
    """Eight problems with 16 samples each."""
    found = []
    for i in range(8):
        samples = [
            {"text": f"So it is \\boxed{{{i + (k / 16 >= right)}}}.", "n_tokens": words + k,
             "finish_reason": "stop", "run": "n16", "logprobs": [-0.1 * (k + 1)] * 4}
            for k in range(16)
        ]  # fmt: skip
        found.append({"id": f"p{i}", "question": "?", "answer": str(i), "run": "n16",
                      "samples": samples})  # fmt: skip
    return found


FILES: Mapping[str, list[Any]] = {
    "samples.jsonl.gz": recorded(30, 0.75),
    "small.jsonl.gz": recorded(10, 0.5),
    "large.jsonl.gz": recorded(50, 1.0),
    "mine.jsonl": [{"question": "What is 12 * 7 + 5?", "answer": "89"}],
    "quiz.jsonl": [
        {"question": "Which flies?", "options": ["bat", "cat"], "answer": "A", "topic": "animals"}
    ],
    "passages.jsonl": [
        {"question": "What is 3 * 17?", "answer": "51", "passages": ["3 * 17 = 51.", "Ann sings."]}
    ],
    "about.jsonl": [{"context": "Ann has 3 apples.", "question": "How many?", "answer": "3"}],
}
PROGRAM = """
from openai import OpenAI

asked = [{"role": "user", "content": "What is 3 * 17?"}]
print(OpenAI().chat.completions.create(model="sample", messages=asked).choices[0].message.content)
"""
"""A client that knows nothing of us."""
TASK = """
from inspect_ai import Task, task
from inspect_ai.dataset import Sample
from inspect_ai.scorer import includes

@task
def sums():
    return Task([Sample("What is 12 * 7 + 5?", target="89")], scorer=includes())
"""
"""One of inspect_ai's."""


@pytest.fixture(scope="session")
def taken_for_granted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a reader has by the time that he reads; made once, however many processes read."""
    if "PYTEST_XDIST_WORKER" not in os.environ:
        return grant(tmp_path_factory.mktemp("granted"))
    root = tmp_path_factory.getbasetemp().parent / "granted"
    with (root.parent / "granted.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not root.exists():
            grant(tmp_path_factory.mktemp("granting")).rename(root)
    return root


def grant(root: Path) -> Path:
    """Runs of recipes, recordings, problems, in the folder `root`."""
    quickstart = read_yaml((ROOT / "recipes/quickstart.yaml").read_text(encoding="utf-8"))
    asyncio.run(run(parse(quickstart), root / "runs/quickstart", limit=4))
    for name, others in TWO_RUNS.items():
        recipe = parse({**SMALL_RUN, "seed": len(name)})
        asyncio.run(run(recipe, root / "runs" / name))
        for other in others:
            shutil.copytree(root / "runs" / name, root / "runs" / other)
    watched = {"searcher": "early_stop", "test": ["agreement", "entropy"], "watch": True}
    thinks = {"name": "nano", "model": "nano_think"}
    asyncio.run(run(parse({"task": "nano_think", "generator": thinks, "strategies": [watched]}),
                    root / "runs/watched", limit=2))  # fmt: skip
    shared = {"task": {"name": "nano", "n": 4}, "generator": "nano", "searcher": "sample"}
    asyncio.run(run(parse(shared), root / "runs/shared"))
    for name in ("a", "b"):
        ours(f"reasoning replay {root}/runs/{name} --orders 5 --out {root}/runs/replay-{name}")
    many = {"task": {"name": "nano", "n": 400}, "generator": "scripted", "searcher": "sample"}
    for i, name in enumerate(("first", "second")):
        asyncio.run(run(parse({**many, "seed": i}), root / "runs" / name))
    for name, lines in FILES.items():
        opened = gzip.open if name.endswith(".gz") else open
        with opened(root / name, "wt", encoding="utf-8") as file:
            file.writelines(f"{json.dumps(line)}\n" for line in lines)
    (root / "task.py").write_text(TASK, encoding="utf-8")
    (root / "my_program.py").write_text(PROGRAM, encoding="utf-8")
    return root


def proved(page: str, space: Mapping[str, Any], said: str) -> None:
    """What is to be true of what some pages make."""
    match page:
        case "README.md":
            assert "89 finished\n" in said
        case "docs/python.md":
            asyncio.run(served(space))
        case "docs/aggregators.md":
            check_aggregator(space["shortest"])
            given = {"searcher": "self_consistency", "n": 3, "aggregator": space["asked"]}
            assert reasoning.solve("What is 12 * 7 + 5?", generator="nano", **given).answer == "89"
        case "docs/verifiers.md":
            check_verifier(space["brevity"])


async def served(space: Mapping[str, Any]) -> None:
    """Ask the example of a web service, without a web."""

    async def body() -> dict[str, str]:
        return {"question": "What is 12 * 7 + 5?"}

    service = space["app"]
    async with space["lifespan"](service):
        found = await space["solve"](SimpleNamespace(app=service, json=body))
    assert found["answer"] == "89"
    assert 0 < found["confidence"] <= 1


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_what_a_page_shows_runs(
    page: Path,
    taken_for_granted: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    module, extra = NEEDS.get(name_of(page), ("json", ""))
    if not present(module):
        pytest.skip(f"pip install 'reasoning[{extra}]'")
    shutil.copytree(taken_for_granted, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    if not present("fastapi"):
        monkeypatch.setitem(sys.modules, "fastapi", Service("fastapi"))
    with ExitStack() as stack:
        reader = Reader(page, stack)
        for number, step in enumerate(steps(page), start=1):
            reader.do(number, step)
    proved(name_of(page), reader.space, capsys.readouterr().out)


def test_no_rule_is_idle() -> None:
    """Whatever is left out or changed stands on some page; the first rule that fits counts."""
    lines = [
        line
        for page in PAGES
        for step in steps(page)
        if step.language in ("bash", "console")
        for line in commands(re.sub(r"^\$ ", "", step.text, flags=re.M))
    ]
    used = [next((r.command for r in RULES if re.match(r.command, line)), "") for line in lines]
    assert [r.command for r in RULES if r.command not in used] == []
    assert [e for e in ELSEWHERE if not any(name_of(p).startswith(e) for p in PAGES)] == []
