"""What people see in a terminal: the progress line and the tables."""

from __future__ import annotations

import inspect
import logging
import math
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.markup import escape
from rich.measure import Measurement
from rich.padding import Padding
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from reasoning.runs import names
from reasoning.text import visible

if TYPE_CHECKING:
    from reasoning.result import Result
    from reasoning.runs.plan import Plan
    from reasoning.runs.run import Progress as RunProgress

console = Console()
_SERVERS = logging.getLogger("reasoning.http")
_SHOWN = 2000  # characters of a message in an example
_EVERY = 15.0  # seconds between progress lines where there is no terminal to redraw


class _Lines(logging.Handler):
    """Shows what is logged above the progress line, each in a line of its own."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        self._console = console

    def emit(self, record: logging.LogRecord) -> None:
        self._console.print(plain(record.getMessage()), style="dim", soft_wrap=True)


class ProgressLine:
    """Problems done, accuracy so far, tokens a second, time left; on standard error.

    Above it stands which servers join and leave.
    """

    def __init__(self, name: str) -> None:
        self._console = Console(stderr=True)
        self._bar = Progress(
            TextColumn(plain(name).replace("{", "{{").replace("}", "}}")),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[facts]}"),
            TimeRemainingColumn(),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        self._task = self._bar.add_task("", total=None, facts="")
        self._said = time.monotonic()
        self._servers = _Lines(self._console)

    def __enter__(self) -> ProgressLine:
        self._bar.start()
        _SERVERS.addHandler(self._servers)
        _SERVERS.setLevel(logging.INFO)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        _SERVERS.removeHandler(self._servers)
        _SERVERS.setLevel(logging.NOTSET)
        self._bar.stop()

    def update(self, progress: RunProgress) -> None:
        facts = facts_line(progress)
        self._bar.update(
            self._task, total=progress.problems, completed=progress.done, facts=plain(facts)
        )
        now = time.monotonic()
        if not self._console.is_terminal and now - self._said > _EVERY:
            self._said = now
            left = (now - progress.started) / max(1, progress.new_done)
            left *= progress.problems - progress.done
            self._console.print(
                f"{progress.done}/{progress.problems} problems, {facts}, about {left:.0f} s left"
            )


def facts_line(progress: RunProgress) -> str:
    """Accuracy over all strategies so far, generated tokens a second, failures if any."""
    facts = []
    if progress.graded:
        facts.append(f"accuracy {progress.correct / progress.graded:.3f}")
    elapsed = max(1e-9, time.monotonic() - progress.started)
    facts.append(f"{progress.new_tokens / elapsed:,.0f} tokens/s")
    if progress.failed_calls:
        facts.append(f"{progress.failed_calls} failed calls")
    return ", ".join(facts)


def show_summary(summary: Mapping[str, Any], folder: Path) -> None:
    """The table of a run, its notes, and where its files are."""
    plot: Any = names.ours("evals.report.plot")
    console.print(summary_table(summary))
    for s in summary["strategies"]:
        if found := s.get("measures"):
            told = ", ".join(f"{name} {value:.3f}" for name, value in found.items())
            console.print(f"{plain(s['name'])}: {plain(told)}")
    for note in summary["notes"]:
        console.print(f"note: {plain(note)}")
    for message in dict.fromkeys(m for s in summary["strategies"] for m in s["failures"]):
        console.print(f"failed: {plain(message)}", style="yellow", soft_wrap=True)
    if failed := sum(s["failed_calls"] for s in summary["strategies"]):
        console.print(
            f"{failed:,} calls failed, and what is above was found without them: see the trees. A "
            "rerun keeps these results; another --out repeats them.",
            style="yellow",
        )
    files = ["summary.json", "results.jsonl", "trees/", "manifest.json"]
    if plot.accuracy_plot(summary, folder / "accuracy.png"):
        files.insert(0, "accuracy.png")
    console.print(f"{plain(str(folder))}: {', '.join(files)}", soft_wrap=True)


def summary_table(summary: Mapping[str, Any]) -> Table:
    """One row a strategy; tokens and calls are means over problems."""
    rows = summary["strategies"]
    optional = {
        "verifier\ncalls": any(s["verifier_calls"] for s in rows),
        "failed\ncalls": any(s["failed_calls"] for s in rows),
        "avg@n": any("avg_at_n" in s for s in rows),
    }
    title = f"{summary['name']}: {summary['task']}, {summary['problems']} problems"
    table = Table(title=plain(title))
    table.add_column("strategy", overflow="fold", min_width=10)
    table.add_column("accuracy (95 %)", justify="right", no_wrap=True)
    broken = any(s.get("failed_searches") for s in rows)  # wrong answers, never left out
    heads = ["failed\nsearches"] if broken else []
    heads += ["tokens", "wasted", *(head for head, wanted in optional.items() if wanted)]
    for head in heads:
        table.add_column(head, justify="right")
    for s in rows:
        count = max(1, s["problems"])
        accuracy = "-"
        if s["accuracy"] is not None:
            accuracy = f"{s['accuracy']:.3f} ({s['ci95'][0]:.2f}-{s['ci95'][1]:.2f})"
        average = s.get("avg_at_n")
        cells = {
            "verifier\ncalls": f"{s['verifier_calls'] / count:,.1f}",
            "failed\ncalls": str(s["failed_calls"]),
            "avg@n": f"{average['mean']:.3f}\n(n={average['n']})" if average else "-",
        }
        table.add_row(
            Name(s["name"]),
            accuracy,
            *([str(s.get("failed_searches", 0))] if broken else []),
            f"{_about(s)}{s['generated_tokens'] / count:,.0f}",
            f"{s['wasted_tokens'] / max(1, s['generated_tokens']):.0%}",
            *(cells[head] for head, wanted in optional.items() if wanted),
        )
    return table


def _about(totals: Mapping[str, Any]) -> str:
    """A mark where more than prompts is estimated: some of the generated tokens, too."""
    return "~" if totals.get("estimated_tokens", 0) > totals.get("prompt_tokens", 0) else ""


class Name:
    """A strategy's name in a table: it breaks behind hyphens, then underscores, then anywhere."""

    def __init__(self, text: str) -> None:
        self.text = visible(text)

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        longest = max(map(cell_len, re.split(r"(?<=[-_])", self.text)))
        return Measurement(longest, cell_len(self.text)).clamp(0, options.max_width)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        lines = [""]
        for part in re.split(r"(?<=-)", self.text):
            fits = cell_len(part) <= options.max_width
            for piece in [part] if fits else re.split(r"(?<=_)", part):
                if lines[-1] and cell_len(lines[-1] + piece) > options.max_width:
                    lines.append("")
                lines[-1] += piece
        yield Text("\n".join(lines), overflow="fold")


def show_result(result: Result) -> None:
    """The answer, and what it cost."""
    answer = "no answer" if result.answer is None else result.answer
    console.print(plain(answer), style="bold", soft_wrap=True)
    usage = result.usage
    console.print(
        f"{len(result.candidates)} candidates, {usage.generated_tokens:,} tokens generated "
        f"({usage.wasted_tokens:,} wasted{', estimated' if usage.estimated_tokens else ''}), "
        f"{usage.verifier_calls} verifier calls, {usage.seconds:.1f} s; "
        f"stopped: {result.stop_reason}",
        style="dim",
    )
    for failure in result.failures[:3]:
        console.print(f"failed: {plain(failure)}", style="yellow")


def show_plan(plan: Plan) -> None:
    """What a recipe would run."""
    recipe = plan.recipe
    title = f"{recipe.name}: {plan.task.name}, {len(plan.problems)} problems"
    table = Table(title=plain(title))
    for head in ("strategy", "searcher", "parameters", "aggregator"):
        table.add_column(head, overflow="fold")
    for s in plan.strategies:
        params = ", ".join(f"{k}={v}" for k, v in s.params.items())
        table.add_row(Name(s.name), *map(plain, (s.searcher, params, s.aggregator)))
    console.print(table)
    for kind, spec in (("generator", recipe.generator), ("verifier", recipe.verifier)):
        if spec is not None:
            console.print(f"{kind}: {plain(_yaml(spec))}", soft_wrap=True, highlight=False)
    for note in plan.notes:
        console.print(f"note: {plain(note)}")
    for problem in plan.problems[:1]:
        console.print(f"problem {plain(problem.id)} is shown to a model as", style="dim")
        for message in problem.messages:
            text = message.content
            text = text if len(text) <= _SHOWN else f"{text[:_SHOWN]} ..."
            console.print(f"{message.role}: {plain(text)}", soft_wrap=True, highlight=False)


def _yaml(spec: str | Mapping[str, Any]) -> str:
    """A plug-in as a recipe names it."""
    import yaml

    if isinstance(spec, str):
        return spec
    text: str = yaml.safe_dump(
        dict(spec), default_flow_style=True, sort_keys=False, allow_unicode=True, width=math.inf
    )
    return text.strip()


def show_description(facts: Mapping[str, str]) -> None:
    """What a generator or verifier says of itself."""
    for name, value in facts.items():
        console.print(f"{plain(name)}: {plain(value)}", soft_wrap=True, highlight=False)


def plain(text: str) -> str:
    """`text` as it is, where markup is read and escape codes would act."""
    return escape(visible(text))


def show_names(title: str, lines: Iterable[tuple[str, str]], about: str = "") -> None:
    """Names with their parameters and what they do."""
    console.print(f"[bold]{title}[/bold]")
    if about:
        console.print(plain(about), style="dim", highlight=False)
    for signature, text in lines:
        console.print(f"  {plain(signature)}", soft_wrap=True, highlight=False)
        if text:
            console.print(f"      {plain(text)}", style="dim", highlight=False)


def show_one(title: str, function: Any) -> None:
    """What there is to say of one of them: its parameters, and all that its author wrote."""
    ((signature, _),) = names.help_lines([function])
    show_names(title, [(signature, "")])
    written = Text(visible(inspect.getdoc(function) or ""), style="dim")
    console.print(Padding(written, (0, 0, 0, 6)), highlight=False)


def show_benchmarks(records: Sequence[Any]) -> None:
    """Benchmarks by name: what they are, how many problems, from where and under whose terms."""
    ((signature, _),) = names.help_lines(records[:1])
    options = signature.partition("(")[2].removesuffix(")")
    about = f"For evaluation only: do not train on them. Each takes {options}."
    show_names("benchmarks", [(r.name, _terms(r)) for r in records], about)


def _terms(record: Any) -> str:
    size = "" if record.problems is None else f" {record.problems:,} problems,"
    gated = ", gated (HF_TOKEN)" if record.hub.gated else ""
    note = f" Note: {record.note}." if record.note else ""
    return f"{record.about}{size} {record.hub.dataset}{gated}, licence: {record.licence}.{note}"


def show_fields() -> None:
    """The fields of a recipe, as docs/recipes.md has them."""
    from reasoning.runs.fields import sections

    for section in sections():
        lines = [
            (f"{e.name}: {e.takes}" + (f" [{e.default}]" if e.default else ""), e.meaning)
            for e in section.entries
        ]
        show_names(section.title, lines, section.about)
