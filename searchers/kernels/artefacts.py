"""Files that one command writes and searchers read in later runs: policies, notes."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError


class Artefact(BaseModel):
    """A part of such a file: nothing else may stand there, and it never changes."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def read(kind: type[Artefact], source: object, command: str) -> object:
    """The artefact in the file `source`, anything but a name as it is.

    Raises ValueError that says what is wrong with the file, and which command writes one.
    """
    if not isinstance(source, (str, Path)):
        return source
    what = kind.__name__.lower()
    try:
        return kind.model_validate_json(Path(source).read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(
            f"{source} cannot be read: {error.strerror or error}; `{command}` writes {what}"
        ) from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise ValueError(f"{source} holds no {what}: {where}: {first['msg']}") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"{source} holds no {what}: it is no text in UTF-8") from error
