"""Shared by all tests: one Hypothesis profile, and where real recordings are."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# The same examples in every run, and no clock: a slow machine is not a bug.
settings.register_profile(
    "tests",
    derandomize=True,
    deadline=None,
    max_examples=60,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("tests")


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder with recordings of real models (environment variable REASONING_DATA)."""
    root = Path(__file__).resolve().parents[1]
    folder = Path(os.environ.get("REASONING_DATA") or root.parent / "shared" / "data")
    if not folder.is_dir():
        pytest.skip(f"no recordings at {folder}; set REASONING_DATA to where they are")
    return folder
