"""Several threads of text at once, for fewer serial tokens."""
