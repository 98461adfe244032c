"""Engines for a recipe: the servers it needs, here or on many machines, and the run beside them.

`servers` says what a recipe needs and `clients` how it asks them; `slurm`, `kubernetes` and
`skypilot` write what starts them there.
"""
