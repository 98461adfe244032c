"""Manifests for Kubernetes: what they say, and what Kubernetes' own schemas say of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from reasoning.errors import RecipeError
from reasoning.launching import kubernetes
from reasoning.launching.kubernetes import Kubernetes
from reasoning.launching.options import read
from tests.reasoning.launching.conftest import Launching


def manifests(launching: Launching, *said: str) -> dict[tuple[str, str], dict[str, Any]]:
    """By kind and name."""
    options = read("kubernetes", Kubernetes, ["driver=me/reasoning:1", *said])
    launch = launching(options)
    texts = kubernetes.written(launch, options, Path()).values()
    found = [m for text in texts for m in yaml.safe_load_all(text)]
    return {(m["kind"], m["metadata"]["name"]): m for m in found}


def test_an_engine_is_a_deployment_behind_a_name(launching: Launching) -> None:
    found = manifests(launching, "replicas=16", "verifiers=2")
    deployment = found["Deployment", "my-run-generator"]["spec"]
    assert deployment["replicas"] == 16
    assert found["Deployment", "my-run-verifier"]["spec"]["replicas"] == 2
    (server,) = deployment["template"]["spec"]["containers"]
    assert server["command"][:7] == [
        "vllm", "serve", "org/Model-7B", "--host", "0.0.0.0", "--port", "8000",
    ]  # fmt: skip
    assert server["resources"]["limits"]["nvidia.com/gpu"] == "2"
    assert server["readinessProbe"]["httpGet"] == {"path": "/health", "port": 8000}
    assert server["startupProbe"]["failureThreshold"] * 10 == 1800
    service = found["Service", "my-run-generator"]["spec"]
    assert service["clusterIP"] == "None"
    assert service["selector"] == deployment["template"]["metadata"]["labels"]


def test_the_run_looks_its_servers_up(launching: Launching) -> None:
    found = manifests(launching, "namespace=lab")
    job = found["Job", "my-run-run"]["spec"]
    pod = job["template"]["spec"]
    (run,) = pod["containers"]
    assert run["command"][:5] == [
        "reasoning", "run", "/recipe/my run.yaml", "--out", "/runs/my run",
    ]  # fmt: skip
    sets = " ".join(run["command"])
    assert '"base_url": "dns:http://my-run-generator.lab.svc:8000/v1"' in sets
    assert '"base_url": "dns:http://my-run-verifier.lab.svc:8000"' in sets
    (wait,) = pod["initContainers"]
    assert wait["command"][-2:] == [
        "http://my-run-generator.lab.svc:8000/health",
        "http://my-run-verifier.lab.svc:8000/health",
    ]
    compile(wait["command"][2], "wait", "exec")
    recipe = found["ConfigMap", "my-run-recipe"]["data"]["my run.yaml"]
    assert yaml.safe_load(recipe)["verifier"]["model"] == "org/Reward-1B"
    assert {"persistentVolumeClaim": {"claimName": "my-run-runs"}, "name": "runs"} in pod["volumes"]
    assert ("PersistentVolumeClaim", "my-run-runs") in found
    assert ("PersistentVolumeClaim", "my-run-runs") not in manifests(launching, "claim=mine")


def test_what_is_a_variable_to_kubernetes_is_escaped(launching: Launching) -> None:
    found = manifests(launching, "server=serve --port {port} $(X)")
    (server,) = found["Deployment", "my-run-generator"]["spec"]["template"]["spec"]["containers"]
    assert server["command"][-1] == "$$(X)"


def test_the_driver_has_to_be_named(launching: Launching) -> None:
    with pytest.raises(RecipeError, match=r"--kubernetes needs driver=.*image"):
        read("kubernetes", Kubernetes, [])


@pytest.mark.parametrize(
    "said",
    [(), ("secret=hf", "cache=models", "storage=fast", "size=1Ti", "replicas=3"), ("claim=mine",)],
)
def test_kubernetes_takes_them(launching: Launching, said: tuple[str, ...]) -> None:
    schemas = pytest.importorskip(
        "kubernetes_validate",
        reason="Kubernetes' schemas are not installed here (pip install kubernetes-validate)",
    )
    for manifest in manifests(launching, *said).values():
        schemas.validate(manifest, "1.34", strict=True)


def test_its_schemas_see_a_mistake(launching: Launching) -> None:
    schemas = pytest.importorskip("kubernetes_validate")
    wrong = manifests(launching)["Job", "my-run-run"]
    wrong["spec"]["backofLimit"] = 1
    with pytest.raises(schemas.ValidationError):
        schemas.validate(wrong, "1.34", strict=True)
