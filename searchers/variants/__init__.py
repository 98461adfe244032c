"""Searchers whose slots are asked in different words, or in another order."""
