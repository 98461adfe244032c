"""Runs as logs of inspect_ai, written by its own library: one log a strategy.

A problem is a sample, each candidate an epoch of it. The score `sample` is the candidate's own,
`strategy` that of the answer which was chosen. Written against inspect_ai 0.3.285.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import Any

from reasoning.integrations import needed
from reasoning.integrations.rows import Stored, StoredRun, ends, text, usage
from reasoning.runs.files import drafted, file_name
from reasoning.tree import Node, RolloutTree
from reasoning.usage import Usage

MODEL = "none/none"
"""What `inspect score` can load anywhere. It takes no arguments: the metadata say who was asked."""
_STOPS = {"end": "stop", "stop": "stop", "written": "stop", "length": "max_tokens"}


def export(run: StoredRun, out: Path) -> list[Path]:
    """Write a log for each strategy into the folder `out`; the files. Raises StoreError."""
    log = needed("inspect_ai.log", "a log of inspect_ai", "reasoning[inspect]")
    files = []
    for strategy, found in groupby(run.results(), lambda stored: stored.strategy):
        path = out / f"{file_name(strategy)}.eval"
        with drafted(path) as draft:
            log.write_eval_log(_log(log, run, strategy, [*found]), str(draft), format="eval")
        files.append(path)
    return files


def _log(log: Any, run: StoredRun, strategy: str, found: Sequence[Stored]) -> Any:
    samples = [sample for stored in found for sample in _samples(log, run, stored)]
    recipe = dict(run.manifest.get("run") or {})
    began = str(run.manifest.get("started") or datetime.now(UTC).isoformat(timespec="seconds"))
    ended = datetime.fromtimestamp((run.folder / "results.jsonl").stat().st_mtime, UTC)
    spent = sum((usage(stored.line) for stored in found), Usage())
    epochs = max((sample.epoch for sample in samples), default=1)
    return log.EvalLog(
        status="success" if run.summary is not None else "cancelled",
        eval=log.EvalSpec(
            created=began,
            run_id=run.name,
            task=run.task or run.name,
            dataset=log.EvalDataset(
                name=run.task, samples=len(found), sample_ids=[s.problem for s in found]
            ),
            model=MODEL,
            solver=strategy,
            config=log.EvalConfig(epochs=epochs),
            metadata={
                "run": run.name,
                "strategy": strategy,
                "generator": _shown(recipe.get("generator")),
                "notes": [*dict.fromkeys(run.notes)],
            },
        ),
        samples=samples,
        results=_results(log, samples, found),
        stats=log.EvalStats(
            started_at=began,
            completed_at=ended.isoformat(timespec="seconds"),
            model_usage={MODEL: _usage(spent.prompt_tokens, spent.cached_tokens, spent)},
        ),
    )


def _shown(spec: Any) -> Any:
    return spec.get("model", spec.get("name")) if isinstance(spec, Mapping) else spec


def _samples(log: Any, run: StoredRun, stored: Stored) -> Iterator[Any]:
    """One for each candidate; one without a text where there is none."""
    from inspect_ai.model import ChatMessageAssistant, ChatMessageUser, ModelOutput
    from inspect_ai.scorer import Score

    line = stored.line
    asked = "" if run.private else text(line.get("question")) or ""
    nodes = ends(stored)
    told: list[Mapping[str, Any]] = sorted(line.get("candidates") or (), key=lambda c: c["path"])
    whole = line.get("correct")
    for epoch, candidate in enumerate(told or [{}], start=1):
        path = tuple(candidate.get("path") or ())
        node = nodes.get(path)
        said = "" if node is None or run.private else text(node.text) or ""
        own = candidate.get("correct") if told else whole
        scores = {
            name: Score(value="C" if right else "I", answer=text(answer))
            for name, right, answer in (
                ("sample", own, candidate.get("answer")),
                ("strategy", whole, line.get("answer")),
            )
            if isinstance(right, bool)
        }
        output = ModelOutput(model=MODEL)
        if node is not None:
            stop: Any = _STOPS.get(node.sample.finish, "unknown")
            output = ModelOutput.from_content(MODEL, said, stop)
            prompts = [n.sample for n in node.lineage()]
            output.usage = _usage(
                sum(s.prompt_tokens for s in prompts), sum(s.cached_tokens for s in prompts), node
            )
        yield log.EvalSample(
            id=text(stored.problem),
            epoch=epoch,
            input=asked,
            target=text(line.get("gold")) or "",
            messages=[ChatMessageUser(content=asked), ChatMessageAssistant(content=said)],
            output=output,
            scores=scores or None,
            model_usage={} if output.usage is None else {MODEL: output.usage},
            metadata=_metadata(run, stored, candidate, first=epoch == 1),
        )


def _metadata(
    run: StoredRun, stored: Stored, candidate: Mapping[str, Any], *, first: bool
) -> dict[str, Any]:
    """Plain JSON. What is of the whole search stands with the first of its samples."""
    line = stored.line
    path = candidate.get("path")
    found: dict[str, Any] = {"path": path, "chosen": path is not None and path == line.get("node")}
    found |= {name: candidate.get(name) for name in ("weight", "rank", "steps")}
    if first:
        found |= {name: line.get(name) for name in ("stop_reason", "usage", "failures", "meta")}
        if stored.tree is not None:
            found["tree"] = tree_as_json(stored.tree, texts=not run.private)
    return found


def tree_as_json(tree: RolloutTree, *, texts: bool = True) -> list[dict[str, Any]]:
    """A mapping for each node: its place, text, end, tokens and scores."""
    return [
        {
            "path": list(node.path),
            "text": text(node.sample.text) if texts else None,
            "finish": node.sample.finish,
            "tokens": node.sample.generated_tokens,
            "scores": {text(name): list(steps) for name, steps in node.scores.items()},
            "candidate": node.emitted is not None,
        }
        for node in tree
    ]


def _usage(prompt: int, cached: int, spent: Usage | Node) -> Any:
    from inspect_ai.model import ModelUsage

    return ModelUsage(
        input_tokens=prompt - cached,
        input_tokens_cache_read=cached,
        output_tokens=spent.generated_tokens,
        total_tokens=prompt + spent.generated_tokens,
    )


def _results(log: Any, samples: Sequence[Any], found: Sequence[Stored]) -> Any:
    """Accuracies of both scores, each the mean over problems of the mean over their epochs."""
    scores = []
    for name in ("sample", "strategy"):
        by_problem: dict[str, list[float]] = {}
        for sample in samples:
            if score := (sample.scores or {}).get(name):
                by_problem.setdefault(sample.id, []).append(float(score.value == "C"))
        means = [math.fsum(values) / len(values) for values in by_problem.values()]
        if means:
            accuracy = math.fsum(means) / len(means)
            spread = math.fsum((m - accuracy) ** 2 for m in means)
            metrics = {"accuracy": accuracy}
            if len(means) > 1:
                metrics["stderr"] = math.sqrt(spread / (len(means) - 1) / len(means))
            scores.append(
                log.EvalScore(
                    name=name,
                    scorer=name,
                    reducer="mean",
                    scored_samples=len(means),
                    unscored_samples=len(found) - len(means),
                    metrics={k: log.EvalMetric(name=k, value=v) for k, v in metrics.items()},
                )
            )
    return log.EvalResults(
        total_samples=len(samples), completed_samples=len(samples), scores=scores
    )
