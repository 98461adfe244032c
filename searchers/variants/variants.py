"""Prompts dealt to slots: breadth, DIV-SE, read-twice, languages and any of your own (2025,
arXiv:2502.10858; 2023, arXiv:2310.07088; 2024, arXiv:2407.05483)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from itertools import cycle, islice
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import AfterValidator, Field

from reasoning.answers import after_thoughts
from reasoning.errors import RecipeError, unknown
from reasoning.search import Search
from searchers.threads.plans import listed
from searchers.tree.ab_mcts import filled
from searchers.turns.rounds import asked
from searchers.variants.dealing import deal, put

AGGREGATOR = "majority"


@dataclass(frozen=True)
class Preset:
    """What presets.yaml says of one; its head explains the fields."""

    prompts: tuple[str, ...] = ()
    solicit: int = 0
    ask: str = ""
    wrap: str = "{question}\n\n{line}"
    each: int = 1
    temperature: float | None = None


def known(name: str) -> str:
    """`name`, if it is "" or a preset's. Raises RecipeError."""
    if name and name not in presets():
        raise RecipeError(unknown("preset", name, presets()))
    return name


def asking(templates: tuple[str, ...] | None) -> tuple[str, ...] | None:
    """Templates that say the question. Raises RecipeError for one that does not."""
    for template in templates or ():
        if "{question}" not in template:
            raise RecipeError(f"the prompt {template!r:.60} does not ask: it contains {{question}}")
    return templates


async def variants(
    search: Search,
    *,
    preset: Annotated[str, AfterValidator(known)] = "",
    prompts: Annotated[tuple[str, ...] | None, AfterValidator(asking)] = None,
    solicit: Annotated[int, Field(ge=0, le=100)] | None = None,
    ask: str | None = None,
    wrap: str | None = None,
    each: Annotated[int, Field(ge=1)] | None = None,
    n: Annotated[int, Field(ge=1)] | None = None,
    temperature: float | None = None,
    control: bool = False,
) -> None:
    """Deal `prompts` to n slots in turn, one sample each, and vote: breadth of prompts for depth.

    A prompt is a template over {question}; `preset` names a set of them (searchers/variants/
    presets.yaml: breadth, div_se, idiv_se, read_twice, languages, direct), of which any field may
    be set anew. `solicit` more are asked of the model in one call (`ask`) and put into `wrap`. n is
    each * prompts unless it is stated. Different prompts are worth more than as many samples of one
    only if their errors differ: `control` gives every slot
    the first prompt, which is the comparison. The prompt {question} alone is self-consistency.
    """
    stated = dict[str, Any](prompts=prompts, solicit=solicit, ask=ask, wrap=wrap, each=each)
    stated |= {"temperature": temperature}
    named = presets()[known(preset)] if preset else Preset()
    given = replace(named, **{k: v for k, v in stated.items() if v is not None})
    told, read = list(given.prompts), []
    if given.solicit:
        turn = asked(search, given.ask, n=str(given.solicit))
        if (note := await search.draw(search.root, until="end", turn=turn)) is None:
            return
        lines = listed(after_thoughts(note.text), given.solicit)
        told += [filled(given.wrap, {"line": line}) for line in lines]
        read = [note]
    told = told or ["{question}"]
    number = n or given.each * len(told)
    question = {"question": search.problem.prompt}
    texts = [filled(t, question) for t in islice(cycle(told[:1] if control else told), number)]
    at = None if control else given.temperature
    turns = (put(search, text) for text in texts)
    await deal(search, turns, lambda _, node: search.emit(node), temperature=at, sources=read)


@cache
def presets() -> dict[str, Preset]:
    """Those that come with the framework, by name."""
    found = yaml.safe_load(Path(__file__).with_name("presets.yaml").read_text(encoding="utf-8"))
    return {name: Preset(**{**of, "prompts": tuple(of["prompts"])}) for name, of in found.items()}
