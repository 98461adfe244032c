"""Places in the tools that people already use; what each needs is an extra, imported when used."""

from __future__ import annotations

import importlib
from typing import Any, Literal, TypeAlias

from reasoning.errors import RecipeError

Table: TypeAlias = Literal["samples", "results"]
Format: TypeAlias = Literal["parquet", "csv", "dataset", "dataframe", "inspect"]
Scale: TypeAlias = Literal["percent", "fraction"]


def needed(module: str, what: str, install: str) -> Any:
    """The module of another package that `what` needs.

    Raises RecipeError, which says what to `install`, where it is missing.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise RecipeError(
            f"{what} needs {module.partition('.')[0]}, which is not installed or cannot be "
            f"imported ({error}): pip install '{install}'"
        ) from error
