"""Programs that are run while the model reasons."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from reasoning import Result, solve
from reasoning.backends.journal import Journal
from reasoning.backends.scripted import Scripted
from reasoning.generate import Prompt
from reasoning.sandbox import Sandbox
from reasoning.testing import ToyGenerator, random_tree

MODEL = random_tree(3, depth=5)


def coder(*programs: str) -> Scripted:
    """Writes these programs one after another, then answers with the last line it reads."""

    def script(prompt: Prompt, seed: int) -> str:
        ran = prompt.text.count("```output\n")
        if ran < len(programs):
            return f"Let me see.\n```python\n{programs[ran]}\n```\nIt prints 0, I guess."
        return f"So it is \\boxed{{{prompt.text.split('```')[-2].split()[-1]}}}"

    return Scripted(script)


def ran(*programs: str, **params: Any) -> tuple[Result, str]:
    result = solve("q", searcher="python_tool", generator=coder(*programs), **params)
    (candidate,) = result.candidates
    return result, result.tree[candidate.path].text


@pytest.mark.parametrize("params", [{}, {"calls": 0}])
@pytest.mark.parametrize("n", [1, 3])
def test_without_programs_it_is_self_consistency(n: int, params: dict[str, Any]) -> None:
    trees = []
    for searcher, more in (("python_tool", params), ("self_consistency", {})):
        result = solve(MODEL.problem, searcher=searcher, n=n, generator=ToyGenerator(MODEL), **more)
        trees.append((result.tree.to_jsonl(), result.answer, result.usage))
    assert trees[0] == trees[1]


def test_the_model_reads_what_its_programs_print() -> None:
    result, text = ran("print(6 * 7)", "print('the rest is', 42 - 2)")
    assert text == (
        "Let me see.\n```python\nprint(6 * 7)\n```\n```output\n42\n```\n"
        "Let me see.\n```python\nprint('the rest is', 42 - 2)\n```\n"
        "```output\nthe rest is 40\n```\nSo it is \\boxed{40}"
    )
    assert result.answer == "40"
    assert result.usage.tool_calls == 2


def test_an_error_is_read_too() -> None:
    _, text = ran("print(1)\n1 / 0")
    assert "```output\n1\nZeroDivisionError: division by zero\n```\n" in text


def test_so_is_one_that_does_not_end() -> None:
    _, text = ran("while True: pass", seconds=0.2)
    assert "```output\nthe program did not end\n```\n" in text


def test_long_outputs_are_cut() -> None:
    _, text = ran("print('a b ' * 5000)")
    assert "b ...\n```" in text
    assert len(text) < 3000


def test_calls_are_limited() -> None:
    """The last program is not run, and the model goes on as if it had been."""
    result, text = ran("print(1)", "print(2)", calls=1)
    assert result.usage.tool_calls == 1
    assert text.endswith("```python\nprint(2)\n```\nIt prints 0, I guess.")


def test_a_program_at_the_very_end_is_run() -> None:
    def script(prompt: Prompt, seed: int) -> str:
        return "Then \\boxed{5}" if "output" in prompt.text else "```python\nprint(5)\n```"

    result = solve("q", searcher="python_tool", generator=Scripted(script))
    (candidate,) = result.candidates
    text = result.tree[candidate.path].text
    assert text == "```python\nprint(5)\n```\n```output\n5\n```\nThen \\boxed{5}"


def test_other_blocks_are_passed_over() -> None:
    parts = ["A table:\n```\n1 2\n```\nand", " \\boxed{3}"]

    def script(prompt: Prompt, seed: int) -> str:
        text = prompt.text
        return ("".join(parts))[len(text) :]

    result = solve("q", searcher="python_tool", generator=Scripted(script))
    (candidate,) = result.candidates
    assert result.tree[candidate.path].text == "".join(parts)
    assert (result.answer, result.usage.tool_calls) == ("3", 0)


def test_a_block_finds_what_those_before_it_left() -> None:
    """Also what one left that failed; what they print is not printed again."""
    first = "print('once')\nx = 40\ndef f(y): return x + y\n1 / 0"
    _, text = ran(first, "print(f(2))")
    assert text.count("once") == 2  # in the program, and in what it printed
    assert "```output\n42\n```\nSo it is \\boxed{42}" in text


def test_nothing_is_kept_from_one_path_to_another() -> None:
    program = "try: print(x)\nexcept NameError: print(7)\nx = 1"
    result = solve("q", searcher="python_tool", n=2, generator=coder(program))
    assert [c.answer.text for c in result.candidates if c.answer] == ["7", "7"]


def test_memory_is_limited() -> None:
    _, text = ran("x = bytearray(10**9)\nprint(len(x))", memory_mb=64)
    assert "10**9)\nprint(len(x))\n```\n```output\n" in text
    assert "1000000000\n" not in text


def test_a_resumed_search_runs_nothing_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Everything is in the journal: neither the model nor the sandbox is asked again."""
    path = tmp_path / "journal"
    params: dict[str, Any] = {"searcher": "python_tool", "n": 2}
    kept = Journal(coder("x = 6", "print(x * 7)"), path=path)
    first = solve("q", generator=kept, **params)
    kept.close()

    async def no_run(*_: object) -> None:
        raise AssertionError("a program was run again")

    no_run.__qualname__ = Sandbox.run.__qualname__
    monkeypatch.setattr(Sandbox, "run", no_run)
    kept = Journal(Scripted(lambda prompt, seed: RuntimeError("asked again")), path=path)
    again = solve("q", generator=kept, **params)
    kept.close()
    assert again.tree.to_jsonl() == first.tree.to_jsonl()
    assert again.usage.tool_calls == first.usage.tool_calls == 4
    assert (again.answer, again.failures) == ("42", [])
