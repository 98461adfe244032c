"""What a recipe says of its workers."""

from __future__ import annotations

from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, model_validator

R = TypeVar("R", bound=BaseModel)


class Workers(BaseModel):
    """`workers: 16`, or a mapping with these. Not part of what identifies a run."""

    model_config = ConfigDict(extra="forbid")

    n: Annotated[int, Field(ge=1)]
    num_gpus: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    num_cpus: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 1
    at_once: Annotated[int, Field(ge=1)] | None = None
    patience: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 60.0
    address: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _a_number(cls, data: Any) -> Any:
        return {"n": data} if isinstance(data, int) and not isinstance(data, bool) else data


def with_workers(recipe: R, n: int | None) -> R:
    """The recipe on `n` workers, however many it names itself; as it is where None is said."""
    if n is None:
        return recipe
    workers = getattr(recipe, "workers", None)
    changed = Workers(n=n) if workers is None else workers.model_copy(update={"n": n})
    return recipe.model_copy(update={"workers": changed})
