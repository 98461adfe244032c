"""What is said of a launch as `key=value`s, checked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from reasoning.errors import RecipeError, unknown


class Options(BaseModel):
    """What all launchers know. A field's description is what an error and the help say of it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    start: int = Field(1800, ge=1, description="seconds until the first servers have to be healthy")
    server: str | None = Field(
        None,
        description="a command line in place of vllm's: 'apptainer exec --nv vllm.sif vllm serve "
        "{arguments}', or what else answers /health, with {port}, {model} and {role} where they "
        "belong",
    )
    run: str = Field("", description="further options of `reasoning run`, such as '--limit 100'")

    @property
    def cpu(self) -> bool:
        """Whether there are no GPUs."""
        return False


class OnMachines(Options):
    """What those know, too, who give out machines and leave the servers on them to the script."""

    nodes: int = Field(1, ge=1, description="machines")
    servers: int | None = Field(
        None, ge=1, description="servers of each generator on a machine [as many as its GPUs allow]"
    )
    verifiers: int = Field(1, ge=1, description="servers of each verifier on a machine")
    restarts: int = Field(
        3, ge=0, description="times that a server which has died is started again"
    )


T = TypeVar("T", bound=Options)


def read(launcher: str, kind: type[T], items: Sequence[str]) -> T:
    """The options of a launcher. Raises RecipeError, which names key, rule and cure."""
    given: dict[str, str] = {}
    for item in items:
        key, eq, value = item.partition("=")
        if not eq or not key:
            raise RecipeError(f"--{launcher} takes key=value, for example nodes=8, not {item!r}")
        if key not in kind.model_fields:
            raise RecipeError(unknown(f"option of --{launcher}", key, kind.model_fields))
        if key in given:
            raise RecipeError(f"--{launcher}: {key} is given twice; say it once")
        given[key] = value
    try:
        return kind.model_validate(given)
    except ValidationError as error:
        first = error.errors()[0]
        key = str(first["loc"][0])
        what = kind.model_fields[key].description
        if first["type"] == "missing":
            raise RecipeError(f"--{launcher} needs {key}=...: {what}") from None
        why = first["msg"].removeprefix("Value error, ")
        raise RecipeError(
            f"--{launcher}: {key}={given[key]!r} does not fit: {why}; {key} is {what}"
        ) from None


def described(kind: type[Options]) -> Iterator[tuple[str, str]]:
    """Each option with its default, and what it means."""
    for name, field in kind.model_fields.items():
        default = "" if field.default is None or field.is_required() else str(field.default)
        yield f"{name}={default}", str(field.description)
