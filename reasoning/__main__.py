"""`python -m reasoning` is the `reasoning` command."""

from reasoning.cli.app import main

main()
