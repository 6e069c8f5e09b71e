"""Damage to bytes whose meaning is not known, for the fuzzers of `scripts/`."""

from __future__ import annotations

import random


def damage(rng: random.Random, data: bytes) -> bytes:
    """Change, cut or insert bytes."""
    changed = bytearray(data)
    for _ in range(rng.randrange(1, 6)):
        at = rng.randrange(len(changed) + 1)
        choice = rng.randrange(3)
        if choice == 0 and at < len(changed):
            changed[at] = rng.randrange(256)
        elif choice == 1:
            del changed[at:at + rng.randrange(1, 40)]
        else:
            changed[at:at] = bytes(rng.randrange(256) for _ in range(rng.randrange(1, 5)))
    return bytes(changed)
