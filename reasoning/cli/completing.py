"""What shells complete; read off folders, so that it is there at once."""

from __future__ import annotations

from pathlib import Path

_HERE = Path(__file__).resolve().parents[2]


def recipes(incomplete: str) -> list[str]:
    """Shipped recipes; a shell adds files where none fits."""
    return _stems("recipes", "*.yaml", incomplete)


def searchers(incomplete: str) -> list[str]:
    """Searchers: a file that defines its own name."""
    files = [f for f in (_HERE / "searchers").rglob("*.py") if f.stem.startswith(incomplete)]
    return sorted(f.stem for f in files if f"def {f.stem}(" in f.read_text(encoding="utf-8"))


def _stems(folder: str, pattern: str, incomplete: str) -> list[str]:
    found = (f.stem for f in (_HERE / folder).glob(pattern))
    return sorted(stem for stem in found if stem.startswith(incomplete))
