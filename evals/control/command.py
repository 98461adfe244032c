"""What people see of a fit: the policy, what it is worth on other problems, files; `main` is the
command behind it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, cast, get_args

from rich.console import Console

from evals.control.draw import draw
from evals.control.fit import Outcome, best_fixed, fit, folds, outcome, report, together
from evals.control.presets import START, judged, options_of, policy_for
from evals.control.seen import LEAST, Seen, bound_of, recorded
from evals.control.walk import Walk, joined
from evals.replay.samples import Recording, Stored
from reasoning.cli.show import plain
from reasoning.errors import RecipeError, unknown
from reasoning.runs.files import writing
from searchers.kernels.policy import Bound, Form, Policy

console = Console()
SHARES = (1 / 16, 1 / 8, 1 / 4, 1 / 2)
"""Budgets that the figure shows, of what all samples cost."""


def main(
    runs: Sequence[str],
    out: str | Path,
    *,
    form: str = "marginal",
    tokens: float | None = None,
    loss: float | None = None,
    reject: bool = False,
    presets: Sequence[str] = (),
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
    if form == "presets":
        return chosen_presets(runs, out, presets, tokens, test, choosers, orders, seed)
    kind = cast(Form, form)
    train = recorded(runs, presets, reading)
    judged = recorded(test, presets, reading) if test else None
    least = min(r.n for found in (train, judged or {}) for r in found.values())
    options: dict[str, Any] = {"most": least, "orders": orders, "seed": seed, "reject": reject}
    fitting = Seen.of(train, choosers, **options)
    whole = float(fitting.walk.tokens[:, :, -1].mean())
    budget = (whole / 4 if loss is None else whole) if tokens is None else tokens
    where = reading.get("where") or ()
    bound = bound_of(runs, fitting.first, where)
    judging = Seen.of(judged, list(fitting.walk.right), **options) if judged else fitting
    known = fitting.known & judging.known
    fitted = partial(fit, form=kind, known=known, bound=bound, seed=seed)
    policy = fitted(fitting.walk, budget=budget, loss=loss)
    notes = fitting.notes
    if judged:
        notes += _elsewhere(policy, fitting, judging, bound_of(test, judging.first, where))
    pairs, halves = _unseen(fitting.walk, judging.walk, seed)
    how = f"{', '.join(test)}{halves}" if judged else halves.removeprefix(": ")
    on = joined([judge for _, judge in pairs])

    def judged_at(cost: float, loss: float | None = None) -> Outcome:
        parts = [(fitted(a, budget=cost, loss=loss), b) for a, b in pairs]
        return together([outcome(b, p) for p, b in parts])

    found = judged_at(budget, loss)
    told = report(on, found, best_fixed(fitting.walk, float(found.tokens.mean())), seed=seed)
    told |= {"on": how, "budget": budget, "loss": loss, "notes": notes}
    policy = policy.model_copy(update={"report": told})
    show(policy)
    _write(Path(out), policy.model_dump_json(indent=2) + "\n")
    if figure is not None:
        several = [judged_at(cost) for cost in _costs(fitting.walk, budget)]
        draw(on, several, kind, Path(figure), found)
    return policy


def chosen_presets(
    runs: Sequence[str],
    out: str | Path,
    names: Sequence[str],
    tokens: float | None,
    test: Sequence[str],
    choosers: Sequence[str],
    orders: int,
    seed: int,
) -> Policy:
    """The same for presets, which are strategies of one run."""
    if len(runs) != 1 or len(test) > 1 or len(choosers) > 1:
        raise RecipeError("--form presets takes one run, one --test and one --chooser at most")
    chooser = choosers[0] if choosers else "majority"
    at = partial(options_of, names=names, chooser=chooser, orders=orders, seed=seed)
    fitting = at(Path(runs[0]))
    if len(fitting.problems) < LEAST:
        raise RecipeError(
            f"{runs[0]} has {len(fitting.problems)} problems, and a fit takes {LEAST}"
        )
    whole = float(fitting.tokens.mean(axis=(0, 1)).max())
    budget = whole / 4 if tokens is None else tokens
    train = Recording(runs[0], [Stored(p, []) for p in fitting.problems])
    bound = bound_of(runs, train, ()).model_copy(
        update={"samples": START + max(o.samples for o in fitting.options)}
    )
    policy = policy_for(fitting, budget, set(), bound).model_copy(update={"chooser": chooser})
    notes: list[str] = []
    if test:
        there = bound_of(test, train, ())
        notes += filter(None, [policy.elsewhere(there.model, there.task)])
        judging = at(Path(test[0]))
        if twice := set(judging.problems) & set(fitting.problems):
            raise RecipeError(f"{len(twice)} problems of --test are fitted to; give others")
        pairs, on = [(fitting, judging)], test[0]
    else:
        pairs = [(fitting.of(a), fitting.of(b)) for a, b in folds(len(fitting.problems), seed)]
        on = "two halves, each judged by a fit to the other problems"
    told = judged(pairs, budget, set(), seed) | {"on": on, "budget": budget, "notes": notes}
    policy = policy.model_copy(update={"report": told})
    for line in preset_lines(policy):
        console.print(plain(line), highlight=False, soft_wrap=True)
    _write(Path(out), policy.model_dump_json(indent=2) + "\n")
    return policy


def preset_lines(policy: Policy) -> list[str]:
    """What a policy of presets does and what it is worth, in sentences."""
    r, rule = policy.report, policy.route
    assert rule is not None
    picks = [policy.presets[i] for i in rule.options]
    said = ", ".join(f"{p.samples} more of {p.name}" if p.samples else "no more" for p in picks)
    return [
        f"presets, {policy.chooser}: {policy.start} samples first, then by bins of {rule.signal}: "
        f"{said}; fitted to {policy.bound.problems} problems of {policy.bound.task}",
        f"on {r['problems']} problems not fitted to ({r['on']}): accuracy {_ci(r['accuracy'])} for "
        f"{r['tokens']:,.0f} tokens",
        f"against the best one preset for all of no more cost where fitted "
        f"({r['fixed']['accuracy']:.3f} for {r['fixed']['tokens']:,.0f} tokens): "
        f"{r['fixed']['verdict']}",
        f"regret to the best preset of each problem, known beforehand "
        f"({r['oracle']['accuracy']:.3f} for {r['oracle']['tokens']:,.0f} tokens): "
        f"{_ci(r['oracle']['regret'], '+')}",
        *(f"note: {note}" for note in r["notes"]),
    ]


def _costs(walk: Walk, budget: float) -> list[float]:
    """The budgets that a figure shows."""
    least, whole = (float(walk.tokens[:, :, i].mean()) for i in (0, -1))
    return sorted({budget, *(whole * s for s in SHARES if whole * s >= 2 * least)})


def _elsewhere(policy: Policy, fitting: Seen, judging: Seen, there: Bound) -> list[str]:
    """What to keep in mind where a policy is judged on other samples than it was fitted to. Raises
    RecipeError where it cannot be."""
    _refuse(policy, judging.first)
    name, n = judging.first.name, judging.first.n
    notes = [*judging.notes, *filter(None, [policy.elsewhere(there.model, there.task)])]
    if lacking := fitting.known - judging.known:
        notes.append(f"{name} lacks {', '.join(sorted(lacking))}, which is not read then")
    if n < fitting.first.n:
        notes.append(f"{n} samples a problem count, all that {name} has")
    return notes


def _refuse(policy: Policy, judged: Recording) -> None:
    """Raise RecipeError where the policy reads what the samples do not tell."""
    reads = {name for look in policy.looks for name in look.rule.reads}
    if "length" in reads and all(d.tokens == 1 for d in judged.drawn()):
        raise RecipeError(
            f"the policy reads how long samples are, which {judged.name} does not tell; use "
            "--form posterior"
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


def show(policy: Policy) -> None:
    """What the policy does and what it is worth, in sentences."""
    for line in lines(policy):
        console.print(plain(line), highlight=False, soft_wrap=True)


def lines(policy: Policy) -> list[str]:
    """The report as sentences."""
    r = policy.report
    oracle = r["oracle"]
    cut = f", samples given up at a step below {policy.reject:g}" if policy.reject else ""
    way = f" of {policy.first.name}" if policy.first else ""
    found = [
        f"{policy.form}, {policy.chooser}{way}{cut}: {policy.start} samples first, "
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
    return f"{told['value']:{sign}z.3f} ({low:{sign}z.3f} to {high:{sign}z.3f})"


def _write(path: Path, text: str) -> None:
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    console.print(f"{plain(str(path))}: for searcher adaptive", soft_wrap=True)
