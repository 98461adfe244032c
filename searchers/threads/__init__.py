"""Searchers whose text grows in several threads at once: what they buy is fewer serial tokens."""
