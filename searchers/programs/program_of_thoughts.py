"""Answers that programs print: program of thoughts, and programs in Prolog (Chen et al., 2022,
arXiv:2211.12588; 2024, arXiv:2405.17893)."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from reasoning.sandbox import Memory, Seconds
from reasoning.search import Search
from reasoning.tree import Turn
from searchers.programs.running import Language, blocks, installed, run
from searchers.threads.plans import anew, concluded
from searchers.tree.ab_mcts import filled
from searchers.variants.dealing import put

AGGREGATOR = "majority"
_ASK = """\
{question}

Do not work this out. Write one complete program in {language}, fenced as ```{language}, that \
computes the answer and prints it, and nothing else{main}."""
_AGAIN = """\
The program did not give an answer. It said:

{error}

Write it again, complete and without this error."""


async def program_of_thoughts(
    search: Search,
    *,
    n: Annotated[int, Field(ge=1)] = 1,
    retries: Annotated[int, Field(ge=0)] = 2,
    language: Language = "python",
    seconds: Seconds = 10.0,
    memory_mb: Memory = 1024.0,
    plain: bool = True,
    ask: str = _ASK,
    again: str = _AGAIN,
) -> None:
    """Have n programs written that print the answer, run them, and vote on what they print.

    A program that fails, prints nothing, or is not there is asked for again with what went wrong,
    `retries` times; after that a plain solution is drawn in its place, unless `plain` is off. What
    is printed last is the answer, in a note below the program that costs nothing. Computing is the
    interpreter's, so errors left are those of the model of the problem. A Prolog program is called
    by its main/0, and needs SWI-Prolog. The sandbox contains accidents, not attacks.
    """
    installed(language)
    main = " (by main/0)" if language == "prolog" else ""
    text = filled(ask, {"question": search.problem.prompt, "language": language, "main": main})

    async def solve(view: Search, _: int) -> None:
        at, turn = view.root, put(view, text)
        for _try in range(retries + 1):
            node = await view.draw(at, until="end", turn=turn)
            if node is None:
                return
            error = f"There is no block fenced as ```{language} in it."
            if found := blocks(node.text, language):
                out = await run(
                    view, node, found[-1], language=language, seconds=seconds, memory_mb=memory_mb
                )
                if out.printed and not out.error:
                    said = f"{node.text}\n\n\\boxed{{{out.printed.splitlines()[-1].strip()}}}"
                    view.emit(concluded(view, node, said, [node]))
                    return
                error = out.told or "(nothing)"
            at, turn = node, Turn.user(filled(again, {"error": error}))
        if plain:
            await view.draw(at, until="end", turn=anew(view), land=view.emit)

    await search.split(n, solve)
