"""Workers as actors on a Ray cluster (`pip install 'reasoning[ray]'`).

An actor is never restarted and no call is repeated by Ray: the driver hires another, under another
name. So whatever is heard, is heard of one process, and one that was given up (its machine was
frozen, perhaps) speaks to nobody. It ends itself once nobody has asked for a while.
"""

from __future__ import annotations

import asyncio
import importlib.util
import logging
import os
import socket
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from reasoning.backends.own_loop import OwnLoop
from reasoning.cluster.driver import Hand, LostError, log
from reasoning.cluster.settings import Workers
from reasoning.cluster.worker import Job, Order, Reply, Worker, installed
from reasoning.errors import EngineError, ReasoningError, RecipeError
from reasoning.http.keys import agreed
from reasoning.runs.manifest import Found
from reasoning.runs.names import trusted
from reasoning.runs.plan import Plan

SAY = 30.0
"""Seconds of waiting for a place on the cluster after which a run says so."""
PLACED = 300.0
"""Seconds after which it ends, if no worker has found a place by then."""


@asynccontextmanager
async def crew(todo: Plan, settings: Workers) -> AsyncIterator[Callable[[str], Hand]]:
    """Who makes workers on the cluster, which is left, or ended if it was begun here, at the end.

    Raises RecipeError where there is no Ray or no cluster, or one of another version.
    """
    if importlib.util.find_spec("ray") is None:
        raise RecipeError(
            "workers run on Ray, which is not installed: pip install 'reasoning[ray]', here and on "
            "the cluster"
        )
    ray: Any = importlib.import_module("ray")
    ours = not ray.is_initialized()
    if ours:
        # In a thread: in the main one it would take over the signals.
        await asyncio.to_thread(_join, ray, todo, settings)
    try:
        yield _Crew(ray, todo, settings).hire
    finally:
        if ours:
            await asyncio.to_thread(ray.shutdown)


def _join(ray: Any, todo: Plan, settings: Workers) -> None:
    address = settings.address or os.environ.get("RAY_ADDRESS") or "auto"
    _refuse_closed(address)
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # zero GPUs hide none
    try:
        ray.init(
            address=address,
            log_to_driver=False,
            logging_level=logging.ERROR,
            runtime_env=_code(todo),
        )
    except ConnectionError as error:
        raise _nobody(_first(error)) from error
    except (RuntimeError, ValueError) as error:  # other versions, too much code
        raise RecipeError(f"the Ray cluster {address} cannot be used: {error}") from error


def _refuse_closed(address: str) -> None:
    """Raise RecipeError where nobody listens: Ray itself would try for minutes."""
    host, _, port = address.rpartition(":")
    if host and port.isdecimal() and "/" not in host:
        try:
            socket.create_connection((host, int(port)), timeout=10).close()
        except OSError as error:
            raise _nobody(f"{address}: {error.strerror or error}") from error


def _nobody(why: str) -> RecipeError:
    return RecipeError(
        f"no Ray cluster was found ({why}); start one with `ray start --head`, name it in "
        "RAY_ADDRESS, or say workers: {n: ..., address: local} for one on this machine alone"
    )


def _code(todo: Plan) -> dict[str, Any]:
    """The folder at hand, where the recipe names functions in files there."""
    names = {str(spec) for spec in _foreign(todo.recipe.model_dump())}
    tops = {name.partition(":")[0].partition(".")[0] for name in names}
    here = Path.cwd().resolve()
    for top in tops:
        with suppress(ImportError, ValueError):
            spec = importlib.util.find_spec(top)
            origin = Path(str(spec and spec.origin)).resolve()
            if here in origin.parents and not {"site-packages"} & set(origin.parts):
                return {"working_dir": str(here), "excludes": ["runs/", ".git/", ".venv/"]}
    return {}


def _foreign(value: Any) -> list[str]:
    """Everything in a recipe that is written like `module:function`."""
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list | tuple):
        return [name for inner in value for name in _foreign(inner)]
    named = isinstance(value, str) and all(
        part and part.replace(".", "").isidentifier() for part in value.split(":")
    )
    return [value] if named and value.count(":") == 1 else []


class _Crew:
    def __init__(self, ray: Any, todo: Plan, settings: Workers) -> None:
        self.ray = ray
        gpus = _gpus(todo) if settings.num_gpus is None else settings.num_gpus
        self.needs = {"num_cpus": settings.num_cpus, "num_gpus": gpus}
        self.placed = False
        order = Order(
            todo.recipe, todo.task.name, getattr(todo.task, "private", False), trusted(), agreed()
        )
        actor = ray.remote(_Actor).options(
            **self.needs, max_concurrency=16, max_restarts=0, max_task_retries=0
        )
        self.make: Callable[[], Any] = lambda: actor.remote(order, settings.patience)

    def hire(self, name: str) -> Hand:
        return _Handle(self, self.make(), name)

    def offers(self) -> str:
        """What the cluster has, in words."""
        has = self.ray.cluster_resources()
        machines = sum(node["Alive"] for node in self.ray.nodes())
        asked = " and ".join(f"{v:g} {k[4:-1].upper()}(s)" for k, v in self.needs.items() if v)
        return (
            f"each asks for {asked or 'nothing'}; the cluster has {has.get('CPU', 0):g} CPUs and "
            f"{has.get('GPU', 0):g} GPUs on {machines} machine(s), for everybody"
        )


class _Handle(Hand):
    """One actor. What Ray raises of it becomes ours."""

    def __init__(self, crew: _Crew, actor: Any, name: str) -> None:
        self._crew, self._actor, self._name = crew, actor, name
        self._node = ""

    async def hello(self) -> Mapping[str, str]:
        call = asyncio.ensure_future(self._heard(self._actor.hello.remote()))
        begin = time.monotonic()
        try:
            while not (await asyncio.wait({call}, timeout=SAY))[0]:
                log.warning("%s waits for a place: %s", self._name, self._crew.offers())
                if time.monotonic() - begin > PLACED and not self._crew.placed:
                    raise EngineError(f"no worker has found a place: {self._crew.offers()}")
            self._node, versions = call.result()
        finally:
            call.cancel()
        self._crew.placed = True
        found: Mapping[str, str] = versions
        return found

    async def start(self) -> Found:
        found: Found = await self._heard(self._actor.start.remote())
        return found

    async def exchange(self, jobs: Sequence[Job]) -> Reply:
        reply: Reply = await self._heard(self._actor.exchange.remote(jobs))
        return reply

    async def finish(self, others: bool) -> Reply:
        reply: Reply = await self._heard(self._actor.finish.remote(others))
        return reply

    async def stop(self) -> Reply:
        reply: Reply = await self._heard(self._actor.stop.remote())
        return reply

    def kill(self) -> None:
        self._crew.ray.kill(self._actor)

    async def _heard(self, ref: Any) -> Any:
        errors = self._crew.ray.exceptions
        try:
            return await ref
        except errors.RayTaskError as error:
            if isinstance(error.cause, ReasoningError):
                raise error.cause from error
            raise EngineError(f"{self._name}: {error}") from error
        except errors.ActorUnavailableError as error:
            raise LostError(_first(error)) from error
        except errors.RayError as error:
            raise LostError(_first(error), blame=self._stands()) from error

    def _stands(self) -> bool:
        """Whether its machine still is there: then it died by itself."""
        nodes = {node["NodeID"]: node["Alive"] for node in self._crew.ray.nodes()}
        return bool(nodes.get(self._node))


class _Actor:
    """The worker in its process. Its searches have a loop of their own, which may be held up."""

    def __init__(self, order: Order, patience: float) -> None:
        self._order = order
        self._patience = patience
        self._loop = OwnLoop("worker")
        self._worker: Worker | None = None
        self._asked = float("inf")

    async def hello(self) -> tuple[str, dict[str, str]]:
        ray: Any = importlib.import_module("ray")
        return ray.get_runtime_context().get_node_id(), installed()

    async def start(self) -> Found:
        found = await self._loop.run(self._start)
        self._asked = time.monotonic()
        self._watch = asyncio.create_task(self._end_unheard())
        return found

    async def exchange(self, jobs: Sequence[Job]) -> Reply:
        return await self._do(lambda worker: worker.exchange(jobs))

    async def finish(self, others: bool) -> Reply:
        return await self._do(lambda worker: worker.finish(others))

    async def stop(self) -> Reply:
        return await self._do(Worker.stop)

    async def _start(self) -> Found:
        self._worker = Worker(self._order)  # here, for what it holds belongs to this loop
        self._worker.listen()
        return await self._worker.start()

    async def _do(self, work: Callable[[Worker], Coroutine[Any, Any, Reply]]) -> Reply:
        assert self._worker is not None, "start comes first"
        worker = self._worker
        self._asked = time.monotonic()
        try:
            return await self._loop.run(lambda: work(worker))
        finally:
            self._asked = time.monotonic()

    async def _end_unheard(self) -> None:
        """Given up, or frozen for so long that it must have been: nothing more is to be spent."""
        while (left := self._asked + 2 * self._patience - time.monotonic()) > 0:  # noqa: ASYNC110 (for time itself)
            await asyncio.sleep(left)
        os._exit(1)


def _gpus(todo: Plan) -> float:
    """As many as the largest engine in the process of a worker needs."""
    found = [0]
    for spec in _specs(todo.recipe.model_dump(exclude={"strategies"})):
        if spec.get("name") in ("vllm", "vllm_prm", "reward_model") and not spec.get("base_url"):
            sizes = (spec.get(f"{kind}_parallel_size") or 1 for kind in ("tensor", "pipeline"))
            found.append(int(next(sizes)) * int(next(sizes)))
    return max(found)


def _specs(value: Any) -> list[Mapping[str, Any]]:
    """Every mapping in a recipe."""
    inner = list(value.values()) if isinstance(value, Mapping) else value
    found = [value] if isinstance(value, Mapping) else []
    if isinstance(inner, list | tuple):
        found += [spec for item in inner for spec in _specs(item)]
    return found


def _first(error: BaseException) -> str:
    """The first line of what Ray says, which may be pages."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
