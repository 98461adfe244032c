"""Thinking: made longer, made shorter, taken apart."""
