"""What the command line says of an option that is none, where it can say what is meant."""

from __future__ import annotations

from typing import Any

from typer.core import TyperCommand


class Command(TyperCommand):
    """A command with `--set`, which is where the parameters of searchers go."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, args)
        except Exception as error:  # typer has had click's errors, and has its own by now
            said = str(getattr(error, "option_name", ""))
            name = said.lstrip("-").replace("-", "_")
            if name not in {param.name for param in self.params} and (keys := _keys(name)):
                how = " or ".join(f"--set {key}=VALUE" for key in keys)
                told = {"message": f"No such option: {said}. It is set so: {how}"}
                vars(error).update(told, possibilities=None)
            raise


def _keys(name: str) -> list[str]:
    """What `--set` may call it: a parameter of sampling, of limits, of some searcher."""
    from reasoning.generate import Sampling
    from reasoning.runs import names
    from reasoning.settings import Limits

    keys = [
        f"{place}.{name}"
        for place, settings in (("sampling", Sampling), ("limits", Limits))
        if name in names.parameters(settings)
    ]
    searchers = (names.find("searcher", known) for known in names.known("searcher"))
    return keys + [name] * any(name in names.parameters(searcher) for searcher in searchers)
