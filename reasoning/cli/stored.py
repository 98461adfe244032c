"""The commands about what is stored already: report, tree, compare, calibrate, replay, merge."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from reasoning.cli.options import Answers, Logit, MaxTokens, SamplesOf, Where


def report(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Folders of runs.")],
    out: Annotated[Path, typer.Option(help="The page to write.")] = Path("report.html"),
    figures: Annotated[
        Path | None, typer.Option(help="A folder for the charts as PNG, SVG and PDF files.")
    ] = None,
    baseline: Annotated[
        str | None, typer.Option(help="Compare with this strategy only [all pairs].")
    ] = None,
    csv: Annotated[
        Path | None, typer.Option(help="A table too: a row for each strategy and problem.")
    ] = None,
    measure: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="A section of `reasoning eval`, or all there can be."),
    ] = None,
    tables: Annotated[
        Path | None, typer.Option(help="A folder for the tables as CSV and LaTeX files.")
    ] = None,
    size: Annotated[float, typer.Option(min=0.5, help="Keep the page near so many MB.")] = 5.0,
) -> None:
    """Write one HTML page about runs: numbers with intervals, charts, every rollout tree.

    The page needs no server and no network. Texts are shortened to keep its size, those of problems
    where the strategies agree first. An unfinished run is reported as far as it is.

    Example: reasoning report runs/quickstart --out quickstart.html --figures figures
    """
    from reasoning.cli.show import console

    written = _evals("report").write(
        runs,
        out,
        figures=figures,
        baseline=baseline,
        csv=csv,
        measures=measure or (),
        tables=tables,
        megabytes=size,
    )
    for note in written.notes:
        console.print(f"note: {note}", markup=False)
    console.print(
        f"{written.path}: {written.problems} problems, {written.strategies} strategies, "
        f"{written.size / 1e6:.1f} MB",
        markup=False,
        soft_wrap=True,
    )
    for folder in dict.fromkeys(file.parent for file in written.figures):
        names = [file.stem for file in written.figures if file.parent == folder]
        told = ", ".join(dict.fromkeys(names))
        console.print(f"{folder}: {len(names)} files: {told}", markup=False, soft_wrap=True)


def tree(
    run: Annotated[Path, typer.Argument(help="The folder of a run.")],
    problem: Annotated[
        str | None, typer.Argument(help="The name of a problem in it [says which there are].")
    ] = None,
    strategy: Annotated[
        str | None, typer.Option(help="A strategy of the run [the first one].")
    ] = None,
) -> None:
    """Print a problem's rollout tree: what was grown, scored, cut, cancelled and chosen.

    Example: reasoning tree runs/quickstart nano-test-0-0 --strategy best_of_n-n=4
    """
    from reasoning.cli.show import console

    _evals("report.terminal").show_tree(run, problem, strategy, console)


def compare(
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN...", help="Folders of runs, and of replays.")
    ],
    baseline: Annotated[
        str | None, typer.Option(help="The strategy to compare with [the first one].")
    ] = None,
    at: Annotated[
        str | None,
        typer.Option(
            metavar="COST", help="Read off at this cost: 1000tokens, 30seconds, 1e12flops."
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="A folder for the tables (CSV, LaTeX) and the figure.")
    ] = None,
    guard: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Accuracies through a reusable holdout kept there."),
    ] = None,
) -> None:
    """Put runs of one task side by side: strategies, paired differences, intervals, p-values.

    With --at: which is better at that cost, and is it significant, in one sentence. Replays are
    compared with runs and with each other so, at the largest cost they share unless --at names one.

    With --guard: accuracies alone, so told that choosing among many settings by them, again and
    again, does not fit the problems (Thresholdout). It takes 400 problems or more.

    Example: reasoning compare runs/before runs/after --at 1000tokens
    """
    from reasoning.cli.show import console

    _evals("measures.comparing").main(runs, baseline, at, out, console, guard)


def calibrate(
    run: Annotated[
        Path, typer.Argument(metavar="RUN", help="The folder of a run that watches tests.")
    ],
    out: Annotated[
        Path | None, typer.Option(help="The file to write [calibration.json in RUN].")
    ] = None,
    strategy: Annotated[
        list[str] | None, typer.Option(help="Only what this strategy has watched [all].")
    ] = None,
) -> None:
    """Measure whether the stopping tests of early_stop can tell right answers from wrong ones.

    The run asks each test after every step and lets it stop nothing:

        strategies: [{searcher: early_stop, test: [agreement, entropy, saturation], watch: true}]

    The file has the AUROC of each test's signal (0.5 is chance). Named as `calibration: FILE` it
    has early_stop refuse a test that is under 0.55, and gives saturation its curve. Calibrate on
    other problems than those that you report.

    Example: reasoning calibrate runs/watched --out stops.json
    """
    from reasoning.cli.show import console

    stopping = _evals("stopping")
    found = stopping.calibrate(run, strategy or ())
    path = out or run / "calibration.json"
    stopping.write(found, path)
    console.print(stopping.table(found))
    console.print(f"{path}: {found['problems']} problems", markup=False, soft_wrap=True)


def replay(
    source: Annotated[
        str,
        typer.Argument(
            help="A run's folder, a .jsonl(.gz) file of recorded samples, MathArena's outputs, a "
            "log of inspect_ai, samples of lm-eval."
        ),
    ],
    strategy: Annotated[
        list[str] | None,
        typer.Option(help="NAME or NAME-key=value, e.g. short_m_at_k-m=1 [all there are]."),
    ] = None,
    budget: Annotated[
        list[int] | None,
        typer.Option(min=1, help="Samples a problem [powers of two up to what is stored]."),
    ] = None,
    orders: Annotated[
        int, typer.Option(min=0, help="Permutations of each problem's samples.")
    ] = 20,
    seed: Annotated[int, typer.Option(help="Same seed, same orders.")] = 0,
    out: Annotated[Path | None, typer.Option(help="Folder for results [runs/replay-NAME].")] = None,
    where: Where = None,
    samples_of: SamplesOf = None,
    max_tokens: MaxTokens = None,
    answers: Answers = None,
    logit: Logit = False,
    cascade: Annotated[
        str | None,
        typer.Option(help="A recording of a larger model, asked where SOURCE's is not sure."),
    ] = None,
    large_where: Annotated[
        list[str] | None,
        typer.Option(metavar="FIELD=VALUE", help="--where for the larger model's file [the same]."),
    ] = None,
    large_samples_of: Annotated[
        str | None, typer.Option(help="--samples-of for the larger model's run [the fullest].")
    ] = None,
    by: Annotated[
        str | None,
        typer.Option(help="What tells how sure: agreement, logprob, score, tokens, gain."),
    ] = None,
    votes: Annotated[
        int, typer.Option(min=1, help="Samples that vote on each answer of a cascade.")
    ] = 1,
    prices: Annotated[
        str, typer.Option(metavar="SMALL,LARGE", help="Prices of a token in a cascade.")
    ] = "1,1",
) -> None:
    """Try other strategies on samples that are stored already: no model, no new tokens.

    Every strategy that needs no new generation, at every budget, in many orders: self_consistency,
    best_of_n, weighted_majority, best_of_majority, first_finish, short_m_at_k,
    adaptive_consistency, esc, and, where log-probabilities are stored, perplexity, cisc, deepconf.
    The folder gets `replay.json`, `replay.png` and `grades.jsonl`, which saves grading twice.

    With --cascade: every threshold of a cascade of two models at once, accuracy against cost.

    Example: reasoning replay runs/math500 --strategy self_consistency --strategy esc-window=4

    Example: reasoning replay runs/small --cascade runs/large --by logprob --prices 1,5
    """
    read: dict[str, Any] = {
        "where": where or (),
        "samples_of": samples_of,
        "max_tokens": max_tokens,
        "answers": answers,
        "logit": logit,
        "seed": seed,
        "out": out,
    }
    if cascade is None:
        _evals("replay.show").main(
            source, strategies=strategy or (), budgets=budget, orders=orders, **read
        )
        return
    _evals("replay.cascading").main(
        source,
        cascade,
        by=by,
        votes=votes,
        prices=prices,
        large_where=large_where or (),
        large_samples_of=large_samples_of,
        **read,
    )


def merge(
    folders: Annotated[
        list[Path],
        typer.Argument(metavar="DIR...", help="Folders of shards, or one that holds them all."),
    ],
    out: Annotated[
        Path | None, typer.Option(help="Folder of the whole run [the one that holds the shards].")
    ] = None,
) -> None:
    """Make one run of the shards that `reasoning run --shard` has made, with its table and files.

    Folders of another recipe, of other versions, twice there, missing or not complete are refused.

    Example: reasoning merge runs/math500
    """
    from reasoning.cli.show import show_summary
    from reasoning.runs import merge as shards

    show_summary(*shards.merge(folders, out, command=sys.argv))


def _evals(module: str) -> Any:
    """A module of `evals`, found when it is needed: evals build on reasoning."""
    from reasoning.runs import names

    return names.ours(f"evals.{module}")
