"""Programs that a model writes, and that are run."""
