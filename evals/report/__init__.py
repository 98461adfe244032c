"""One self-contained HTML page about one run or several: numbers, charts, every rollout tree."""

from __future__ import annotations

from evals.report.page import Written, write

__all__ = ["Written", "write"]
