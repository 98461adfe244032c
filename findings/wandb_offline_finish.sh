#!/usr/bin/env bash
# W&B (wandb 0.31.0), offline: `run.finish()` returns before the run is on disk. As often as not the
# .wandb file then holds its first 7 bytes and nothing else; all of it is there only once
# `wandb.teardown()` returns, as it does when the program ends. Who copies, reads or syncs the file
# behind `finish()`, in a notebook or a service that goes on, gets an empty run.
#
# Met on 2026-11-29. Output:
#   12 offline runs: 7 whole when finish() returned, 12 whole when teardown() returned
# (the first number differs from time to time).
#
# Fails once every run is whole when finish() returns.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -qq wandb==0.31.0
cd "$work"

cat > finding.py <<'PY'
import pathlib
import tempfile

import wandb

RUNS, finished, down = 12, 0, 0
for _ in range(RUNS):
    folder = pathlib.Path(tempfile.mkdtemp(dir="."))
    settings = wandb.Settings(console="off", silent=True)
    run = wandb.init(project="p", mode="offline", dir=str(folder), settings=settings)
    run.log({"accuracy": 0.5}, step=0)
    run.finish()
    (file,) = folder.rglob("*.wandb")
    finished += b"accuracy" in file.read_bytes()
    wandb.teardown()
    down += b"accuracy" in file.read_bytes()
print(
    f"{RUNS} offline runs: {finished} whole when finish() returned, "
    f"{down} whole when teardown() returned"
)
assert finished < down == RUNS
PY
"$work/venv/bin/python" finding.py
