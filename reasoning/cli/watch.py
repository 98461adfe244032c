"""The command that shows a run while it goes on."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer


def watch(
    run: Annotated[
        Path, typer.Argument(help="The folder of a run: running, interrupted or finished.")
    ],
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 0,
    host: Annotated[str, typer.Option(help="Where to listen; others need keys.")] = "127.0.0.1",
) -> None:
    """Show a run in a browser while it goes on: searches and their trees, tokens, errors.

    It reads the folder alone and changes nothing, so that it may begin, end and begin again while
    the run goes on. It prints an address; Ctrl-C ends it. What a run has written when it was
    interrupted, killed or finished is shown, too, and the folder of shards as one run. Of a run on
    another machine: ssh -L 8002:127.0.0.1:8002 MACHINE reasoning watch RUN --port 8002.

    Only this machine may look. For others, --host 0.0.0.0 and keys in REASONING_SERVE_KEYS, which a
    browser asks for as a password. Needs `pip install 'reasoning[serve]'`.

    Example: reasoning watch runs/quickstart
    """
    from reasoning.cli.endpoint import KEYS, needed

    needed("watch")
    from reasoning.live.serving import serve
    from reasoning.serve.desk import Settings

    keys = tuple(key for k in os.environ.get(KEYS, "").split(",") if (key := k.strip()))

    def ready(port: int) -> None:
        shown = f"[{host}]" if ":" in host else host
        typer.echo(f"http://{shown}:{port}/ shows {run}; Ctrl-C ends it")

    serve(run, Settings(host=host, port=port, keys=keys, drain=1.0), ready)
