"""Every parameter of every plug-in, with its meaning, range and default: the pages of reference.

Names, ranges and defaults are those of the signatures. A meaning stands in parameters.yaml, or is
what the docstring says: its definition (`name: ...`), else the first sentence with it in backticks.
`python -m reasoning.runs.reference searcher` prints a page; the site holds one of each kind.
"""

from __future__ import annotations

import functools
import inspect
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, get_args

import yaml

from reasoning.errors import RecipeError, unknown
from reasoning.runs import names
from reasoning.runs.fields import OWN as ITS_OWN
from reasoning.runs.fields import REQUIRED, Entry, takes
from reasoning.runs.meanings import MEANINGS

TITLES: Mapping[names.Kind, str] = {
    "searcher": "Searchers",
    "aggregator": "Aggregators",
    "verifier": "Verifiers",
    "generator": "Generators",
    "task": "Tasks",
    "answers": "Kinds of answers",
}
ABOUT: Mapping[names.Kind, str] = {
    "searcher": "What a recipe may name as `searcher`, or as a stage. Parameters stand beside the "
    "name (`{searcher: astar, width: 4}`); a list of values gives one strategy each.",
    "aggregator": "What a recipe may name as `aggregator`, or as a stage: "
    "`aggregator: {name: cisc, temperature: 0.5}`. [Which one when](../aggregators.md).",
    "verifier": "What a recipe may name as `verifier`, or under `verifiers`: "
    "`verifier: {name: judge, generator: small}`. [Which one when](../verifiers.md).",
    "generator": "What a recipe may name as `generator`, or under `models`: "
    "`generator: {name: nano, model: nano_think}`. `parameters`, how many the model has, is for "
    "whoever counts compute, and goes with each.",
    "task": "What a recipe may name as `task`: `task: {name: gsm8k, limit: 100}`. "
    "[Your own problems, prompts, conversations](../tasks.md).",
    "answers": "What a task may name as `answers`: `answers: {kind: number, decimals: 2}`. "
    "[What counts as the same answer](../grading.md).",
}
FLAGS: Mapping[str, str] = {
    "STEPS": "goes on from steps, which not every server can",
    "INDEPENDENT": "its samples are independent, so pass@k may be estimated from them",
    "VOTES": "counts equal answers, so it is refused for free text",
    "SCORES": "cannot do without a verifier",
    "FILTERS": "is a filter: several candidates go on",
}
"""What the constants of a plug-in's file say of it."""

_DEFINES = r"((?:{0})(?:, (?:{0}))*):\s"
_LONG = 40
_NOTHING = "none"


def entries(kind: names.Kind, name: str) -> list[Entry]:
    """The parameters of one plug-in. Raises KeyError for one without a meaning."""
    function = names.find(kind, name)
    hints = names.hints(function)
    return [
        Entry(p, takes(hints.get(p, Any)), _default(function, p, parameter), meaning(kind, name, p))
        for p, parameter in names.parameters(function).items()
    ]


def meaning(kind: names.Kind, name: str, parameter: str) -> str:
    """What a parameter of a plug-in means. Raises KeyError if nobody says it."""
    if own := stated().get(name, {}).get(parameter):
        return own
    function = names.find(kind, name)
    doc = inspect.getdoc(function if inspect.isroutine(function) else type(function).__call__) or ""
    defined = definition(doc, parameter, [*names.parameters(function)])
    if defined and not defined.startswith("As in "):
        return defined
    shared = MEANINGS["task"] if kind == "task" else stated()["any"]
    words = re.sub(r" \([\w, ]+\)$", "", shared.get(parameter, "")) or mention(doc, parameter)
    if not words:
        raise KeyError(
            f"{kind} {name}: nobody says what {parameter} means; say it in its docstring"
        )
    return _sentence(words)


@functools.cache
def stated() -> Mapping[str, Mapping[str, str]]:
    """The words of parameters.yaml, by plug-in and parameter; under "any" those for all."""
    found: Mapping[str, Mapping[str, str]] = yaml.safe_load(
        Path(__file__).with_name("parameters.yaml").read_text(encoding="utf-8")
    )
    return found


def definition(doc: str, parameter: str, parameters: Sequence[str]) -> str:
    """What stands behind `one, two: ` in a docstring, up to the next one or the paragraph's end."""
    either = "|".join(map(re.escape, sorted(parameters, key=len, reverse=True)))
    start = re.compile(rf"(?:^|(?<=[.;]\s)){_DEFINES.format(either)}", re.MULTILINE)
    for paragraph in doc.split("\n\n"):
        found = [*start.finditer(paragraph)]
        ends = [*(match.start() for match in found[1:]), len(paragraph)]
        for this, end in zip(found, ends, strict=False):
            if parameter in this[1].split(", "):
                return _sentence(paragraph[this.end() : end])
    return ""


def mention(doc: str, parameter: str) -> str:
    """The first sentence of a docstring with the parameter's name in backticks."""
    sentences = re.split(r"(?<=[.:;])\s+(?=[A-Z`\"(])|\n\n", doc)
    return next((s for s in sentences if f"`{parameter}`" in s), "")


def page(kind: names.Kind) -> str:
    """The page of one kind of plug-ins, in Markdown."""
    functions = {name: names.find(kind, name) for name in names.known(kind)}
    records = {n: f for n, f in functions.items() if hasattr(f, "licence")}
    blocks = [f"# {TITLES[kind]}", ABOUT[kind]]
    for name, function in functions.items():
        if name not in records:
            blocks += [f"## {name}", *_about(function), *_table(kind, name, function)]
    if records:
        blocks += [*_benchmarks(kind, records)]
    return "\n\n".join(blocks) + "\n"


def pages() -> dict[str, str]:
    """Every page, by its place in the site."""
    return {f"reference/{TITLES[k].lower().split()[-1]}.md": page(k) for k in TITLES}


def _about(function: Callable[..., Any]) -> Iterator[str]:
    """What the file says of the method, what the function says, and what its constants say."""
    module = sys.modules[function.__module__]
    yield f"*{as_markdown((module.__doc__ or '').strip().partition(chr(10) * 2)[0])}*"
    yield as_markdown(_listed(inspect.getdoc(function) or "", [*names.parameters(function)]))
    if facts := [*_facts(module)]:
        yield "\n".join(f"- {fact}" for fact in facts)


def _listed(doc: str, parameters: Sequence[str]) -> str:
    """A docstring in which lines that begin with definitions are entries of a list."""
    starts = re.compile(_DEFINES.format("|".join(map(re.escape, [*parameters, " "]))))
    lines: list[str] = []
    inside = False
    for line in doc.split("\n"):
        found = starts.match(line)
        if found and not inside and lines and lines[-1]:
            lines.append("")
        inside = bool(line) and (inside or bool(found))
        named = ", ".join(f"`{name}`" for name in found[1].split(", ")) if found else ""
        lines.append(f"- {named}: {line[found.end() :]}" if found else line)
    return "\n".join(lines)


def _facts(module: ModuleType) -> Iterator[str]:
    if aggregator := getattr(module, "AGGREGATOR", None):
        yield f"Default aggregator: [`{aggregator}`](aggregators.md#{aggregator})."
    for flag, words in FLAGS.items():
        if getattr(module, flag, False) is True:
            yield f"It {words}." if not words.startswith("its") else f"I{words[1:]}."
    if reads := getattr(module, "READS", None):
        yield f"It reads {reads if isinstance(reads, str) else ', '.join(reads)}."


def _table(kind: names.Kind, name: str, function: Callable[..., Any]) -> Iterator[str]:
    found = entries(kind, name)
    kinds = {p.kind for p in inspect.signature(function).parameters.values()}
    if inspect.Parameter.VAR_KEYWORD in kinds:
        more = "Passed on by its own name; checked by whoever takes it."
        found.append(Entry("any other", "anything", "", more))
    if not found:
        yield "It has no parameters."
        return
    yield table(found)
    for p, parameter in names.parameters(function).items():
        if _is_long(parameter.default):
            yield f"`{p}` is, unless it is set:\n\n{_fenced(parameter.default)}"


def table(found: Sequence[Entry]) -> str:
    """Parameters as a table in Markdown."""
    rows = ["| parameter | takes | default | meaning |", "|---|---|---|---|"]
    for e in found:
        plain = e.default in (REQUIRED, ITS_OWN, _NOTHING, "below", "")
        cells = [
            f"`{e.name}`" if " " not in e.name else e.name,
            e.takes,
            e.default if plain else f"`{e.default}`",
            as_markdown(e.meaning),
        ]
        rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(rows)


def _benchmarks(kind: names.Kind, records: Mapping[str, Any]) -> Iterator[str]:
    yield "## Benchmarks"
    yield "Published problems, fetched from the Hugging Face hub, or read from a file of yours."
    rows = ["| name | what it is | problems | answers | licence |", "|---|---|---|---|---|"]
    for name, record in records.items():
        answers = record.answers if isinstance(record.answers, str) else record.answers["kind"]
        about = as_markdown(
            f"{record.about} {_sentence(record.note) if record.note else ''}"
        ).strip()
        count = "not known" if record.problems is None else f"{record.problems:,}"
        cells = [f"`{name}`", about, count, f"[`{answers}`](answers.md#{answers})", record.licence]
        rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    yield "\n".join(rows)
    yield "All of them take these; what is left out is the benchmark's own."
    first = next(iter(records))
    own = [
        Entry(e.name, e.takes, e.default if e.default == _NOTHING else ITS_OWN, e.meaning)
        for e in entries(kind, first)
    ]
    yield table(own)


def _default(function: Callable[..., Any], name: str, parameter: inspect.Parameter) -> str:
    """A default as YAML has it."""
    value = getattr(function, name, parameter.default)  # a benchmark's own stands in its record
    if value is parameter.empty:
        return REQUIRED
    if isinstance(value, Path):
        return ITS_OWN
    if value is None or value == () or value == []:
        return _NOTHING
    return "below" if _is_long(value) else _yaml(value)


def _yaml(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        plain = re.fullmatch(r"[\w</>:.{}-]+", value)
        return value if plain else '"' + value.replace("\n", "\\n") + '"'
    if isinstance(value, (tuple, list)):
        return f"[{', '.join(map(_yaml, value))}]"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{k}: {_yaml(v)}" for k, v in value.items()) + "}"
    return f"{value:g}" if isinstance(value, float) and value != int(value) else str(value)


def _is_long(value: object) -> bool:
    return isinstance(value, (str, tuple, list)) and len(_yaml(value)) > _LONG


def _fenced(value: object) -> str:
    """A long default, whole: a text as it is, an entry of a list a line."""
    if isinstance(value, str):
        lines = value.strip("\n").split("\n")
    else:
        assert isinstance(value, (tuple, list))
        lines = [f"- {_yaml(entry)}" for entry in value]
    return "\n".join(["```text", *lines, "```"])


def _sentence(text: str) -> str:
    words = " ".join(text.split()).rstrip(" ,;:")
    return words[:1].upper() + words[1:] + ("" if words.endswith((".", ")")) else ".")


def as_markdown(words: str) -> str:
    """A docstring's words as Markdown: signs stay signs, arXiv's numbers are links."""
    parts = re.split(r"(`[^`]*`)", words)
    for at in range(0, len(parts), 2):  # those in between are code
        part = re.sub(r"([<>*])", r"\\\1", parts[at])
        link = r"[arXiv:\1](https://arxiv.org/abs/\1)"
        parts[at] = re.sub(r"arXiv:(\d{4}\.\d{4,5})", link, part)
    return "".join(parts)


def _main() -> None:
    kinds = {str(kind): kind for kind in get_args(names.Kind)}
    asked = sys.argv[1] if len(sys.argv) == 2 else ""
    if asked not in kinds:
        raise RecipeError(unknown("kind", asked, kinds))
    sys.stdout.write(page(kinds[asked]))


if __name__ == "__main__":
    _main()
