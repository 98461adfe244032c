"""A run's result in the form of the Hugging Face hub: `.eval_results/NAME.yaml` of a model."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from reasoning.errors import EngineError, RecipeError, StoreError
from reasoning.integrations import Scale, needed
from reasoning.integrations.rows import StoredRun
from reasoning.runs import names
from reasoning.runs.plan import SHARED_NOTE

_REVISION = re.compile(r"@([0-9a-f]{40})\b")


@dataclass(frozen=True, slots=True)
class Entry:
    """One result as the hub takes it: `text` is the file, `path` its place in a model's repository.

    `partial` says of how many problems it is, where that is fewer than the benchmark has.
    """

    path: str
    text: str
    partial: str | None


def entry(
    run: StoredRun,
    *,
    dataset: str | None = None,
    task: str | None = None,
    scale: Scale = "percent",
    source: str | None = None,
) -> Entry:
    """The result of the one strategy of `run`.

    `dataset` and `task` are the benchmark's names on the hub. Raises StoreError for a run that is
    not finished, RecipeError for one whose result nobody can tell.
    """
    hub = _hub()
    if run.summary is None:
        raise StoreError(f"{run.folder} is unfinished: run it to its end before it is published")
    if len(run.strategies) != 1:
        told = ", ".join(s.name for s in run.strategies)
        raise RecipeError(f"one result is published at a time; name one with --strategy: {told}")
    (numbers,) = (s for s in run.summary["strategies"] if s["name"] == run.strategies[0].name)
    if numbers["accuracy"] is None:
        raise RecipeError(f"{numbers['name']} has no accuracy: nothing of it was graded")
    benchmark = _benchmark(run.task)
    dataset = dataset or (benchmark and benchmark.hub.dataset)
    if dataset is None:
        raise RecipeError(
            f"nothing is known of the task {run.task!r} on the hub; say --dataset OWNER/NAME"
        )
    named("--dataset", dataset)
    if source is not None and not re.match(r"https?://[^\s/]+", source):
        raise RecipeError(f"--source {source!r} is no address; it begins with https://")
    config = benchmark.hub.configs[0] if benchmark else None
    shard = (run.manifest.get("run") or {}).get("shard")
    partial = _partial(numbers["problems"], benchmark) or (shard and f"shard {shard} of the run")
    found = _REVISION.search(str((run.manifest.get("run") or {}).get("task_source")))
    times = 100 if scale == "percent" else 1
    said = hub.EvalResultEntry(
        dataset_id=dataset,
        task_id=task or config or "default",
        value=round(times * numbers["accuracy"], 2 if times == 100 else 4),
        dataset_revision=found and found[1],
        date=str(run.manifest.get("started") or "")[:10] or None,
        source_url=source,
        notes=_notes(run, numbers, partial, times),
    )
    text = yaml.safe_dump(
        hub.eval_result_entries_to_yaml([said]), sort_keys=False, allow_unicode=True, width=100
    )
    safe = re.sub(r"[^A-Za-z0-9_.=-]+", "_", f"{run.task}-{numbers['name']}").strip("._")
    return Entry(f".eval_results/{safe}.yaml", text, partial)


def named(option: str, value: str) -> None:
    """Raise RecipeError for what names nothing on the hub."""
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", value, re.ASCII):
        raise RecipeError(f"{option} {value!r} is on nobody's account; say OWNER/NAME")


def upload(found: Entry, repo: str) -> str:
    """Propose the result to a model's repository, as a pull request; its address.

    Raises RecipeError for part of a benchmark, EngineError where the hub refuses or is not there.
    """
    hub = needed("huggingface_hub", "publishing", "huggingface_hub>=1.4")
    if found.partial:
        raise RecipeError(f"this is a result of {found.partial}: the hub's tables are of all")
    try:
        said = hub.HfApi().upload_file(
            path_or_fileobj=found.text.encode(),
            path_in_repo=found.path,
            repo_id=repo,
            create_pr=True,
            commit_message=f"Add {found.path}",
        )
    except Exception as error:  # of the client, of HTTP, of the network
        raise EngineError(
            f"the hub has not taken the result for {repo}: {error}; HF_TOKEN must hold a key that "
            "may propose changes to it"
        ) from error
    return str(said.pr_url or said.commit_url)


def _hub() -> Any:
    """The hub's own library. Raises RecipeError where it is missing, or knows of no results."""
    hub = needed("huggingface_hub", "publishing", "huggingface_hub>=1.4")
    if not hasattr(hub, "EvalResultEntry"):
        raise RecipeError(
            f"publishing needs huggingface_hub 1.4 or newer, and {hub.__version__} is here: "
            "pip install -U huggingface_hub"
        )
    return hub


def _benchmark(task: str) -> Any:
    """The record of a published benchmark, None for any other task."""
    if task not in names.known("task"):
        return None
    found: Any = names.find("task", task)
    return found if hasattr(found, "licence") else None


def _partial(problems: int, benchmark: Any) -> str | None:
    whole = getattr(benchmark, "problems", None)
    return f"{problems:,} of {whole:,} problems" if whole and problems < whole else None


def _notes(run: StoredRun, numbers: Mapping[str, Any], partial: str | None, times: int) -> str:
    """What a reader has to know: the strategy, how sure, what it cost, what the run itself says."""
    low, high = (f"{times * bound:.{1 if times == 100 else 3}f}" for bound in numbers["ci95"])
    count = max(1, numbers["problems"])
    model = (run.manifest.get("run") or {}).get("generator")
    asked = model.get("model", model.get("name")) if isinstance(model, Mapping) else model
    said = [
        f"{numbers['name']} of reasoning, on {asked}",
        f"95 % interval {low} to {high}",
        partial or f"{numbers['problems']:,} problems",
        f"{numbers['generated_tokens'] / count:,.0f} tokens a problem",
    ]
    assert run.summary is not None
    return "; ".join([*said, *(n for n in run.summary["notes"] if n != SHARED_NOTE)])
