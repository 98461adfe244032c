"""Randomness as a function of where we are, never of when we got there."""

from __future__ import annotations

from hashlib import blake2b

import numpy as np


def fold(seed: int, *key: object) -> int:
    """A 63-bit seed derived from `seed` and `key`, the same in every process and on every machine.

    Keys may be strings and integers; different keys give independent seeds.
    """
    digest = blake2b(digest_size=8)
    digest.update(b"%d" % seed)
    for part in key:
        data = part.encode("utf-8", "surrogatepass") if isinstance(part, str) else b"%d" % part
        digest.update(b"%c%d:" % (b"s"[0] if isinstance(part, str) else b"i"[0], len(data)) + data)
    return int.from_bytes(digest.digest(), "little") >> 1


def generator(seed: int, *key: object) -> np.random.Generator:
    """A NumPy generator seeded by `fold(seed, *key)`."""
    return np.random.Generator(np.random.PCG64(fold(seed, *key)))
