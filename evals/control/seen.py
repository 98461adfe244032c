"""Stored samples as policies are fitted to them: read, counted, and walked through in orders."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from evals.control.presets import presets_of
from evals.control.walk import Walk, several, walk
from evals.replay.evaluate import missing
from evals.replay.samples import Recording
from evals.replay.show import kind_of, pairs_of
from evals.replay.sources import load
from reasoning.backends.formats import kept, recognised
from reasoning.errors import RecipeError, unknown
from reasoning.runs.store import Store
from searchers.kernels.policy import CHOOSERS, Bound, Known, Preset, model_of, task_of

LEAST = 4
"""Problems that a fit needs, two in each half."""
BARS = (0.01, 0.02, 0.05, 0.1)
"""Scores of a step below which a sample may be given up, of which a fit chooses one, or none."""


@dataclass(frozen=True, slots=True)
class Seen:
    """Recordings as policies see them: the first of them, what is known of all samples, and what
    is to be kept in mind."""

    walk: Walk
    known: set[Known]
    first: Recording
    notes: list[str]

    @classmethod
    def of(
        cls, recordings: Mapping[Preset | None, Recording], choosers: Sequence[str], **options: Any
    ) -> Seen:
        """What `walk` makes of recordings by preset, or of the only one. Raises RecipeError for
        what samples do not suffice for."""
        found = {preset: cls.one(r, choosers, **options) for preset, r in recordings.items()}
        walks = {preset: seen.walk for preset, seen in found.items() if preset is not None}
        first = next(iter(found.values()))
        return cls(
            several(walks) if walks else first.walk,
            set.intersection(*(seen.known for seen in found.values())),
            first.first,
            list(dict.fromkeys(note for seen in found.values() for note in seen.notes)),
        )

    @classmethod
    def one(
        cls, recording: Recording, choosers: Sequence[str], *, reject: bool, **options: Any
    ) -> Seen:
        if len(recording.problems) < LEAST:
            raise RecipeError(
                f"{recording.name} has {len(recording.problems)} problems; a fit takes {LEAST} at "
                "the least, and a hundred to be worth anything"
            )
        if recording.n < 2:
            raise RecipeError(f"{recording.name} has one sample a problem, so there is no choice")
        _counted(recording)
        lacks = missing(recording)
        every: tuple[Known, ...] = get_args(Known)
        known = {need for need in every if need not in lacks}
        scored = [x for d in recording.drawn() if d.scored for x in d.steps]
        if "score" in known and min(scored) < 0:
            if set(choosers) != {"majority"}:
                raise RecipeError(
                    "scores below 0 are logits, and are read as shares here: say --logit, or "
                    "--chooser majority to do without them"
                )
            known.remove("score")
        able = [name for name, need in CHOOSERS.items() if need is None or need in known]
        if wrong := [name for name in choosers if name not in able]:
            raise RecipeError(unknown("chooser that the samples suffice for", wrong[0], able))
        if reject and not ("score" in known and all(d.ends for d in recording.drawn() if d.scored)):
            raise RecipeError(
                f"--reject reads the score of every step, and {recording.name} does not tell "
                "those, or not where its steps end (blank lines)"
            )
        bars = BARS if reject else ()
        seen = walk(recording, list(choosers) or able, bars=bars, **options)
        return cls(seen, known, recording, list(recording.notes))


def recorded(
    sources: Sequence[str], presets: Sequence[str], reading: Mapping[str, Any]
) -> dict[Preset | None, Recording]:
    """The samples of all sources; those of each preset apart, which are strategies of one run."""
    if not presets:
        return {None: _pooled(sources, reading)}
    if len(sources) != 1 or reading.get("strategy"):
        raise RecipeError("--preset names strategies of one run, and --samples-of is left out then")
    found = presets_of(Path(sources[0]), presets)
    return {p: _pooled(sources, {**reading, "strategy": p.name}) for p in found}


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


def _counted(recording: Recording) -> None:
    """Have every sample know its tokens, and a note say which are not those of a tokenizer. Raises
    RecipeError where some are known and some are not."""
    drawn = list(recording.drawn())
    unknown = sum(d.tokens is None for d in drawn)
    if unknown == len(drawn):
        for d in drawn:
            d.tokens, d.guessed = 1.0, False
        recording.notes.append(f"{recording.name} tells no tokens: a sample counts as one")
    elif unknown:
        raise RecipeError(
            f"a budget is counted in tokens, and {unknown:,} of {len(drawn):,} samples of "
            f"{recording.name} tell none; pick samples that do by --where"
        )
    elif guessed := sum(d.guessed for d in drawn):
        recording.notes.append(
            f"tokens of {guessed:,} samples of {recording.name} are estimated from their characters"
        )


def bound_of(sources: Sequence[str], recording: Recording, where: Sequence[str]) -> Bound:
    """What the samples are of: as the manifest of a run says, or the rows of a file."""
    wanted = pairs_of(where)
    models, tasks = set[str](), set[str]()
    for source in sources:
        found = recognised(source)
        if found.form == "run_folder":
            run = (Store(source).read_json("manifest.json") or {}).get("run", {})
            models.add(model_of(run.get("generator")))
            tasks.add(task_of(run.get("task")))
            continue
        row = next((row for row in found.rows(_untold) if kept(row, wanted)), {})
        models.add(str(row.get("model")))
        tasks.add(str(row.get("dataset")))
    model, task = (", ".join(sorted(x)) for x in (models, tasks))
    return Bound(model=model, task=task, problems=len(recording.problems), samples=recording.n)


def _untold(kind: str, where: str) -> None:
    """What is left out is told when samples are read."""
    del kind, where
