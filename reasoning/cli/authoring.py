"""The commands that help to write a recipe: init, schema."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, get_args

import typer


def init(
    out: Annotated[Path, typer.Argument(help="The file to write.")] = Path("recipe.yaml"),
    task: Annotated[
        str | None, typer.Option(help="A benchmark, or a .jsonl file with question and answer.")
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(help="nano, http://HOST:PORT/v1 of a server, or a model for vLLM."),
    ] = None,
    strategies: Annotated[
        str | None, typer.Option(help="Searchers, with commas between them.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the file.")] = False,
) -> None:
    """Write a recipe from the answers to three questions: which problems, model, strategies.

    What an option answers is not asked. The recipe is checked before it is written; change it as
    you like: `reasoning list recipe` shows every field.

    Example: reasoning init mine.yaml --task gsm8k --model http://localhost:8000/v1
    """
    from reasoning.errors import StoreError
    from reasoning.runs.editing import read_yaml
    from reasoning.runs.files import writing
    from reasoning.runs.recipe import parse
    from reasoning.runs.recipe import strategies as expanded

    if out.exists() and not force:
        raise StoreError(f"{out} is there already; say --force to replace it, or another name")
    task = task or _answer("Which problems? A benchmark, or a .jsonl file", "nano")
    model = model or _answer(
        "Which model? nano, the address of a server, or a model for vLLM", "nano"
    )
    chosen = strategies or _answer(
        "Which strategies? Several with commas", "self_consistency, best_of_n"
    )
    data = drafted(task, model, [s for s in re.split(r"[,\s]+", chosen) if s])
    text = written(data)
    expanded(parse({"name": out.stem, **read_yaml(text)}))
    with writing(out, "name"):
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(text, encoding="utf-8")
    typer.echo(f"{out}: try `reasoning check {out}`, then `reasoning run {out} --limit 5`")


def _answer(question: str, default: str) -> str:
    from reasoning.errors import RecipeError

    try:
        said: str = typer.prompt(question, default=default)
    except typer.Abort:
        if sys.stdin.isatty():
            raise
        typer.echo()
        raise RecipeError(
            "init asks three questions, and there is no terminal to answer them; say it with "
            "options: --task nano --model nano --strategies self_consistency,best_of_n"
        ) from None
    return said


def schema(
    out: Annotated[Path | None, typer.Option(help="A file [standard output].")] = None,
) -> None:
    """Write the JSON schema of recipes, by which editors complete and check them.

    It knows every plug-in that is installed, with its parameters. For editors with the YAML
    language server, begin a recipe with: # yaml-language-server: $schema=recipe.schema.json

    Example: reasoning schema --out recipe.schema.json
    """
    import json

    from reasoning.integrations.schema import schema as made
    from reasoning.runs.files import writing

    text = json.dumps(made(), indent=1, ensure_ascii=False) + "\n"
    if out is None:
        typer.echo(text, nl=False)
        return
    with writing(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(text, encoding="utf-8")
    typer.echo(str(out))


def drafted(task: str, model: str, searchers: Sequence[str]) -> dict[str, Any]:
    """A recipe of three answers. Raises RecipeError for a name that is none."""
    from reasoning.runs import names

    data: dict[str, Any] = {"task": _task(task), "generator": _generator(model)}
    kinds: tuple[names.Kind, ...] = ("task", "generator")
    for kind in kinds:
        spec = data[kind]
        names.find(kind, spec if isinstance(spec, str) else spec["name"])
    entries = [_entry(name, names.find("searcher", name)) for name in searchers]
    if any(needs_scores(name) for name in searchers):
        data["verifier"] = "nano_prm" if model == "nano" else "logprob"
    data["strategies"] = entries
    data["sampling"] = {"temperature": 0.8, "max_tokens": 1024}
    data["seed"] = 0
    return data


def needs_scores(searcher: str) -> bool:
    """Whether it, or who chooses after it, cannot do without a verifier."""
    from reasoning.chain import Stage
    from reasoning.runs import names

    function = names.find("searcher", searcher)
    chooser = names.find("aggregator", names.default_aggregator(function))
    return any(Stage("searcher", f).says("SCORES") for f in (function, chooser))


def _task(said: str) -> Any:
    if said == "nano":
        return {"name": "nano", "n": 20}
    return {"name": "jsonl", "path": said} if Path(said).suffix or "/" in said else said


def _generator(said: str) -> Any:
    if said.startswith(("http://", "https://")):
        return {"name": "openai", "base_url": said}
    return {"name": "vllm", "model": said} if "/" in said else said


def _entry(name: str, function: Any) -> Mapping[str, Any]:
    """A strategy with what has no default: 8 samples, 4 of anything else."""
    from reasoning.chain import Stage
    from reasoning.errors import RecipeError
    from reasoning.runs import names

    hints, given = names.hints(function), names.defaults(function)
    asked = [key for key in names.parameters(function) if key not in given]
    models = [key for key in Stage("searcher", function).says("MODELS") or () if key in asked]
    other = [key for key in asked if (get_args(hints[key]) or (hints[key],))[0] not in (int, float)]
    if models or other:
        what = f"asks several models ({', '.join(models)})" if models else f"needs {other[0]}"
        raise RecipeError(
            f"{name} {what}, which three questions do not tell; write its recipe by hand: "
            "`reasoning list recipe` shows every field"
        )
    return {"searcher": name, **{key: 8 if key == "n" else 4 for key in asked}}


def written(data: Mapping[str, Any]) -> str:
    """YAML as people write it: one field a line, short mappings in braces."""
    import yaml

    head = (
        "# reasoning check this file shows what it would run; reasoning list recipe every field\n"
    )
    lines = []
    for key, value in data.items():
        if isinstance(value, list):
            items = (yaml.safe_dump(v, default_flow_style=True, sort_keys=False) for v in value)
            lines += [f"{key}:\n", *(f"  - {item}" for item in items)]
        else:
            flow = None if isinstance(value, dict) else False
            lines.append(yaml.safe_dump({key: value}, default_flow_style=flow, sort_keys=False))
    return head + "".join(lines)
