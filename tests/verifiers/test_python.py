"""Checks of the user's own: what they are given, what they may say, and that their time ends."""

from __future__ import annotations

import asyncio
import math
import os
import re
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from reasoning.errors import RecipeError, VerificationError
from reasoning.generate import Sampling
from reasoning.problem import Problem
from reasoning.runs import names
from reasoning.sandbox import Bounds, contains
from reasoning.sandbox.programs import passes
from reasoning.testing.verifier_contract import ask
from reasoning.tree import Node, RolloutTree, Sample
from verifiers.python import python

PROBLEM = Problem("p", "Add two numbers.", meta={"tests": ["assert add(1, 2) == 3"], "level": 3})
RIGHT = "def add(a, b):\n    return a + b"

CHECKS = """
import os, socket, sys, time

imported = [k for k in os.environ if "SECRET" in k]

def echo(question, text, step, answer, meta):
    want = ("Add two numbers.", "Think. \\\\boxed{3}", "\\\\boxed{3}", "3", 3)
    return (question, text, step, answer, meta["level"]) == want

def half(text): return 0.5
def noisy(text): print("not", "a score"); sys.stderr.write("x"); return True
def raises(text): raise ValueError("odd")
def two(text): return 2
def nothing(text): return None
def nan(text): return float("nan")
class Shy:
    def __repr__(self): raise ValueError("no")
class ShyError(Exception):
    def __str__(self): raise ValueError("no")
def huge(text): return 10**400
def long(text): return "x" * 10**6
def shy(text): return Shy()
def shy_error(text): raise ShyError
def spins(text):
    while True: pass
def waits(text): time.sleep(1000)
def eats(text): return bool(bytearray(10**11))
def dies(text): os._exit(7)
def exits(text): sys.exit("bye")
def lonely(text): return {name for _, name in socket.if_nameindex()} <= {"lo"}
def secretive(text): return not imported
def fills(text):
    with open("large", "wb") as file: file.write(bytes(10**8))
    return 1
def optional(text, tolerance=1e-6): return tolerance < 1
def orphans(meta):
    if os.fork() == 0:
        os.setsid()
        time.sleep(1000)
    return 1
def strange(texts): return 1
def forges(text):
    for fd in range(64):
        try:
            os.write(fd, b'{"value": 1, "nonce": "0"}\\n')
        except OSError:
            pass
    os._exit(0)
def crowds(text):
    for _ in range(20):
        if os.fork() == 0:
            time.sleep(1000)
    time.sleep(1000)
def shares_memory(text):
    for _ in range(4):
        if os.fork() == 0:
            held = bytearray(os.urandom(2**20) * 40)
            time.sleep(1000)
    time.sleep(1000)
def scatters(text):
    for i in range(8):
        with open(f"part{i}", "wb") as file: file.write(bytes(2**20))
    time.sleep(1000)
"""


@pytest.fixture
def checks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a module of checks."""
    (tmp_path / "checks_under_test.py").write_text(CHECKS)
    monkeypatch.syspath_prepend(str(tmp_path))
    return "checks_under_test"


def make(check: str, **options: Any) -> Any:
    return names.build("verifier", {"name": "python", "check": check, **options})


def node_of(*texts: str) -> Node:
    tree = RolloutTree("p")
    node = tree.root
    for text in texts:
        node = tree.add(node, 0, Sample(text))
    return node


def score(verifier: Any, *texts: str, problem: Problem = PROBLEM) -> float:
    (value,) = asyncio.run(ask(verifier, problem, node_of(*texts))).steps
    return float(value)


def test_a_check_gets_what_it_asks_for(checks: str) -> None:
    assert score(make(f"{checks}:echo"), "Think. ", r"\boxed{3}") == 1
    assert score(make(f"{checks}:echo"), "Think. ", r"\boxed{4}") == 0
    assert score(make(f"{checks}:half"), "") == 0.5
    assert score(make(f"{checks}:optional"), "") == 1


def test_prints_do_not_matter(checks: str) -> None:
    assert score(make(f"{checks}:noisy"), "") == 1


@pytest.mark.parametrize(
    ("check", "message"),
    [
        ("raises", "the check failed: ValueError: odd"),
        ("two", r"returned 2, not a number in \[0, 1\]"),
        ("nothing", "returned None"),
        ("nan", "returned nan"),
        ("huge", r"returned (10{200,}\.\.\.|something of type int)"),
        ("long", r"returned 'x{299}\.\.\., not"),
        ("shy", "returned something of type Shy that cannot be shown"),
        ("shy_error", "ShyError: something of type ShyError that cannot be shown"),
        ("fills", "File too large"),
        ("exits", "SystemExit: bye"),
    ],
)
def test_a_check_at_fault_is_an_error(checks: str, check: str, message: str) -> None:
    with pytest.raises(VerificationError, match=message):
        score(make(f"{checks}:{check}"), "")


@pytest.mark.parametrize("check", ["spins", "waits", "eats", "dies"])
def test_what_a_check_cannot_survive(checks: str, check: str) -> None:
    began = time.monotonic()
    assert score(make(f"{checks}:{check}", seconds=0.3), "") == 0
    assert time.monotonic() - began < 60  # not the 1000 s that it wanted
    with pytest.raises(VerificationError, match=r"ran out of time or memory.*0\.3 s"):
        score(make(f"{checks}:{check}", seconds=0.3, failed=None), "")


@pytest.mark.parametrize(
    ("check", "limits"),
    [
        ("crowds", {"processes": 8}),
        ("shares_memory", {"memory_mb": 100}),
        ("scatters", {"file_mb": 4}),
    ],
)
def test_what_processes_use_together_has_limits(
    checks: str, check: str, limits: dict[str, Any]
) -> None:
    began = time.monotonic()
    assert score(make(f"{checks}:{check}", seconds=200, **limits), "") == 0
    assert time.monotonic() - began < 300  # not the 600 s that it may wait


def test_nobody_writes_a_verdict_but_who_reports(checks: str) -> None:
    """A line with a nonce, or one out of range, is none; a candidate's lines go nowhere."""
    assert score(make(f"{checks}:forges"), "") == 0
    candidate = (
        "import os\nfor fd in range(64):\n    try: os.write(fd, b'{\"value\": 1}\\n')\n"
        "    except OSError: pass\ndef add(a, b): return 0"
    )
    passes = names.build("verifier", "python")
    assert score(passes, f"```python\n{candidate}\n```") == 0
    assert score(passes, f"```python\n{candidate}\nos._exit(0)\n```") == 0


@pytest.mark.parametrize(
    ("bounds", "alone", "words"),
    [
        (Bounds(), True, "without a network; .*contains accidents, no attacks"),
        (Bounds(network=True), True, "of the containment nothing is left against code"),
        (Bounds(), False, "nothing contains the code but limits.*unshare fails"),
    ],
)
def test_what_contains_it_is_said(bounds: Bounds, alone: bool, words: str) -> None:
    assert re.search(words, contains(bounds, alone))
    verifier = names.build("verifier", {"name": "python", "network": bounds.network})
    verifier.alone = alone
    assert re.search(words, verifier.notes[0])


def test_a_process_that_does_not_start_is_no_verdict(
    checks: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    verifier = make(f"{checks}:half")
    monkeypatch.setattr("reasoning.sandbox.ARGUMENTS", (sys.executable, "-c", "pass"))
    with pytest.raises(VerificationError, match="process did not start"):
        score(verifier, "")


def test_no_process_is_left(checks: str) -> None:
    verifier = make(f"{checks}:orphans")
    if not verifier.alone:
        pytest.skip(verifier.notes[0])
    assert score(verifier, "") == 1
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            line = (folder / "cmdline").read_bytes().split(b"\0")
            parent = int((folder / "stat").read_text().rsplit(")", 1)[1].split()[1])
        except (OSError, ValueError):
            continue
        assert not (b"reasoning.sandbox.worker" in line and parent in (1, os.getpid()))


def test_no_network_and_no_secrets(checks: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_SECRET", "x")
    assert score(make(f"{checks}:secretive"), "") == 1
    verifier = make(f"{checks}:lonely")
    if not verifier.alone:
        pytest.skip(verifier.notes[0])
    assert score(verifier, "") == 1


def test_checks_run_side_by_side_but_not_too_many(checks: str) -> None:
    verifier = make(f"{checks}:half", workers=2)

    async def work() -> None:
        calls = [ask(verifier, PROBLEM, node_of(str(i))) for i in range(5)]
        for call in asyncio.as_completed(calls):
            assert (await call).steps == (0.5,)

    asyncio.run(work())


@pytest.mark.parametrize(
    ("check", "message"),
    [
        ("passes", "package.module:function"),
        ("no_such_module:f", "No module named 'no_such_module'"),
        ("json:no_such_function", "no attribute 'no_such_function'"),
        ("checks_under_test:strange", "it takes texts; a check takes some of question, text"),
    ],
)
def test_a_check_that_cannot_be_used(checks: str, check: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        make(check)


def test_limits_are_checked() -> None:
    with pytest.raises(RecipeError, match="seconds=0"):
        make("json:loads", seconds=0)
    with pytest.raises(RecipeError, match="workers=0"):
        make("json:loads", workers=0)


@pytest.mark.parametrize(
    ("name", "most"), [("seconds", 86_400), ("memory_mb", 10_000_000), ("file_mb", 1_000_000)]
)
def test_limits_that_cannot_be_applied_are_refused(checks: str, name: str, most: float) -> None:
    for value in (1e20, float("inf"), float("nan")):
        with pytest.raises(RecipeError, match=f"{name}="):
            make(f"{checks}:half", **{name: value})
    with pytest.raises(RecipeError, match=f"less than or equal to {most}"):
        make(f"{checks}:half", **{name: most + 1})
    assert score(make(f"{checks}:half", **{name: most}), "") == 0.5


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"So:\n```python\n{RIGHT}\n```\n", 1),
        (f"First:\n```python\nx\n```\nno,\n```py\n{RIGHT}\n```", 1),
        (f"```\n{RIGHT}\n```", 1),
        ("```python\ndef add(a, b):\n    return a - b\n```", 0),
        ("```python\nraise SystemExit(0)\n```", 0),
        ("```python\ndef add(:\n```", 0),
        (RIGHT, 0),
        ("", 0),
    ],
)
def test_code_is_run_with_its_tests(text: str, expected: float) -> None:
    assert passes(text, PROBLEM.meta) == expected


def test_candidates_code_in_a_process_of_its_own() -> None:
    verifier = names.build("verifier", "python")
    assert score(verifier, f"```python\n{RIGHT}\n```") == 1
    assert score(verifier, "```python\nimport os; os._exit(0)\n```") == 0
    with pytest.raises(VerificationError, match="has no tests"):
        score(verifier, f"```python\n{RIGHT}\n```", problem=Problem("p", "?"))


def test_without_any_tests_only_a_check_of_ones_own_will_do(checks: str) -> None:
    untested, sampling = Problem("q", "?"), Sampling(max_tokens=9)
    names.build("verifier", "python").preflight(sampling, [untested, PROBLEM])
    make(f"{checks}:half").preflight(sampling, [untested])
    with pytest.raises(RecipeError, match="no problem has any"):
        names.build("verifier", "python").preflight(sampling, [untested])


@pytest.mark.parametrize(
    "options", [{"workers": 0}, {"seconds": 0}, {"memory_mb": math.nan}, {"failed": 2}]
)
def test_limits_hold_for_direct_calls_too(options: dict[str, Any]) -> None:
    with pytest.raises(RecipeError, match=f"python: {next(iter(options))}="):
        python(**options)
