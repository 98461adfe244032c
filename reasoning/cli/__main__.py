"""`python -m reasoning.cli` is the `reasoning` command."""

from reasoning.cli.app import main

main()
