"""What a page shows, from what is known: pure functions, sections of entries by name.

Numbers come as the words that are shown; what is unknown says so. A page is sent the whole once and
then differences, see `changes`.
"""

from __future__ import annotations

import math
import shlex
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from reasoning.live.folder import Part
from reasoning.live.nodes import brief
from reasoning.live.results import Errors, Over, Tally
from reasoning.live.words import UNKNOWN, against, card, count, lasting, whole
from reasoning.runs import names

Sections: TypeAlias = dict[str, dict[str, Any]]

SILENT = 15.0
"""Seconds after which a run that says nothing may be dead."""
WINDOW = 10.0
"""Seconds over which tokens a second are told."""
_ORDER = ("running", "silent", "failed", "interrupted", "stopped", "unseen", "finished")


def changes(before: Sections, after: Sections) -> Sections:
    """The entries of `after` that are not so in `before`; None for those that are gone."""
    found: Sections = {}
    for name in {**before, **after}:
        old, new = before.get(name, {}), after.get(name, {})
        changed = {key: value for key, value in new.items() if old.get(key) != value}
        changed |= {key: None for key in old if key not in new}
        if changed:
            found[name] = changed
    return found


@dataclass(slots=True)
class Pace:
    """How many a second, over the last seconds: points of (time, total)."""

    points: deque[tuple[float, float]] = field(default_factory=deque)

    def at(self, time: float, total: float) -> float | None:
        """The pace with one more point; None where there is too little to tell."""
        points = self.points
        if points and (time < points[-1][0] or total < points[-1][1]):
            points.clear()  # another process
        if not points or time > points[-1][0]:
            points.append((time, total))
        while len(points) > 2 and points[1][0] <= time - WINDOW:
            points.popleft()
        (first, low), (last, high) = points[0], points[-1]
        return (high - low) / (last - first) if last - first >= 1.0 else None


def state(part: Part, now: float) -> str:
    """How a run is: running, silent, failed, interrupted, stopped, unseen or finished."""
    live, quiet = part.live, now - part.heard
    if live is not None and "ended" not in live:
        return "running" if quiet < SILENT else "silent"
    if live is not None and live["ended"] in ("failed", "interrupted"):
        return str(live["ended"])
    if part.summary is not None or live is not None:
        return "finished"
    return "unseen" if quiet < SILENT else "stopped"


def told(part: Part, now: float) -> str:
    """The state in words, with what to do about it."""
    why = brief(str((part.live or {}).get("why") or ""), 1000)
    quiet = lasting(max(0.0, now - part.heard))
    return {
        "running": "Running",
        "silent": f"Nothing was heard for {quiet}: it was killed, or stands still. The same "
        "command continues it",
        "failed": f"Ended by an error: {why or 'see its terminal'}. The same command continues it",
        "interrupted": "Interrupted. The same command continues it",
        "stopped": f"Not finished, and nothing was written for {quiet}. The same command "
        "continues it",
        "unseen": "Results are being written; this run does not tell how it stands (--no-live)",
        "finished": "Finished",
    }[state(part, now)]


def of_run(parts: Sequence[Part], pace: Pace, now: float) -> Sections:
    """A run, or the shards of one: everything but its searches."""
    first, states = parts[0], Counter(state(part, now) for part in parts)
    worst = next(name for name in _ORDER if states[name])
    words = told(next(part for part in parts if state(part, now) == worst), now)
    if len(parts) > 1:
        listed = ", ".join(f"{states[name]} {name}" for name in _ORDER if states[name])
        words = f"{len(parts)} shards: {listed}. {words}"
    run = first.manifest.get("run")
    run = run if isinstance(run, Mapping) else {}
    task = run.get("task")
    task = task.get("name") if isinstance(task, Mapping) else task
    folder = first.folder if len(parts) == 1 else first.folder.parent
    about = {
        "title": brief(str(run.get("name") or folder.name), 120),
        "task": brief(str(task or UNKNOWN), 120),
        "state": worst,
        "told": words,
        "waiting": _waiting(parts),
        "command": brief(shlex.join(["reasoning", "report", str(folder)]), 400),
        "notes": _notes(parts),
    }
    return {
        "run": about,
        "numbers": _numbers(parts, states, pace),
        "strategies": _strategies(parts),
        "errors": errors([part.results.errors for part in parts]),
    }


def _notes(parts: Sequence[Part]) -> list[str]:
    found = [brief(str(n), 400) for n in parts[0].manifest.get("notes") or () if n][:8]
    if damaged := sum(part.results.damaged for part in parts):
        found.append(f"{damaged} damaged lines of results.jsonl are left out")
    size, read = sum(part.size for part in parts), sum(part.results.read for part in parts)
    if read < size:
        found.append(f"results are being read: {read / size:.0%}")
    return found


def _waiting(parts: Sequence[Part]) -> str:
    """How many strategies have nothing to show yet."""
    named = parts[0].manifest.get("independent")
    names_ = set(named) if isinstance(named, Mapping) else set()
    left = len(names_.difference(*(part.results.tallies for part in parts)))
    return f"{left} strateg{'y has' if left == 1 else 'ies have'} no result yet." if left else ""


def _numbers(parts: Sequence[Part], states: Mapping[str, int], pace: Pace) -> dict[str, Any]:
    lives = [part.live or {} for part in parts]
    tallies = [tally for part in parts for tally in part.results.tallies.values()]
    sums: Counter[str] = sum((tally.sums for tally in tallies), Counter())
    busy = bool(states["running"])
    found = {"problems": _problems(parts, busy)}
    found["searches"] = card("Searches over", count(sum(tally.done for tally in tallies)))
    if busy:
        found["searches"]["note"] = f"{_total(lives, 'running')} running"
        found["pace"] = card("Tokens a second", count(_pace(lives, pace)), "the last 10 s")
        most = _total(lives, "most_in_flight")
        note = f"{most} at most" if most != UNKNOWN else ""
        found["calls_now"] = card("Calls in flight", _total(lives, "in_flight"), note)
        if any("workers" in live for live in lives):
            found["workers"] = card("Workers at work", _total(lives, "workers"))
    wasted = f"by what is over, {sums['wasted_tokens']:,.0f} wasted"
    found["tokens"] = card("Tokens spent", count(sums["generated_tokens"]), wasted)
    failed = f"by what is over, {sums['failed_calls']:,.0f} failed"
    found["calls"] = card("Calls", count(sums["calls"]), failed)
    priced = [tally.money for tally in tallies if tally.money is not None]
    money = sum(priced) if priced and len(priced) == len(tallies) else None
    unknown = "no prices known" if tallies else "nothing is over yet"
    found["money"] = card("Money", count(money, 4), unknown if money is None else "")
    return found | _limits(lives)


def _limits(lives: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What all problems together have spent of what they may."""
    found = {}
    for live in lives if len(lives) == 1 else ():
        spent = live.get("spent")
        for kind, pair in spent.items() if isinstance(spent, Mapping) else ():
            if isinstance(pair, Sequence) and len(pair) == 2 and None not in map(whole, pair):
                label = f"{str(kind)[:40].replace('_', ' ')} of the run".capitalize()
                digits = 4 if kind == "money" else 0
                found[f"limit {kind}"] = against(label, pair[0], pair[1], digits)
    return found


def _total(lives: Sequence[Mapping[str, Any]], name: str) -> str:
    """The sum over those that say so; unknown where one that runs does not."""
    counts = [whole(live.get(name)) for live in lives if live and "ended" not in live]
    return UNKNOWN if not counts or None in counts else f"{sum(filter(None, counts)):,}"


def _pace(lives: Sequence[Mapping[str, Any]], pace: Pace) -> float | None:
    running = [live for live in lives if live and "ended" not in live]
    tokens = [whole(live.get("tokens")) for live in running]
    times = [t for live in running if (t := whole((live.get("at") or 0) * 1000)) is not None]
    if None in tokens or not times:
        return None
    return pace.at(max(times) / 1000, float(sum(filter(None, tokens))))


def _problems(parts: Sequence[Part], busy: bool) -> dict[str, Any]:
    """How many are done, of how many, and when the others will be."""
    done = total = 0
    left, known = 0.0, True
    for part in parts:
        live, summary = part.live or {}, part.summary or {}
        mine, all_ = whole(live.get("done")), whole(live.get("problems"))
        if all_ is None:
            all_ = whole(summary.get("problems"))
            mine = all_
        if all_ is None or mine is None:
            known = False
            continue
        done, total = done + mine, total + all_
        new, seconds = whole(live.get("new_done")), live.get("seconds")
        if mine < all_ and "ended" not in live:
            pace = seconds / new if new and isinstance(seconds, int | float) else math.inf
            left = max(left, (all_ - mine) * pace)
    if not known:
        tallies = [t.done for part in parts for t in part.results.tallies.values()]
        least = f"{min(tallies, default=0):,} or more"
        return card("Problems done", least, f"of {UNKNOWN}")
    note = f"of {total:,}"
    if busy and done < total:
        note += f", {f'about {lasting(left)} left' if math.isfinite(left) else 'time left unknown'}"
    return card("Problems done", f"{done:,}", note, done / total if total else 1.0)


def _strategies(parts: Sequence[Part]) -> dict[str, Any]:
    """Accuracy so far with its interval, and means of what is over, where something is."""
    merged: dict[str, Tally] = {}
    for part in parts:
        for name, tally in part.results.tallies.items():
            whole_ = merged.setdefault(name, Tally())
            whole_.done += tally.done
            whole_.graded += tally.graded
            whole_.correct += tally.correct
            whole_.sums.update(tally.sums)
    return {name: strategy(name, tally) for name, tally in merged.items()}


def strategy(name: str, tally: Tally) -> dict[str, Any]:
    """The row of a strategy of which something is over."""
    mean = tally.sums["generated_tokens"] / tally.done
    row: dict[str, Any] = {
        "name": brief(name, 120),
        "done": f"{tally.done:,}",
        "tokens": f"{mean:,.0f}",
        "failed": f"{tally.sums['failed_calls']:,.0f}",
    }
    if tally.graded:
        low, high = interval(tally.correct, tally.graded)
        value = tally.correct / tally.graded
        row["accuracy"] = f"{value:.3f} ({low:.2f}–{high:.2f})"
        row["bar"] = [round(x, 3) for x in (low, value, high)]
    else:
        row["accuracy"] = "not graded"
    return row


def interval(correct: int, graded: int) -> tuple[float, float]:
    """Wilson, 95 %. What it takes is loaded at the first call."""
    metrics: Any = names.ours("evals.statistics.metrics")
    low, high = metrics.wilson(correct, graded)
    return low, high


def errors(found: Sequence[Errors], *, texts: bool = True) -> dict[str, Any]:
    """Failures by kind, the most frequent first; each with its first example if texts may show."""
    counts = sum((e.counts for e in found), Counter[str]())
    rows: dict[str, Any] = {}
    for kind, n in counts.most_common(20):
        rows[kind] = {"count": f"{n:,}"}
        if texts:
            rows[kind]["example"] = next(e.examples[kind] for e in found if kind in e.examples)
    return rows


def over_row(over: Over, seq: int) -> dict[str, Any]:
    """A search that is over, in the list."""
    grade = "ended" if over.correct is None else "right" if over.correct else "wrong"
    how = "failed" if over.stop == "failed" else grade
    row = {
        "strategy": brief(over.strategy, 120),
        "problem": brief(over.problem, 120),
        "state": how,
        "tokens": over.tokens,
        "failures": over.failures,
        "seq": seq,
    }
    return row if over.answer is None else {**row, "answer": over.answer}


def live_row(look: Mapping[str, Any], seq: int, state: str = "running") -> dict[str, Any]:
    """A search that runs, in the list; what it says of itself may be anything."""
    row: dict[str, Any] = {
        name: brief(str(look.get(name, "")), 120) for name in ("strategy", "problem")
    }
    for name in ("nodes", "tokens", "limit", "failures"):
        if (value := whole(look.get(name))) is not None:
            row[name] = value
    return {**row, "state": state, "seq": seq}
