"""What people see of a fit: the policy, what it is worth on other problems, files; `main` is the
command behind it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast, get_args

from rich.console import Console

from evals.control.draw import draw
from evals.control.fit import Outcome, best_fixed, fit, folds, outcome, report, together
from evals.control.walk import Walk, joined, walk
from evals.replay.evaluate import missing
from evals.replay.samples import Recording
from evals.replay.show import kind_of, pairs_of
from evals.replay.sources import load
from reasoning.backends.formats import recognised
from reasoning.cli.show import plain
from reasoning.errors import RecipeError, StoreError, unknown
from reasoning.runs.store import Store
from searchers.kernels.policy import Bound, Form, Known, Policy, model_of, task_of

console = Console()
LEAST = 4
"""Problems that a fit needs, two in each half."""
SHARES = (1 / 16, 1 / 8, 1 / 4, 1 / 2)
"""Budgets that the figure shows, of what all samples cost."""


def main(
    runs: Sequence[str],
    out: str | Path,
    *,
    form: str = "marginal",
    tokens: float | None = None,
    test: Sequence[str] = (),
    choosers: Sequence[str] = (),
    figure: str | Path | None = None,
    orders: int = 20,
    seed: int = 0,
    **reading: Any,
) -> Policy:
    """Fit a policy, show what it is worth, and write it. Raises UserError for what cannot be used.

    `reading` are the options of `evals.replay.sources.load` as the command line has them.
    """
    if form not in get_args(Form):
        raise RecipeError(unknown("form", form, get_args(Form)))
    if orders < 1:
        raise RecipeError(f"--orders must be 1 or more, got {orders}")
    kind = cast(Form, form)
    train, judged = _pooled(runs, reading), _pooled(test, reading) if test else None
    most = min(r.n for r in (train, judged) if r)
    options: dict[str, Any] = {"most": most, "orders": orders, "seed": seed}
    fitting = Seen.of(train, choosers, **options)
    budget = float(fitting.walk.tokens[:, :, -1].mean()) / 4 if tokens is None else tokens
    bound = _bound(runs, train)
    policy = fit(fitting.walk, kind, budget, fitting.known, bound, seed=seed)
    notes = list(train.notes)
    if judged:
        judging = Seen.of(judged, list(fitting.walk.right), **options)
        if lacking := fitting.known - judging.known:
            raise RecipeError(f"{judged.name} lacks {', '.join(sorted(lacking))} of samples")
        there = _bound(test, judged)
        notes += filter(None, [policy.elsewhere(there.model, there.task)])
        if most < train.n:
            notes.append(f"{most} samples a problem count, all that {judged.name} has")
        pairs, how = _unseen(fitting.walk, judging.walk, seed)
        how = f"{', '.join(test)}{how}"
    else:
        pairs, how = _unseen(fitting.walk, fitting.walk, seed)
        how = how.removeprefix(": ")
    on = joined([judge for _, judge in pairs])

    def judged_at(cost: float) -> Outcome:
        parts = [(fit(a, kind, cost, fitting.known, bound, seed=seed), b) for a, b in pairs]
        return together([outcome(b, p) for p, b in parts])

    told = report(on, judged_at(budget), best_fixed(fitting.walk, budget), seed=seed)
    told |= {"on": how, "budget": budget, "notes": notes}
    policy = policy.model_copy(update={"report": told})
    show(policy)
    _write(Path(out), policy.model_dump_json(indent=2) + "\n")
    if figure is not None:
        whole = float(fitting.walk.tokens[:, :, -1].mean())
        least = float(fitting.walk.tokens[:, :, 0].mean())
        costs = sorted({budget, *(whole * s for s in SHARES if whole * s >= 2 * least)})
        draw(on, [judged_at(cost) for cost in costs], kind, Path(figure))
    return policy


@dataclass(frozen=True, slots=True)
class Seen:
    """A recording as policies see it, and what is known of all of its samples."""

    walk: Walk
    known: set[Known]

    @classmethod
    def of(cls, recording: Recording, choosers: Sequence[str], **options: Any) -> Seen:
        """What `walk` makes of it. Raises RecipeError for what samples do not suffice for."""
        if len(recording.problems) < LEAST:
            raise RecipeError(
                f"{recording.name} has {len(recording.problems)} problems; a fit takes {LEAST} at "
                "the least, and a hundred to be worth anything"
            )
        if recording.n < 2:
            raise RecipeError(f"{recording.name} has one sample a problem, so there is no choice")
        lacks = missing(recording)
        if "tokens" in lacks:
            raise RecipeError(f"a budget is counted in tokens, and a fit needs {lacks['tokens']}")
        every: tuple[Known, ...] = get_args(Known)
        known = {need for need in every if need not in lacks}
        scored = [x for d in recording.drawn() if d.scored for x in d.steps]
        if "score" in known and min(scored) < 0:
            raise RecipeError("scores below 0 are logits, and are read as shares here: say --logit")
        able = ["majority", *(["best", "weighted_majority"] if "score" in known else [])]
        if wrong := [name for name in choosers if name not in able]:
            raise RecipeError(unknown("chooser that the samples suffice for", wrong[0], able))
        return cls(walk(recording, list(choosers) or able, **options), known)


def _pooled(sources: Sequence[str], reading: Mapping[str, Any]) -> Recording:
    """The problems of all sources, each in one of them alone."""
    options = {
        **reading,
        "where": pairs_of(reading.get("where") or ()),
        "answers": kind_of(reading.get("answers")),
    }
    found = [load(source, **options) for source in sources]
    ids = [p.id for r in found for p in r.problems]
    if twice := sorted({i for i in ids if ids.count(i) > 1} if len(found) > 1 else ()):
        raise RecipeError(
            f"{len(twice)} problems are in two of {', '.join(sources)}, {twice[0]!r} for one; fit "
            "to runs of different problems"
        )
    return Recording(
        ", ".join(r.name for r in found),
        [p for r in found for p in r.problems],
        list(dict.fromkeys(note for r in found for note in r.notes)),
    )


def _unseen(fitting: Walk, judging: Walk, seed: int) -> tuple[list[tuple[Walk, Walk]], str]:
    """Problems to fit to and others to judge on, and how they were told apart, if they had to be:
    where both have some in common, two halves are judged by fits to what is not in them."""
    if not set(fitting.problems) & set(judging.problems):
        return [(fitting, judging)], ""
    pairs = []
    for _, part in folds(len(judging.problems), seed):
        half = judging.of(part)
        pairs.append((fitting.without(half.problems), half))
    if min(len(fitted.problems) for fitted, _ in pairs) < 2:
        raise RecipeError("nearly all problems fitted to are judged, too; give others to --test")
    return pairs, ": two halves, each judged by a fit to the other problems"


def _bound(sources: Sequence[str], recording: Recording) -> Bound:
    """What the samples are of: as the manifest of a run says, or the rows of a file."""
    models, tasks = set[str](), set[str]()
    for source in sources:
        found = recognised(source)
        if found.form == "run_folder":
            run = (Store(source).read_json("manifest.json") or {}).get("run", {})
            models.add(model_of(run.get("generator")))
            tasks.add(task_of(run.get("task")))
            continue
        row = next(iter(found.rows(_untold)), {})
        models.add(str(row.get("model")))
        tasks.add(str(row.get("dataset")))
    model, task = (", ".join(sorted(x)) for x in (models, tasks))
    return Bound(model=model, task=task, problems=len(recording.problems), samples=recording.n)


def _untold(kind: str, where: str) -> None:
    """What is left out is told when samples are read."""
    del kind, where


def show(policy: Policy) -> None:
    """What the policy does and what it is worth, in sentences."""
    for line in lines(policy):
        console.print(plain(line), highlight=False, soft_wrap=True)


def lines(policy: Policy) -> list[str]:
    """The report as sentences."""
    r = policy.report
    oracle = r["oracle"]
    found = [
        f"{policy.form}, {policy.chooser}: {policy.start} samples first, "
        f"{policy.sizes[-1]} at most; fitted to {policy.bound.problems} problems of "
        f"{policy.bound.task} by {policy.bound.model}",
        f"on {r['problems']} problems not fitted to ({r['on']}): accuracy {_ci(r['accuracy'])} for "
        f"{r['tokens']:,.0f} tokens, {r['samples']:.1f} samples",
        f"against {r['fixed']['chooser']} of as many samples for all, at equal cost: "
        f"{r['fixed']['verdict']}",
        *map(_against, r["full"]),
        f"regret to who knows each problem's best number beforehand: {_ci(oracle['regret'], '+')}",
    ]
    if sure := r.get("sure"):
        found.append(
            f"predicted chance of being right: ECE {sure['ece']:.3f}, Brier {sure['brier']:.3f}; "
            f"wrong among the surest half {sure['risk']['0.5']:.3f}, among all "
            f"{sure['risk']['1.0']:.3f}"
        )
    return [*found, *(f"note: {note}" for note in r["notes"])]


def _against(full: Mapping[str, Any]) -> str:
    return (
        f"against {full['chooser']} of all {full['samples']} samples ({_ci(full['accuracy'])}): "
        f"{_ci(full['difference'], '+')} for {_ci(full['tokens_share'])} of the tokens"
    )


def _ci(told: Mapping[str, Any], sign: str = "") -> str:
    low, high = told["ci95"]
    return f"{told['value']:{sign}.3f} ({low:{sign}.3f} to {high:{sign}.3f})"


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise StoreError(
            f"{path} cannot be written: {error.strerror or error}; choose another --out"
        ) from error
    console.print(f"{plain(str(path))}: for searcher adaptive", soft_wrap=True)
