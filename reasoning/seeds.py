"""Randomness as a function of where we are, never of when we got there."""

from __future__ import annotations

from hashlib import blake2b

import numpy as np


def fold(seed: int, *key: str | int) -> int:
    """A 63-bit seed derived from `seed` and `key`, the same in every process and on every machine.

    Keys may be strings and integers; different keys give independent seeds.
    """
    parts = [b"%d" % seed]
    for part in key:
        if isinstance(part, str):
            data = part.encode("utf-8", "surrogatepass")
            parts.append(b"s%d:%b" % (len(data), data))
        else:
            parts.append(b"i%d:" % part)
    return int.from_bytes(blake2b(b"".join(parts), digest_size=8).digest(), "little") >> 1


def generator(seed: int, *key: str | int) -> np.random.Generator:
    """A NumPy generator seeded by `fold(seed, *key)`."""
    return np.random.Generator(np.random.PCG64(fold(seed, *key)))
