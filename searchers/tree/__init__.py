"""Solutions grown step by step, most of them led by a verifier."""
