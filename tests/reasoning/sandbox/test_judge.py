"""Tests that a candidate cannot reach: what they see of it, and what does not fool them."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

ADD = "def add(a, b):\n    return a + b"
POINT = (
    "class P:\n    def __init__(self, a): self.a = a\n    def __eq__(self, o): return self.a == o.a"
)
LIKE_ANY = "class E:\n    def __eq__(self, o): return True\n    def __{0}__(self, *o): return {1}\n"
WRITES = (
    "import os\nfor fd in range(64):\n    try: os.write(fd, b'{\"value\": true}\\n')\n"
    "    except OSError: pass\n"
)

RIGHT: dict[str, tuple[str, str]] = {
    "a function": (ADD, "assert add(1, 2) == 3\nassert add([1], (2,)[:0] and [] or [2]) == [1, 2]"),
    "classes": (POINT, "assert P(1) == P(1) and P(1) != P(2)\nassert isinstance(P(3), P)\nP(3).a"),
    "attributes": (POINT, "p = P(3)\np.a = 4\nassert p.a == 4"),
    "a change in place": ("def f(x): x.sort()", "x = [3, 1]\nf(x)\nassert x == [1, 3]"),
    "an exception of its own": (
        "class Bad(ValueError): pass\ndef f(): raise Bad('no')",
        "for kind in (Bad, ValueError):\n    try: f()\n    except kind as e:\n"
        "        assert str(e) == 'no'\n    else: assert False",
    ),
    "a function of the tests": (
        "def f(g, xs): return [g(x) for x in xs]",
        "assert f(lambda x: 2 * x, [1, 2]) == [2, 4]",
    ),
    "a generator": (
        "def f():\n    i = 0\n    while True:\n        yield i\n        i += 1",
        "it = f()\nassert next(it) == 0 and next(it) == 1",
    ),
    "its imports": ("import math\ndef f(): return math.pi", "assert math.isclose(f(), math.pi)"),
    "what it prints": (
        "def f(): print('hi')",
        "import contextlib, io\no = io.StringIO()\nwith contextlib.redirect_stdout(o): f()\n"
        "assert o.getvalue() == 'hi\\n'",
    ),
    "what it reads": (
        "def f(): return int(input())",
        "import io, sys\nsys.stdin = io.StringIO('1\\n2\\n')\nassert [f(), f()] == [1, 2]",
    ),
    "a name of Python's": ("def sum(a, b): return a + b", "assert sum(1, 2) == 3"),
    "plain kinds": (
        "from fractions import Fraction\nfrom decimal import Decimal\n"
        "def f(): return [Fraction(1, 2), Decimal('.1'), {1: {2}}, (1j, None), b'x', range(3)]",
        "from fractions import Fraction as F\nfrom decimal import Decimal as D\n"
        "assert f() == [F(1, 2), D('.1'), {1: {2}}, (1j, None), b'x', range(3)]",
    ),
}

WRONG: dict[str, tuple[str, str]] = {
    "a wrong function": ("def add(a, b): return a - b", "assert add(1, 2) == 3"),
    "no function": ("x = 1", "assert add(1, 2) == 3"),
    "no program": ("def add(:", "pass"),
    "its end": ("raise SystemExit(0)", "pass"),
    "its death": ("import os\nos._exit(0)", "pass"),
    "what is equal to all": (LIKE_ANY.format("hash", 1) + "def f(): return E()", "assert f() == 3"),
    "what is near to all": (
        LIKE_ANY.format("sub", 0) + "def f(): return E()",
        "assert abs(f() - 3) < 1e-6",
    ),
    "what is smaller than all": (
        LIKE_ANY.format("lt", True) + "def f(): return E()",
        "assert f() < 3",
    ),
    "what holds all": (
        LIKE_ANY.format("contains", True) + "def f(): return E()",
        "assert 3 in f()",
    ),
    "another abs": ("def abs(x): return 0\ndef f(): return 7", "assert abs(f() - 3) < 1e-3"),
    "another module": (
        "class math:\n    def isclose(*x): return True\ndef f(): return 7",
        "assert math.isclose(f(), 3)",
    ),
    "the old mark": ("__reached_the_end__()", "assert False"),
    "other assertions": (
        "import builtins\nbuiltins.AssertionError = None\ndef f(): return 7",
        "assert f() == 3",
    ),
    "writes to every file": (WRITES + "def f(): return 7", "assert f() == 3"),
}


@pytest.fixture(scope="module")
def verdicts() -> dict[str, bool]:
    """All of them in one other process, since each of them forks."""
    script = (
        "import json, sys\nfrom reasoning.sandbox.programs import holds\n"
        "cases = json.load(sys.stdin)\n"
        "print(json.dumps({k: holds(p, [t]) for k, (p, t) in cases.items()}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        input=json.dumps(RIGHT | WRONG),
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.mark.parametrize("case", RIGHT)
def test_right_programs_pass(verdicts: dict[str, bool], case: str) -> None:
    assert verdicts[case]


@pytest.mark.parametrize("case", WRONG)
def test_wrong_ones_do_not(verdicts: dict[str, bool], case: str) -> None:
    assert not verdicts[case]
