"""The folder of a run: the independent whole solutions of one of its strategies."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from reasoning.backends.formats.lines import Tell, json_lines
from reasoning.errors import RecipeError, StoreError
from reasoning.tree import Node, RolloutTree


def rows(files: list[Path], tell: Tell) -> Iterator[dict[str, Any]]:
    """The problems of the strategy with most samples, with the right answer where it is known."""
    (folder,) = files
    for row, tree in results(folder, fullest(folder, None), tell):
        try:
            yield {
                "id": row["problem"],
                "question": row.get("question"),
                "answer": row.get("gold"),
                "run": folder.name,
                "samples": [_plain(node, found) for node, found in solutions(row, load(tree))],
            }
        except DAMAGE:
            tell("trees", str(tree))


DAMAGE = (StoreError, OSError, ValueError, KeyError, TypeError, AttributeError)
"""What reading a damaged tree, or one that does not belong to its result, raises."""


def load(tree: Path) -> RolloutTree:
    """One of `results`, with its log-probabilities. Raises one of DAMAGE."""
    return RolloutTree.load(tree)


def results(folder: Path, strategy: str, tell: Tell) -> Iterator[tuple[dict[str, Any], Path]]:
    """The results of a strategy, the first of each problem, and where their trees are."""
    from reasoning.runs.store import Store

    store, seen = Store(folder), set()
    for row in json_lines(folder / "results.jsonl", tell):
        if isinstance(row, dict) and row.get("strategy") == strategy:
            problem = row.get("problem")
            if isinstance(problem, str) and problem not in seen:
                seen.add(problem)
                yield row, store.tree_path(strategy, problem)


def solutions(
    row: Mapping[str, Any], tree: RolloutTree
) -> Iterator[tuple[Node, Mapping[str, Any] | None]]:
    """The nodes of a result's samples with what was found in them; None for a call that failed.

    What was not drawn as the others were is left out: a greedy first one, text a search wrote.
    """
    candidates = {tuple(c["path"]): c for c in row["candidates"]}
    for node in tree.root.children:
        candidate = candidates.get(node.path)
        if candidate is None:
            if node.sample.finish in ("failed", "loop"):
                yield node, None
        elif not (candidate.get("hedge") or candidate.get("written")):
            yield node, candidate


def steps(node: Node, candidate: Mapping[str, Any]) -> tuple[float, ...]:
    """The scores of a sample's steps, those of the only verifier where the result names none."""
    if candidate["steps"]:
        return tuple(map(float, candidate["steps"]))
    scores = list(node.scores.values())
    return tuple(map(float, scores[0])) if len(scores) == 1 else ()


def _plain(node: Node, candidate: Mapping[str, Any] | None) -> dict[str, Any]:
    sample = node.sample
    stored = sample.to_json(digits=None)
    return {
        **{k: stored[k] for k in ("logprobs", "confidence", "top_logprobs") if k in stored},
        "text": sample.text if candidate else "",
        "n_tokens": sample.generated_tokens,
        "n_prompt_tokens": sample.prompt_tokens,
        "finish_reason": "stop" if candidate and sample.finish == "end" else "length",
        "answer": candidate["answer"] if candidate else None,
        "correct": bool(candidate["correct"]) if candidate else False,
        **({"scores": list(found)} if candidate and (found := steps(node, candidate)) else {}),
        **({"model": sample.model} if sample.model else {}),
    }


def _sizes(folder: Path) -> dict[str, list[int]]:
    """Of each strategy its independent whole solutions, and how many of them have scores."""
    sizes: dict[str, list[int]] = {}
    for row in json_lines(folder / "results.jsonl"):
        try:
            whole = [c for c in row["candidates"] if len(c["path"]) == 1]
            size = sizes.setdefault(str(row["strategy"]), [0, 0])
            if whole and len(whole) == len(row["candidates"]):
                size[0] += len(whole) if not row["usage"]["cancelled_calls"] else 0
                size[1] += sum(bool(c["steps"]) for c in whole)
        except (KeyError, TypeError):
            continue
    return sizes


def scored(folder: Path) -> tuple[str, ...]:
    """The strategies whose independent whole solutions have scores, those with fewest first."""
    found = [(size, name) for name, size in _sizes(folder).items() if size[0] and size[1]]
    return tuple(name for _, name in sorted(found))


def fullest(folder: Path, strategy: str | None) -> str:
    """The strategy with most whole solutions, `strategy` if given.

    Of those with nearly as many that with most scores: damage may have cost it a few. Raises
    RecipeError where there is none, or `strategy` is none.
    """
    sizes = _sizes(folder)
    if not sizes:
        raise RecipeError(
            f"{folder} holds no result yet: none of its problems is done; the command that began "
            "the run continues it"
        )
    usable = {name: size for name, size in sizes.items() if size[0]}
    if strategy is not None and strategy not in usable:
        raise RecipeError(
            f"{folder} has no independent whole solutions of strategy {strategy!r}; it has those "
            f"of {', '.join(usable) or 'none'}"
        )
    if not usable:
        raise RecipeError(
            f"{folder} holds no independent whole solutions: trees that were grown step by step "
            "cannot be replayed as another strategy; replay a run of self_consistency, say"
        )
    most = max(size[0] for size in usable.values())
    near = [name for name, size in usable.items() if size[0] >= 0.9 * most]
    return strategy or max(near, key=lambda name: (usable[name][1], usable[name][0]))
