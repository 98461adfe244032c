"""Whole solutions: drawn, raced, counted."""
