"""Real engines over the embedded checkpoints, on the CPU: vLLM as a server and in process, and the
servers of llama.cpp and transformers.

`make test-engines` installs them into a virtual environment of its own and runs this folder. The
tests of an engine that is not installed are skipped.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import importlib
import importlib.metadata
import importlib.util
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import threading
import urllib.request
import warnings
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from reasoning.backends import nano
from reasoning.generate import Prompt, Sampling
from reasoning.problem import Problem
from reasoning.tree import RolloutTree
from tests.engines import vllm_forks
from tests.engines.vllm_forks import Forked, contexts

MODEL = nano.WEIGHTS
REWARD_MODEL = nano.WEIGHTS.parent / "prm"
STEP_TAG = 472
"""The token at which the embedded reward model judges a step: <extra_0>."""

ENGINE = ("--dtype", "float32", "--enforce-eager", "--max-model-len", "1024")
ENGINE += ("--kv-cache-memory-bytes", str(128 << 20), "--block-size", "32", "--max-num-seqs", "64")
GENERATOR = ("--no-enable-chunked-prefill", "--scheduling-policy", "priority")
GENERATOR += ("--enable-prefix-caching", "--enable-prompt-tokens-details")
GENERATOR += ("--max-num-batched-tokens", "2048")
POOLING = ("--runner", "pooling", "--pooler-config", f'{{"step_tag_id": {STEP_TAG}}}')

IN_PROCESS = {
    "dtype": "float32",
    "enforce_eager": True,
    "max_model_len": 1024,
    "kv_cache_memory_bytes": 128 << 20,
    "max_num_seqs": 64,
}
"""The same engine by the names of its Python arguments, as a recipe has them."""

QUIET = {
    # One process and one thread: quick to start, and nobody else's cores are taken.
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "OMP_NUM_THREADS": "1",
    "VLLM_LOGGING_LEVEL": "ERROR",
    "VLLM_NO_USAGE_STATS": "1",
    "HF_HUB_OFFLINE": "1",
    "VLLM_SERVER_DEV_MODE": "1",  # servers can be paused
}
_LOOK_SECONDS = 0.2
_START_LOOKS = 4500  # a bound for hopeless cases: on a free core 75 are enough
_STOP_SECONDS = 20


def pytest_configure(config: pytest.Config) -> None:
    # vLLM leaves the closing of its ZeroMQ contexts to the garbage collector.
    config.addinivalue_line(
        "filterwarnings",
        "ignore:Exception ignored in. .function Context.__del__:"
        "pytest.PytestUnraisableExceptionWarning",
    )


class Server:
    """A server process of an engine. `url` is its root, without /v1."""

    def __init__(self, process: subprocess.Popen[str] | Forked, port: int) -> None:
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self.log: list[str] = []
        self.process = process
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def wait(self) -> Server:
        """Wait until it serves; fails with its log if it does not."""
        for _ in range(_START_LOOKS):
            if self.process.poll() is not None:
                break
            try:
                urllib.request.urlopen(f"{self.url}/health", timeout=_LOOK_SECONDS).close()
                return self
            except OSError:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self.process.wait(_LOOK_SECONDS)
        self.kill()
        pytest.fail(f"the server did not start:\n{''.join(self.log[-30:])}")

    def kill(self) -> None:
        """End it at once, workers and all."""
        self._signal(signal.SIGKILL)
        self.process.wait()
        self._reader.join()
        assert self.process.stdout is not None
        self.process.stdout.close()

    def close(self) -> None:
        """Ask it to end; insist if it does not."""
        if self.process.poll() is None:
            self._signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(_STOP_SECONDS)
        self.kill()

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)

    def _read(self) -> None:
        assert self.process.stdout is not None
        self.log.extend(self.process.stdout)


Serve = Callable[..., Server]


class Counted:
    """The engine's own numbers.

    `reported` are the generated tokens of its statistics, `produced` those that its core hands
    over: also what nobody wants any more, as behind a stop string, which is found outside the core.
    """

    def __init__(self, engine: Any) -> None:
        self.reported = self.produced = 0
        receive, record = engine.engine_core.get_output_async, engine.logger_manager.record

        async def counted() -> Any:
            outputs = await receive()
            self.produced += sum(len(output.new_token_ids) for output in outputs.outputs)
            return outputs

        def recorded(*, iteration_stats: Any, **more: Any) -> None:
            if iteration_stats is not None:
                self.reported += iteration_stats.num_generation_tokens
            record(iteration_stats=iteration_stats, **more)

        engine.logger_manager.record = recorded
        engine.engine_core.get_output_async = counted


@pytest.fixture(scope="session")
def vllm_installed() -> None:
    """Skips where there is no vLLM."""
    if importlib.util.find_spec("vllm") is None:
        pytest.skip("vLLM is not installed here; `make test-engines` installs its CPU build")


@pytest.fixture(scope="session")
def vllm_ready(vllm_installed: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The environment of all engines, and what they are forked from.

    vLLM keeps what it has found out about models, once for all engines of all test processes.
    """
    root = tmp_path_factory.getbasetemp()
    shared = root.parent if "PYTEST_XDIST_WORKER" in os.environ else root
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {**QUIET, "VLLM_CACHE_ROOT": str(shared / "vllm")}.items():
            patch.setenv(name, value)
        vllm_forks.ready()
        yield


@pytest.fixture(scope="session")
def serve(vllm_ready: None) -> Iterator[Serve]:
    """Starts a server of one's own, to be killed or restarted: serve(), serve(port=...).

    serve(reward_model=True) serves the reward model instead, serve(model=...) another checkpoint;
    further arguments are vLLM's. With `afresh` it is a command of its own, which imports vLLM.
    """

    def process(
        *more: str,
        reward_model: bool = False,
        model: Path = MODEL,
        afresh: bool = False,
        port: int,
    ) -> subprocess.Popen[str] | Forked:
        model = REWARD_MODEL if reward_model else model
        options = (*ENGINE, *(POOLING if reward_model else GENERATOR), *more)
        place = ("--model", str(model), "--host", "127.0.0.1", "--port", str(port))
        arguments = (*place, "--served-model-name", "nano", *options)
        if afresh:
            return opened((sys.executable, "-m", vllm_forks.SERVER, *arguments))
        return Forked(arguments)

    yield from starting(process)


@pytest.fixture(scope="session")
def gguf_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The language model as llama.cpp reads it. Skips where there is no llama.cpp."""
    for package in ("xllamacpp", "gguf"):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed here; `make engines` installs it")
    from benchmarks.training.nano_gguf import convert

    file = tmp_path_factory.mktemp("gguf") / "nano.gguf"
    convert(MODEL, file)
    return file


@pytest.fixture(scope="module")
def serve_llama_cpp(gguf_model: Path) -> Iterator[Serve]:
    """Starts llama.cpp's server, of the model `nano`: serve_llama_cpp(), ...(port=...)."""
    program = str(Path(__file__).with_name("llama_cpp_server.py"))
    yield from starting(lambda port: opened((sys.executable, program, str(gguf_model), str(port))))


@pytest.fixture(scope="module")
def serve_transformers() -> Iterator[Serve]:
    """Starts `transformers serve`, of the checkpoint: serve_transformers(), ...(port=...).

    vLLM 0.32 holds transformers below 5.20, whose server answers 500: a newer one may lie beside
    it in a folder `serving`, for the server alone.
    """
    newer = Path(sys.prefix) / "serving"
    for package in ("torch", "transformers", "fastapi", "openai", "accelerate"):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed here; `make engines` installs it")
    where = [str(newer)] if newer.is_dir() else sys.path
    [found, *_] = importlib.metadata.distributions(name="transformers", path=where)
    if tuple(map(int, found.version.split(".")[:2])) < (5, 24):
        pytest.skip(f"transformers is {found.version} here; the server of 5.24 is what is tested")

    def process(port: int) -> subprocess.Popen[str]:
        place = ("--host", "127.0.0.1", "--port", str(port))
        program = "from transformers.cli.transformers import main; main()"
        options = ("--device", "cpu", "--dtype", "float32")
        command = (sys.executable, "-c", program, "serve", str(MODEL), *place, *options)
        return opened(command, PYTHONPATH=str(newer))

    yield from starting(process)


@pytest.fixture(scope="module")
def serve_recipe(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serve]:
    """Starts `reasoning serve` of a recipe: serve_recipe(its text)."""

    def process(recipe: str, *, port: int) -> subprocess.Popen[str]:
        file = tmp_path_factory.mktemp("served") / "recipe.yaml"
        file.write_text(recipe)
        program = "from reasoning.cli.app import main; main()"
        place = ("--port", str(port), "--trust")
        return opened((sys.executable, "-c", program, "serve", str(file), *place))

    yield from starting(process)


def opened(command: Sequence[str], **env: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, **QUIET, **env},
        start_new_session=True,  # its workers end with it
    )


def starting(process: Callable[..., subprocess.Popen[str] | Forked]) -> Iterator[Serve]:
    """Starts servers, as processes that are told a port; in the end all are ended."""
    servers: list[Server] = []

    def start(*args: Any, port: int = 0, **options: Any) -> Server:
        port = port or free_port()
        servers.append(Server(process(*args, port=port, **options), port))
        return servers[-1].wait()

    yield start
    for server in servers:
        server.close()


@pytest.fixture(scope="session")
def vllm_server(serve: Serve) -> str:
    """The root URL (no /v1) of an OpenAI-compatible server of the language model, named `nano`.

    It tells how many calls it has (/load).
    """
    return serve("--enable-server-load-tracking").url


@pytest.fixture(scope="session")
def vllm_prm_server(serve: Serve) -> str:
    """The root URL of a pooling server of the process reward model, named `nano`."""
    return serve(reward_model=True).url


@pytest.fixture(scope="session")
def in_process(vllm_ready: None) -> Iterator[dict[str, Any]]:
    """Options of the generator `vllm`, for an engine that is small and soon there."""
    with warnings.catch_warnings(action="ignore"):  # what torch warns of is not ours
        importlib.import_module("vllm.v1.engine.async_llm")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("vllm.utils.system_utils.multiprocessing", contexts("forkserver"))
        yield {"model": str(MODEL), **IN_PROCESS}
        gc.collect()  # of what vLLM leaves behind, see pytest_configure


@pytest.fixture
def spawning(in_process: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Engines start as vLLM starts them by itself."""
    monkeypatch.setattr("vllm.utils.system_utils.multiprocessing", multiprocessing)


@pytest.fixture(scope="session")
def engine(in_process: dict[str, Any]) -> Iterator[Any]:
    """The generator `vllm`, started."""
    from reasoning.backends.vllm import vllm

    generator = vllm(**in_process)
    asyncio.run(generator.astart())
    yield generator
    asyncio.run(generator.aclose())


@asynccontextmanager
async def still(generator: Any) -> AsyncIterator[None]:
    """The engine makes nothing, and what it had made has come; calls may come and go."""
    engine = generator._engine

    async def pause() -> None:
        await engine.pause_generation(mode="keep", clear_cache=False)
        while not engine.engine_core.outputs_queue.empty():  # noqa: ASYNC110 (nobody tells of it)
            await asyncio.sleep(0)

    await generator._loop.run(pause)
    try:
        yield
    finally:
        await generator._loop.run(engine.resume_generation)


@pytest.fixture(scope="session")
def counter(engine: Any) -> Counted:
    """Counts the tokens that `engine` produces from now on."""
    found = Counted(engine._engine)
    # The engine was waiting for its core already, as it did before; not so from the next step on.
    call = engine.generate(
        Prompt(Problem("first", "1 + 1"), RolloutTree().root, 0),
        Sampling(max_tokens=2),
        seed=0,
        meter=lambda tokens: None,
    )
    asyncio.run(call)
    return found


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
