"""Several models that share out the work."""
