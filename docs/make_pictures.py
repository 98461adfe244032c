"""Make the README's pictures from real runs of the embedded model; a few minutes.

    python docs/make_pictures.py [--run runs/quickstart]

docs/images/quickstart.png   accuracy against tokens of recipes/quickstart.yaml
docs/images/report.png       the top of its report     (these two need chromium and are
docs/images/tree.png         a rollout tree             left as they are without it)
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from evals.report import charts, numbers, write
from evals.report.load import Runs, load
from evals.report.page import title
from evals.report.trees import Tree, read_tree
from reasoning.runs import run as runner
from reasoning.runs.recipe import load as recipe
from reasoning.runs.recipe import parse
from reasoning.runs.store import Store

ROOT = Path(__file__).resolve().parents[1]
IMAGES = ROOT / "docs" / "images"
SEARCH = {
    "name": "particle filter",
    "task": {"name": "nano", "n": 16},
    "generator": "nano",
    "verifier": "nano_prm",
    "strategies": [{"searcher": "particle_filter", "n": 8}],
    "seed": 0,
}
FLAGS = (
    "headless", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run", "disable-sync",
    "disable-background-networking", "disable-component-update", "hide-scrollbars",
    "force-device-scale-factor=1.5", "blink-settings=preferredColorScheme=1",
)  # fmt: skip


def draw_accuracy(runs: Runs) -> None:
    """The picture of the quickstart."""
    lines = numbers.summary_lines(runs)
    about = f"{title(runs)}, {len(runs.problems)} problems"
    if figure := charts.accuracy_against(lines, "generated_tokens", about):
        for path in charts.save(figure, IMAGES, "quickstart"):
            if path.suffix != ".png":
                path.unlink()


def telling(runs: Runs) -> tuple[str, int]:
    """The problem whose tree shows most: solved, with several answers and cuts; and its rows."""
    (strategy,) = runs.strategies

    def worth(item: tuple[str, Tree]) -> tuple[bool, bool, int, int]:
        name, tree = item
        states = [node.state for node in tree.nodes]
        kinds = len(set(states))
        return bool(strategy.rows[name].correct), len(tree.nodes) < 45, kinds, len(tree.nodes)

    trees = {}
    for name, row in strategy.rows.items():
        path = Store(strategy.run.folder).tree_path(strategy.name, name)
        if tree := read_tree(path, strategy.run.result(row)):
            trees[name] = tree
    name, tree = max(trees.items(), key=worth)
    parents = {node.parent for node in tree.nodes}
    return name, sum(place not in parents for place in range(len(tree.nodes)))


def photograph(url: str, name: str, width: int, height: int) -> None:
    """A picture of a page at a size in CSS pixels."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    if browser is None:
        print(f"{name}: left as it is, chromium is not installed")
        return
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        size = [f"--window-size={width},{height}", f"--user-data-dir={profile}"]
        shot = Path(profile) / "shot.png"
        command = [browser, *(f"--{flag}" for flag in FLAGS), *size, f"--screenshot={shot}", url]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
        if not shot.exists():
            sys.exit(f"{name}: chromium took no picture\n{done.stderr}")
        shutil.copy(shot, IMAGES / name)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--run", type=Path, help="a finished run of the quickstart [makes one]")
    args = parser.parse_args()
    IMAGES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        run, search = args.run or folder / "quickstart", folder / "search"
        if args.run is None:
            asyncio.run(runner.run(recipe(ROOT / "recipes" / "quickstart.yaml"), run))
        asyncio.run(runner.run(parse(SEARCH), search))
        draw_accuracy(load([run]))
        write([run], folder / "report.html")
        photograph((folder / "report.html").as_uri(), "report.png", 1180, 1080)
        problem, rows = telling(load([search]))
        write([search], folder / "tree.html")
        link = f"{(folder / 'tree.html').as_uri()}#problem={problem}"
        photograph(link, "tree.png", 1000, 480 + 24 * rows)
    print(f"{IMAGES}: {', '.join(sorted(path.name for path in IMAGES.iterdir()))}")


if __name__ == "__main__":
    main()
