"""What every searcher promises, checked on toys in virtual time."""

from __future__ import annotations

import math
import os
import pickle
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from reasoning.backends.journal import Journal
from reasoning.backends.ledger import Folder, Held
from reasoning.clock import VirtualClock
from reasoning.errors import (
    EngineError,
    GenerationError,
    ReasoningError,
    TransientError,
    UserError,
    VerificationError,
    cause,
)
from reasoning.generate import Prompt
from reasoning.runs import names
from reasoning.sample import fingerprint
from reasoning.testing.searcher_run import Case, Run, assert_same
from reasoning.testing.toys import (
    Steps,
    ToyVerifier,
)
from reasoning.tree import Node, RolloutTree


def check_delivers(case: Case) -> None:
    """Without limits a searcher emits something, and gives the same again."""
    run = Run(case)()
    assert run.search.candidates, f"{case.name} emitted nothing though nothing limited it"
    if any(len(node.attempt()) > 1 for node in run.search.tree):
        assert names.steps(case.searcher), f"{case.name} goes on from steps without STEPS = True"
    assert_same(case, "a second run", run, Run(case)())
    stored = run.search.tree.to_jsonl()
    again = RolloutTree.from_jsonl(stored).to_jsonl()
    assert again == stored, f"{case.name}: the tree does not survive being stored"


def check_latency(case: Case, seeds: Iterable[int] = range(12)) -> None:
    """The order in which calls come back changes nothing."""
    first = None
    for delays in seeds:
        run = Run(case, delays=delays)()
        if case.races:
            assert_same(case, f"the same delays ({delays})", run, Run(case, delays=delays)())
            continue
        first = first or run
        assert_same(case, f"other delays ({delays})", first, run)


def check_token_limits(case: Case, *, points: int = 20, seeds: Sequence[int] = (3, 4)) -> None:
    """At any limit: spending stays within it, and latency decides nothing about what it buys."""
    for limit in sweep(Run(case)().search.usage.generated_tokens, points):
        _check_limit(case, seeds, tokens=limit)


def check_verifier_limits(case: Case, *, points: int = 10, seeds: Sequence[int] = (3, 4)) -> None:
    """The same for limits on verifier calls."""
    for limit in sweep(Run(case)().search.usage.verifier_calls, points):
        _check_limit(case, seeds, verifier_calls=limit)


def _check_limit(case: Case, seeds: Sequence[int], **limits: Any) -> None:
    runs = [Run(case, delays=delays, **limits)() for delays in seeds]
    for run in runs[1:] if not case.races else ():
        assert_same(case, f"other delays under {limits}", runs[0], run)
    if case.races:  # who wins is up to time, and nothing else is
        again = Run(case, delays=seeds[0], **limits)()
        assert_same(case, f"the same delays under {limits}", runs[0], again)


def check_deadlines(case: Case, *, points: int = 24) -> None:
    """Cut short at any instant, it leaks nothing, keeps what it had and counts what it paid."""
    whole = Run(case, delays=1)()
    for i in range(points + 1):
        moment = whole.clock.now() * i / points
        run = Run(case, delays=1)(seconds=moment)
        _check_part_of(case, run, whole, f"a deadline at {moment:g}")
        _check_keeps(case, run, whole, f"a deadline at {moment:g}")


def _check_keeps(case: Case, run: Run, whole: Run, what: str) -> None:
    """What has landed and would have been a candidate is one."""
    kept = {candidate.path for candidate in run.search.candidates}
    for candidate in whole.search.candidates:
        there = candidate.path in {node.path for node in run.search.tree if node.finished}
        assert not there or candidate.path in kept, (
            f"{case.name}, {what}: the solution {candidate.path} had landed and was lost; emit it "
            "as soon as it is there, for example with land=search.emit"
        )


def check_serial_tokens(case: Case) -> None:
    """Where a token takes a tick and nothing else any time, critical tokens are the time it took:
    without a limit, and with one that has calls share what is left."""
    whole = Run(case)()
    for limit in (None, whole.search.usage.generated_tokens // 2):
        run = Run(case, tokens=limit, ticks=True)()
        serial, time = run.search.usage.critical_tokens, run.clock.now()
        if limit is None or not names.steps(case.searcher):  # steps wait in a line, not in rounds
            assert serial == round(time), (
                f"{case.name} says {serial} tokens came one after another, it took {time:g} ticks"
            )


def check_cancellation(case: Case, *, points: int = 16) -> None:
    """Cancelled from outside at any instant, likewise."""
    whole = Run(case, delays=2)()
    for i in range(points):
        moment = whole.clock.now() * i / points
        run = Run(case, delays=2)(cancel_at=moment)
        _check_part_of(case, run, whole, f"cancellation at {moment:g}")


def _check_part_of(case: Case, run: Run, whole: Run, what: str) -> None:
    """Every call that came back before the cut gave what it gives in the uncut run."""
    for node in run.search.tree:
        if node.sample.finish == "cancelled":
            continue
        same = whole.search.tree[node.path].sample.to_json()
        assert node.sample.to_json() == same, (
            f"{case.name}, {what}: {node.path} holds {node.sample.to_json()}, uncut it is {same}"
        )


def check_generator_failures(case: Case) -> None:
    """Calls that fail, once or for good, some or all, fail their nodes and never the searcher."""
    tried: set[tuple[Any, ...]] = set()

    def once(prompt: Prompt, seed: int) -> Exception | None:
        if prompt.path in tried or seed % 3:
            return None
        tried.add(prompt.path)
        return TransientError("try again", retry_after=0.5)

    failures: list[Callable[[Prompt, int], Exception | None]] = [
        lambda _, seed: GenerationError("told to fail") if seed % 3 == 0 else None,
        lambda _, seed: RuntimeError("a bug in a backend") if seed % 4 == 0 else None,
        lambda _, seed: TransientError("busy for ever") if seed % 5 == 0 else None,
        lambda prompt, _: GenerationError("no second step") if prompt.parent.depth else None,
        once,
    ]
    for failure in failures:
        Run(case, delays=3, failure=failure)()
    for error in (GenerationError("down"), TransientError("busy")):
        run = Run(case, delays=3, failure=lambda _, __, error=error: error)()  # type: ignore[misc]
        assert not run.search.candidates, f"{case.name} emitted though every call failed"


def check_verifier_failures(case: Case) -> None:
    """A verifier that raises, gives no number, or cannot tell good from bad does no harm."""
    errors: list[Exception] = [
        VerificationError("told to fail"),
        TransientError("busy"),
        RuntimeError("a bug in a verifier"),
    ]
    for error in errors:
        for every in (1, 2):

            def failure(node: Node, error: Exception = error, every: int = every) -> Any:
                return error if node.key % every == 0 else None

            Run(case, verifier=ToyVerifier(case.model, failure=failure))()
    for value in (math.nan, math.inf, 0.0, 0.5, 1.0):

        def constant(_: Steps, value: float = value) -> float:
            return value

        run = Run(case, verifier=ToyVerifier(case.model, constant))()
        assert run.search.candidates, f"{case.name} emitted nothing with all scores {value}"


def check_fatal_errors(case: Case) -> None:
    """An engine that is gone, or a mistake of the user's, ends the run and is told as it is."""
    for error in (EngineError("gone"), UserError("a mistake")):
        raised: BaseException | None = None
        try:
            Run(case, delays=3, failure=lambda _, __, error=error: error)()  # type: ignore[misc]
        except (ReasoningError, ExceptionGroup) as caught:
            raised = cause(caught)
        assert raised is error, f"{case.name} turned {error!r} into {raised!r}"


def check_replay(case: Case) -> None:
    """Run again on the journal of a run, it gives the same and pays nothing."""
    first = Run(case)
    journal = Journal(first.toy, shared=case.races)
    _on(journal, case, first)
    paid = journal.paid_calls
    again = _on(journal, case, Run(case))
    assert_same(case, "a replay", first, again)
    assert journal.paid_calls == paid, f"{case.name}: a replay paid {journal.paid_calls - paid}"


def check_extension(case: Case) -> None:
    """Run again on its tree and the keys of its calls, it gives the same and pays nothing."""
    first, problem = Run(case), case.model.problem
    with TemporaryDirectory() as folder:
        kept = Path(folder) / "kept"
        journal = Journal(first.toy, shared=case.races, kept=Folder(Path(folder) / "journal", kept))
        _on(journal, case, first)
        journal.forget(problem, Held([first.search.tree]))
        tree = RolloutTree.from_jsonl(first.search.tree.to_jsonl())
        held = {fingerprint(node.sample): node.sample for node in tree}
        ledger = Folder(Path(folder) / "other", kept, lambda _: held)
        again = Run(case)
        journal = Journal(again.toy, shared=case.races, kept=ledger)
        _on(journal, case, again)
    assert_same(case, "an extension", first, again)
    assert not journal.paid_calls, f"{case.name}: an extension paid for {journal.paid_calls} calls"


def _on(journal: Journal, case: Case, run: Run) -> Run:
    """Run it on a journal."""
    run.ask(journal)
    run.clock = run.search.clock = _clock(journal, case, run)
    return run()


def _clock(journal: Journal, case: Case, run: Run) -> VirtualClock:
    clock = journal.clock(case.model.problem)
    return clock if isinstance(clock, VirtualClock) else run.clock


def check_resume(case: Case, *, points: int = 8) -> None:
    """Cut short and run again on its journal, it comes to where the uncut run came."""
    if case.races:
        return  # what arrives first after a cut is not what arrived first before it
    whole = Run(case, delays=1)
    whole.ask(Journal(whole.toy))  # which rounds as trees do
    whole()
    for i in range(1, points):
        cut = Run(case, delays=1)
        journal = Journal(cut.toy)
        cut.ask(journal)
        cut(seconds=whole.clock.now() * i / points)
        before = journal.paid_tokens
        again = Run(case, generator=journal)()
        assert_same(case, "a resumed run", whole, again)
        assert journal.paid_tokens - before <= whole.search.usage.generated_tokens


def check_other_process(*cases: Case) -> None:
    """Another process, where strings hash otherwise, gives the same trace.

    The searchers have to be importable, as plug-ins are. One process does for many cases.
    """
    code = (
        "import pickle, sys\n"
        "from reasoning.testing.searcher_contract import Run\n"
        "cases = pickle.load(sys.stdin.buffer)\n"
        "traces = [Run(case, delays=6)().trace for case in cases]\n"
        "pickle.dump(traces, sys.stdout.buffer)\n"
    )
    other = "1" if os.environ.get("PYTHONHASHSEED") != "1" else "2"
    done = subprocess.run(
        [sys.executable, "-c", code],
        input=pickle.dumps(cases),
        env={**os.environ, "PYTHONHASHSEED": other, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, f"in another process: {done.stderr.decode()}"
    for case, trace in zip(cases, pickle.loads(done.stdout), strict=True):
        here = Run(case, delays=6)().trace
        assert trace == here, f"{case.name} gives another trace in another process"


SEARCHER_CHECKS: tuple[Callable[[Case], None], ...] = (
    check_delivers,
    check_latency,
    check_token_limits,
    check_verifier_limits,
    check_deadlines,
    check_serial_tokens,
    check_cancellation,
    check_generator_failures,
    check_verifier_failures,
    check_fatal_errors,
    check_replay,
    check_extension,
    check_resume,
    check_other_process,
)


def check_searcher(
    searcher: Callable[..., Awaitable[None]],
    params: Mapping[str, Any] | None = None,
    **setting: Any,
) -> None:
    """All of `SEARCHER_CHECKS`; `setting` goes to `Case`."""
    case = Case(searcher=searcher, params=params or {}, **setting)
    for check in SEARCHER_CHECKS:
        check(case)


def sweep(total: int, points: int) -> list[int]:
    """Limits from 0 past `total`: all of the small ones, then about `points` in even steps."""
    small = range(min(total, points // 2) + 1)
    even = (round(total * i / points) for i in range(points + 1))
    return sorted({*small, *even, total + 1})
