"""The embedded model's engine: batching, cancellation, metering, errors, shutdown."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import Callable, Coroutine, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from reasoning.backends.nano import Nano
from reasoning.backends.nano.model import FloatArray
from reasoning.errors import EngineError
from reasoning.generate import Prompt, Sampling
from reasoning.problem import Problem
from reasoning.tree import RolloutTree, Sample
from tests.reasoning.backends.loops import run, together


@pytest.fixture(scope="module")
def model(folder: Path) -> Iterator[Nano]:
    generator = Nano(folder)
    yield generator
    generator.close()


@pytest.fixture
def endless(checkpoint: Callable[..., Path]) -> Iterator[Nano]:
    """Two slots; every token is the same, and no call ends within the time of a test."""
    generator = Nano(checkpoint(context=10**5), max_batch=2)
    generator.engine._compute = lambda wants, _: [(5, -1.0, float("nan"), None)] * len(wants)
    yield generator
    generator.close()


def ignore(_: int) -> None:
    """A meter for tests about something else."""


def ask(
    model: Nano,
    message: str,
    *,
    seed: int = 0,
    meter: Callable[[int], None] = ignore,
    **params: Any,
) -> Coroutine[Any, Any, Sample]:
    prompt = Prompt(Problem("p", message), RolloutTree("p").root, 0)
    params = {"max_tokens": 20, **params}
    return model.generate(prompt, Sampling(**params), seed=seed, meter=meter)


# --- batching ----------------------------------------------------------------------


def watch(model: Nano, sizes: list[int]) -> None:
    """Record the batch size of every step."""
    compute = model.engine._compute

    def record(wants: Sequence[Any], hidden: FloatArray) -> Any:
        sizes.append(len(wants))
        return compute(wants, hidden)

    model.engine._compute = record


def test_a_queue_longer_than_the_slots_drains(folder: Path) -> None:
    generator, sizes = Nano(folder, max_batch=4), list[int]()
    watch(generator, sizes)

    async def main() -> list[Sample]:
        return await together(*(ask(generator, f"{i}", seed=i, max_tokens=5) for i in range(50)))

    assert len(run(main())) == 50
    assert max(sizes) == 4
    assert generator.engine.running == generator.engine.waiting == 0


def test_siblings_compute_their_common_prompt_once(folder: Path) -> None:
    generator = Nano(folder)

    async def main() -> list[Sample]:
        calls = (ask(generator, "Ann has 3 apples." * 3, seed=i) for i in range(8))
        return await together(*calls)

    samples = run(main())
    cached = sorted(sample.cached_tokens for sample in samples)
    assert cached == [0] + [samples[0].prompt_tokens - 1] * 7


def test_an_idle_engine_holds_no_thread(folder: Path) -> None:
    generator = Nano(folder)
    for _ in range(2):
        run(ask(generator, "Then"))
        thread = generator.engine._thread
        if thread is not None:  # it is about to notice that nothing is left
            thread.join()
        assert generator.engine._thread is None


# --- metering and cancellation -----------------------------------------------------


def test_the_meter_adds_up_and_tokens_arrive_one_by_one(model: Nano) -> None:
    async def main() -> None:
        seen: dict[int, list[int]] = {i: [] for i in range(10)}
        calls = [ask(model, "Then", seed=i, meter=seen[i].append, max_tokens=30) for i in seen]
        for i, sample in enumerate(await together(*calls)):
            assert sum(seen[i]) == sample.generated_tokens
            assert all(k > 0 for k in seen[i])

    run(main())


def test_a_cancelled_call_is_metered_and_frees_its_slot_at_once(endless: Nano) -> None:
    async def main() -> None:
        seen: dict[str, int] = {"a": 0, "b": 0, "c": 0}
        arrived = asyncio.Event()

        def meter(name: str) -> Callable[[int], None]:
            def count(k: int) -> None:
                seen[name] += k
                arrived.set()

            return count

        tasks = {
            name: asyncio.ensure_future(ask(endless, name, meter=meter(name), max_tokens=10**6))
            for name in seen
        }
        while not (seen["a"] and seen["b"]):  # one may join a step after the other
            arrived.clear()
            await arrived.wait()
        assert (endless.engine.running, endless.engine.waiting) == (2, 1)
        for name in ("c", "b", "a"):  # one that waits, then the two that run
            tasks[name].cancel()
            with pytest.raises(asyncio.CancelledError):
                await tasks[name]
        assert endless.engine.running == endless.engine.waiting == 0
        after = dict(seen)
        assert after["c"] == 0
        assert after["a"] > 0
        await ask(endless, "another", max_tokens=30)
        assert seen == after

    run(main())


def test_a_meter_that_raises_fails_its_own_call_only(model: Nano) -> None:
    def broke(_: int) -> None:
        raise RuntimeError("out of money")

    async def main() -> None:
        other = asyncio.ensure_future(ask(model, "Then"))
        with pytest.raises(RuntimeError, match="out of money"):
            await ask(model, "Then", meter=broke, max_tokens=10**6)
        assert (await other).generated_tokens
        assert model.engine.running == 0

    run(main())


def test_a_loop_that_died_frees_its_slots(endless: Nano) -> None:
    loop, started = asyncio.new_event_loop(), threading.Event()
    call = ask(endless, "Then", meter=lambda _: started.set(), max_tokens=10**6)
    task = loop.create_task(call)
    loop.run_until_complete(loop.run_in_executor(None, started.wait))
    loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()
    assert run(ask(endless, "Then")).generated_tokens
    if (thread := endless.engine._thread) is not None:
        thread.join()
    assert endless.engine.running == 0
    task._log_destroy_pending = False  # type: ignore[attr-defined]
    task.get_coro().close()


# --- errors and shutdown -----------------------------------------------------------


def test_an_error_in_the_engine_reaches_everybody(folder: Path) -> None:
    generator = Nano(folder, max_batch=2)

    def fail(*_: Any) -> Any:
        raise FloatingPointError("nan in the logits")

    generator.engine._compute = fail

    async def main() -> None:
        message = "the nano engine failed: FloatingPointError: nan in the logits"
        tasks = [asyncio.ensure_future(ask(generator, "Then", seed=i)) for i in range(5)]
        for task in tasks:
            with pytest.raises(EngineError, match=message) as caught:
                await task
            assert isinstance(caught.value.__cause__, FloatingPointError)
        with pytest.raises(EngineError, match=message):
            await ask(generator, "Then")

    run(main())


def test_closing_fails_what_is_left(endless: Nano) -> None:
    async def main() -> None:
        started = asyncio.Event()
        call = ask(endless, "Then", meter=lambda _: started.set(), max_tokens=10**6)
        task = asyncio.ensure_future(call)
        await started.wait()
        endless.close()
        with pytest.raises(EngineError, match="closed"):
            await task
        with pytest.raises(EngineError, match="closed"):
            await ask(endless, "Then")

    run(main())


def test_the_interpreter_exits_while_calls_run(folder: Path) -> None:
    script = f"""
import asyncio
from pathlib import Path
from reasoning.backends.nano import Nano, StepModel
from reasoning.backends.nano.engine import Job

class Endless(Job):
    def wanted(self, start, stop): return range(max(start, len(self.tokens) - 1), stop)
    def accept(self, outcome): return False
    def result(self): return None

generator = Nano(Path({str(folder)!r}))
generator.engine._compute = lambda wants, hidden: [0] * len(wants)
generator.engine.submit(*(Endless([1, 2, 3], loop=None) for _ in range(3)))
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script], capture_output=True, timeout=120, check=False
    )
    assert (done.returncode, done.stderr) == (0, b"")


def test_importing_the_package_loads_nothing_heavy() -> None:
    script = (
        "import sys, reasoning.backends.nano\n"
        "heavy = {'torch', 'transformers', 'tokenizers', 'safetensors', 'threadpoolctl'}\n"
        "sys.exit(', '.join(sorted(heavy & set(sys.modules))) or None)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
