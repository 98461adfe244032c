"""Programs: those of prompts, which are data, and those that a model writes."""
