"""What MkDocs is told beside mkdocs.yml: pages that are made of the code, or stand elsewhere."""

from __future__ import annotations

import importlib
import os
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File

import reasoning
from reasoning.runs import reference

ROOT = Path(__file__).resolve().parents[1]
ELSEWHERE = {
    "index.md": "README.md",
    "contributing.md": "CONTRIBUTING.md",
    "changelog.md": "CHANGELOG.md",
    "model_card.md": "reasoning/backends/nano/README.md",
}
"""Pages of the site, and where their files are."""

_LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s]+)\)")


def on_files(files: Any, config: Any) -> Any:
    """Add the pages that are no files in docs/."""
    made = {place: (ROOT / path).read_text(encoding="utf-8") for place, path in ELSEWHERE.items()}
    made |= {**reference.pages(), "reference/python.md": python()}
    for place, text in made.items():
        files.append(File.generated(config, place, content=text))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Have links between the repository's pages lead to where they are on the site."""
    del config
    here = Path(page.file.src_uri)
    source = ROOT / ELSEWHERE.get(str(here), Path("docs") / here)

    def moved(found: re.Match[str]) -> str:
        image, text, target = found.groups()
        path, mark, anchor = target.partition("#")
        if not path or re.match(r"[a-z]+:", path) or str(here).startswith("reference/"):
            return found[0]
        place = _place(Path(os.path.normpath(source.parent / path)))
        if place is None or files.get_file_from_path(str(place)) is None:
            return text  # of the repository alone
        return f"{image}[{text}]({os.path.relpath(place, here.parent)}{mark}{anchor})"

    return _LINK.sub(moved, markdown)


def _place(path: Path) -> Path | None:
    """Where a file of the repository is on the site."""
    for place, source in ELSEWHERE.items():
        if path == ROOT / source:
            return Path(place)
    docs = ROOT / "docs"
    return path.relative_to(docs) if path.is_relative_to(docs) else None


def python() -> str:
    """The page of all public names, each documented where it lives."""
    blocks = ["# Python reference", "Everything that `reasoning` exports."]
    for name in reasoning.__all__:
        home = importlib.import_module(f"reasoning.{reasoning._HOMES[name]}")
        value = getattr(home, name)
        module = getattr(value, "__module__", home.__name__)
        where = module if module.startswith("reasoning") else home.__name__
        blocks.append(f"::: {where}.{name}")
    return "\n\n".join(blocks) + "\n"
