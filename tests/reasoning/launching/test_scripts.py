"""The scripts for Slurm and SkyPilot, as far as they can be told without a cluster.

tests/engines runs the first under Slurm, and the second on two addresses of this machine.
"""

from __future__ import annotations

import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from reasoning.errors import RecipeError
from reasoning.launching import skypilot, slurm
from reasoning.launching.options import read
from reasoning.launching.skypilot import SkyPilot
from reasoning.launching.slurm import Slurm
from reasoning.launching.texts import text
from tests.reasoning.launching.conftest import Launching


def checked(script: str) -> str:
    """The script, if it is one by bash, and by shellcheck where that is installed."""
    subprocess.run(["bash", "-n"], input=script, text=True, check=True)
    if shutil.which("shellcheck"):
        subprocess.run(
            ["shellcheck", "--shell=bash", "--severity=warning", "-"],
            input=script, text=True, check=True,
        )  # fmt: skip
    return script


def script(launching: Launching, *said: str) -> str:
    options = read("slurm", Slurm, said)
    launch = launching(options)
    (found,) = slurm.written(launch, options, Path("/work here")).values()
    return checked(found)


def test_what_is_asked_of_slurm_comes_before_any_command(launching: Launching) -> None:
    lines = script(launching, "nodes=2", "setup=module load python", "sbatch=--qos=high -C 'a b'")
    asked = [line for line in lines.splitlines() if line.startswith("#SBATCH")]
    first = next(line for line in lines.splitlines() if line and line[0] != "#")
    assert first == "module load python"
    assert lines.index(asked[-1]) < lines.index(first)
    wanted = ["--nodes=2", "--ntasks-per-node=1", "--cpus-per-task=32", "--gres=gpu:8"]
    wanted += ["--signal=B:USR1@180", "--open-mode=append", "--requeue", "--qos=high"]
    wanted += ['"a b"', '--chdir="/work here"']
    assert not [want for want in wanted if not any(want in line for line in asked)]
    log = next(line for line in asked if "--output" in line)
    assert log.endswith('runs/my run/launch/slurm-%j.log"')


def test_a_server_is_a_step_with_its_gpus(launching: Launching) -> None:
    found = script(launching)
    assert "SERVERS=(generator generator generator verifier)" in found
    assert 'generator() {  # NODE PORT\n  on "$1" 2 vllm serve org/Model-7B' in found
    assert 'verifier() {  # NODE PORT\n  on "$1" 1 vllm serve org/Reward-1B' in found
    assert "PATHS=([generator]=/v1 [verifier]='')" in found


def test_the_tasks_of_an_array_have_shards_and_replicas_of_their_own(
    launching: Launching, tmp_path: Path
) -> None:
    found = script(launching, "array=4")
    assert "#SBATCH --array=1-4" in found
    assert "slurm-%A_%a.log" in found
    assert "--shard \"$SLURM_ARRAY_TASK_ID\"'/4'" in found
    assert 'FILES="$OUT/launch/replicas-$SLURM_ARRAY_TASK_ID"' in found
    (run,) = (line for line in found.splitlines() if "reasoning run" in line)
    url = f"file:{tmp_path}/runs/my run/launch/replicas-$SLURM_ARRAY_TASK_ID/generator.txt"
    assert url in " ".join(shlex.split(run))  # the same in every task, which makes one run of them


def test_there_are_ports_enough(launching: Launching) -> None:
    with pytest.raises(RecipeError, match=r"make port= or nodes= smaller"):
        script(launching, "nodes=9000")


# ------------------------------------------------------------------------------- replicas


def replicas(tmp_path: Path, steps: str) -> list[str]:
    """What bash says to `steps`, where curl ends with the code in the file of a port."""
    for port, code in ((1, 0), (2, 7), (3, 0)):
        (tmp_path / f"port{port}").write_text(str(code))
    begin = f"""
    set -u
    cd "{tmp_path}"
    curl() {{ local url="${{@: -1}}"; url=${{url#http://h:}}; return "$(cat "port${{url%%/*}}")"; }}
    URLS=(http://h:1 http://h:2 http://h:3) ENGINES=(generator generator verifier) UP=()
    declare -A PATHS=([generator]=/v1 [verifier]=)
    FILES=.
    """
    done = subprocess.run(
        ["bash", "-c", f"{begin}\n{text('replicas.sh')}\n{steps}"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert not done.stderr
    return done.stdout.splitlines()


def test_who_answers_is_in_the_file_of_its_engine(tmp_path: Path) -> None:
    replicas(tmp_path, "look; publish; ready")
    assert (tmp_path / "generator.txt").read_text() == "http://h:1/v1\n"
    assert (tmp_path / "verifier.txt").read_text() == "http://h:3\n"


def test_servers_come_and_go_and_a_slow_one_stays(tmp_path: Path) -> None:
    steps = "look; publish; echo 0 > port2; echo 28 > port1; echo 7 > port3; look; publish; ready"
    said = replicas(tmp_path, f"{steps} || echo not ready")
    assert (tmp_path / "generator.txt").read_text() == "http://h:1/v1\nhttp://h:2/v1\n"
    assert (tmp_path / "verifier.txt").read_text() == ""
    assert said[-1] == "not ready"
    assert [line.split(" ", 1)[1] for line in said[:-1]] == [
        "http://h:1 is up", "http://h:3 is up", "http://h:2 is up", "http://h:3 is gone",
    ]  # fmt: skip


def test_a_file_is_replaced_as_a_whole_and_only_if_it_changes(tmp_path: Path) -> None:
    same, other = replicas(
        tmp_path,
        "look > /dev/null; publish; a=$(stat -c %i generator.txt); publish; "
        "[ $a = $(stat -c %i generator.txt) ]; echo $?; exec 3< generator.txt; echo 7 > port1; "
        "look > /dev/null; publish; cat <&3",
    )
    assert same == "0"
    assert other == "http://h:1/v1"  # whoever has it open reads all of what it was


# ------------------------------------------------------------------------------- skypilot


def task(launching: Launching, *said: str) -> tuple[dict[str, object], str]:
    options = read("skypilot", SkyPilot, said)
    launch = launching(options)
    (found,) = skypilot.written(launch, options, Path()).values()
    data = yaml.safe_load(found)
    checked(data["run"])
    return data, found


def test_a_task_for_skypilot(launching: Launching) -> None:
    data, found = task(launching, "nodes=2", "accelerators=H100:4", "bucket=b", "spot=yes")
    assert data["num_nodes"] == 2
    assert data["resources"] == {"accelerators": "H100:4", "use_spot": True}
    assert data["file_mounts"] == {"/runs": {"name": "b", "mode": "MOUNT_CACHED"}}
    assert "SERVERS=(generator verifier)" in found
    assert "reasoning run 'my run.yaml' --out '/runs/my run'" in found


def test_a_recipe_that_is_not_brought_to_the_machines(launching: Launching, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    with pytest.raises(RecipeError, match=r"not in 'elsewhere'.*workdir="):
        task(launching, "accelerators=H100:8", "workdir=elsewhere")


def test_what_skypilot_makes_of_the_task(launching: Launching, tmp_path: Path) -> None:
    sky = pytest.importorskip("sky", reason="SkyPilot is not installed here (pip install skypilot)")
    _, found = task(launching, "nodes=2", "accelerators=H100:4", "infra=aws/us-east-1", "spot=yes")
    file = tmp_path / "task.yaml"
    file.write_text(found)
    made = sky.Task.from_yaml(str(file))
    assert made.num_nodes == 2
    (resources,) = made.resources
    assert resources.accelerators == {"H100": 4}
    assert resources.use_spot
