"""The same question in other words, or in another order."""
