"""Generators. `reasoning/backends/<name>.py` defines `<name>`, a factory of keyword options."""
