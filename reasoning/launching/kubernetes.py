"""Manifests for Kubernetes: a Deployment and a headless Service for each engine, a Job that runs.

Every address that a Service's name has is a server that is ready, which the run looks up as it
goes: Kubernetes starts servers that die again, and whoever scales the Deployment is noticed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import Field

from reasoning.launching.engines import Engine, Launch
from reasoning.launching.options import Options
from reasoning.launching.servers import generates
from reasoning.launching.texts import readable
from reasoning.runs.recipe import located, shipped

_PORT = 8000
_RUNS, _RECIPE, _CACHE = "/runs", "/recipe", "/root/.cache/huggingface"
_MISTAKE = 2  # exit code of `reasoning` for what another try does not mend
_WAIT = """\
import sys, time, urllib.request
last = time.monotonic() + float(sys.argv[1])
for url in sys.argv[2:]:
    while True:
        try:
            urllib.request.urlopen(url, timeout=5).close()
            break
        except OSError as error:
            if time.monotonic() > last:
                sys.exit(f"{url} is not healthy in time: {error}")
            time.sleep(5)
"""


class Kubernetes(Options):
    """What may be said of a launch on Kubernetes."""

    replicas: int = Field(1, ge=1, description="servers of each generator")
    verifiers: int = Field(1, ge=1, description="servers of each verifier")
    image: str = Field(
        "vllm/vllm-openai:v0.32.0", pattern=r"^\S+$", description="what the servers run in"
    )
    driver: str = Field(
        ...,
        pattern=r"^\S+$",
        description="the image that the run runs in: it has `reasoning` and python on its PATH",
    )
    namespace: str = Field(
        "default", pattern="^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$", description="where it all goes"
    )
    gpu: str = Field("nvidia.com/gpu", description="what the cluster calls a GPU")
    cpus: str = Field("8", pattern=r"^\d+(\.\d+|m)?$", description="cores of a server")
    memory: str = Field(
        "32Gi", pattern=r"^\d+[KMGT]i?$", description="memory of a server, its /dev/shm included"
    )
    claim: str | None = Field(
        None, description="a PersistentVolumeClaim that is there, for the run [one is made]"
    )
    size: str = Field("10Gi", pattern=r"^\d+[KMGT]i?$", description="of the claim that is made")
    storage: str | None = Field(None, description="its StorageClass [the cluster's default]")
    cache: str | None = Field(
        None, description="a PersistentVolumeClaim for models, read by all servers"
    )
    secret: str | None = Field(
        None, description="a Secret whose keys become variables of servers and run, as HF_TOKEN"
    )
    retries: int = Field(6, ge=0, description="times that the run is begun again where it fails")


OPTIONS = Kubernetes


def written(launch: Launch, options: Kubernetes, here: Path) -> dict[str, str]:
    """The manifests by the names of their files; the volume apart, since it stays."""
    del here
    about = (
        f"# Engines for {launch.source} on Kubernetes, and the run on them.\n"
        "# `kubectl delete -f` this file when the Job is complete: the servers hold their GPUs.\n"
        "# Files that the recipe names by path have to be in the driver's image or on its volume.\n"
    )
    found = {"kubernetes.yaml": about + _dumped(manifests(launch, options))}
    if options.claim is None:
        keep = "# The run's folder. It stays when the engines are deleted.\n"
        found = {"kubernetes-volume.yaml": keep + _dumped([_claim(launch, options)]), **found}
    return found


def submission(launch: Launch, options: Kubernetes, folder: Path) -> list[str]:
    """The command that submits what was written into the folder."""
    files = [folder / name for name in written(launch, options, folder)]
    return ["kubectl", "apply", *(word for file in files for word in ("-f", str(file)))]


def manifests(launch: Launch, options: Kubernetes) -> list[dict[str, Any]]:
    """All but the volume."""
    found = [_recipe(launch, options)] if _brought(launch) else []
    for engine in launch.engines:
        found += [_deployment(launch, engine, options), _service(launch, engine, options)]
    return [*found, _job(launch, options)]


def _deployment(launch: Launch, engine: Engine, options: Kubernetes) -> dict[str, Any]:
    labels = {"app": _name(launch, engine)}
    command = _escaped(word.replace("{port}", str(_PORT)) for word in engine.command)
    health = {"httpGet": {"path": "/health", "port": _PORT}, "timeoutSeconds": 5}
    amounts = {"cpu": options.cpus, "memory": options.memory}
    if engine.gpus:
        amounts[options.gpu] = str(engine.gpus)
    volumes = {"shm": {"emptyDir": {"medium": "Memory"}}}  # servers on several GPUs talk there
    mounts = {"shm": "/dev/shm"}
    if options.cache:
        volumes["cache"] = {"persistentVolumeClaim": {"claimName": options.cache}}
        mounts["cache"] = _CACHE
    container = {
        "name": "server",
        "image": options.image,
        "command": command,
        **_variables(options),
        "ports": [{"containerPort": _PORT}],
        "resources": {"requests": amounts, "limits": amounts},
        "startupProbe": {
            **health,
            "periodSeconds": 10,
            "failureThreshold": -(-options.start // 10),
        },
        "readinessProbe": {**health, "periodSeconds": 5, "failureThreshold": 3},
        "livenessProbe": {**health, "periodSeconds": 10, "failureThreshold": 12},
        "volumeMounts": _mounts(mounts),
    }
    pod = {
        "enableServiceLinks": False,  # a Service called vllm would set VLLM_PORT
        "containers": [container],
        "volumes": _volumes(volumes),
        "tolerations": [{"key": options.gpu, "operator": "Exists", "effect": "NoSchedule"}],
    }
    spec = {
        "replicas": options.replicas if generates(engine.role) else options.verifiers,
        "selector": {"matchLabels": labels},
        # There are no GPUs left over for new servers beside the old ones.
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0}},
        "template": {"metadata": {"labels": labels}, "spec": pod},
    }
    return _thing("apps/v1", "Deployment", _name(launch, engine), options, {"spec": spec})


def _service(launch: Launch, engine: Engine, options: Kubernetes) -> dict[str, Any]:
    name = _name(launch, engine)
    spec = {"clusterIP": "None", "selector": {"app": name}, "ports": [{"port": _PORT}]}
    return _thing("v1", "Service", name, options, {"spec": spec})


def _job(launch: Launch, options: Kubernetes) -> dict[str, Any]:
    """The run: what is begun again goes on, since its folder is on the volume."""
    roots = {
        e.name: f"http://{_name(launch, e)}.{options.namespace}.svc:{_PORT}" for e in launch.engines
    }
    source = f"{_RECIPE}/{_file(launch)}" if _brought(launch) else launch.source
    command = launch.driver(
        lambda engine: f"dns:{roots[engine.name]}{engine.path}",
        source=source,
        out=f"{_RUNS}/{launch.recipe.name}",
    )
    waiting = ["python", "-c", _WAIT, str(options.start), *(f"{r}/health" for r in roots.values())]
    volumes: dict[str, Any] = {
        "runs": {"persistentVolumeClaim": {"claimName": options.claim or _name(launch, "runs")}}
    }
    mounts = {"runs": _RUNS}
    if _brought(launch):
        volumes["recipe"] = {"configMap": {"name": _name(launch, "recipe")}}
        mounts["recipe"] = _RECIPE
    pod = {
        "enableServiceLinks": False,
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": 60,  # it writes down what it had
        "initContainers": [{"name": "wait", "image": options.driver, "command": waiting}],
        "containers": [
            {
                "name": "run",
                "image": options.driver,
                "command": _escaped(command),
                **_variables(options),
                "volumeMounts": _mounts(mounts),
            }
        ],
        "volumes": _volumes(volumes),
    }
    mistake = {"containerName": "run", "operator": "In", "values": [_MISTAKE]}
    evicted = {"type": "DisruptionTarget", "status": "True"}
    spec = {
        "backoffLimit": options.retries,
        "podReplacementPolicy": "Failed",  # never two at once
        "podFailurePolicy": {
            "rules": [
                {"action": "FailJob", "onExitCodes": mistake},
                {"action": "Ignore", "onPodConditions": [evicted]},
            ]
        },
        "template": {"metadata": {"labels": {"app": _name(launch, "run")}}, "spec": pod},
    }
    return _thing("batch/v1", "Job", _name(launch, "run"), options, {"spec": spec})


def _claim(launch: Launch, options: Kubernetes) -> dict[str, Any]:
    storage = {"storageClassName": options.storage} if options.storage else {}
    spec = {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": options.size}},
        **storage,
    }
    return _thing("v1", "PersistentVolumeClaim", _name(launch, "runs"), options, {"spec": spec})


def _recipe(launch: Launch, options: Kubernetes) -> dict[str, Any]:
    text = located(launch.source).read_text(encoding="utf-8")
    return _thing(
        "v1", "ConfigMap", _name(launch, "recipe"), options, {"data": {_file(launch): text}}
    )


def _thing(
    version: str, kind: str, name: str, options: Kubernetes, rest: Mapping[str, Any]
) -> dict[str, Any]:
    metadata = {"name": name, "namespace": options.namespace}
    return {"apiVersion": version, "kind": kind, "metadata": metadata, **rest}


def _variables(options: Kubernetes) -> dict[str, Any]:
    return {"envFrom": [{"secretRef": {"name": options.secret}}]} if options.secret else {}


def _escaped(words: Iterable[str]) -> list[str]:
    """Words of a command, in which Kubernetes takes $(NAME) for a variable."""
    return [word.replace("$(", "$$(") for word in words]


def _mounts(places: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"name": name, "mountPath": path} for name, path in places.items()]


def _volumes(found: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [{"name": name, **volume} for name, volume in found.items()]


def _brought(launch: Launch) -> bool:
    """Whether the recipe is a file that the driver's image does not have."""
    return not shipped(located(launch.source))


def _file(launch: Launch) -> str:
    return located(launch.source).name


def _name(launch: Launch, what: Engine | str) -> str:
    """A name that may be part of a host's, 63 characters at most."""
    last = what if isinstance(what, str) else what.name
    return re.sub("[^a-z0-9]+", "-", f"{launch.recipe.name[:40].lower()}-{last[:20]}").strip("-")


def _dumped(things: list[dict[str, Any]]) -> str:
    return "---\n".join(readable(thing) for thing in things)
