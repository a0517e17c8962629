"""Every random stream is a function of the experiment's seed and a key, never of what ran before it.

Source: numpy.random.SeedSequence, whose spawn keys were made for this.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


def integer(seed: int, *key: int | str) -> int:
    """Returns a 63-bit integer for ``seed`` and ``key``, for libraries that want a seed of their own.

    A string in the key counts through its CRC-32, since Python's own hash differs between processes.
    """
    words = tuple(zlib.crc32(part.encode()) if isinstance(part, str) else int(part) for part in key)
    state = np.random.SeedSequence(int(seed), spawn_key=words).generate_state(1, np.uint64)
    return int(state[0] >> np.uint64(1))


def generator(seed: int, *key: int | str) -> torch.Generator:
    """Returns a fresh CPU generator for ``seed`` and ``key``: the same key, the same stream, anywhere.

    Torch's CPU generator keeps the low 32 bits of its seed, so among 10,000 streams two may coincide (one
    chance in a hundred): harmless for shuffles and dropout, no basis for cryptography.
    """
    return torch.Generator().manual_seed(integer(seed, *key))


def draw(rng: torch.Generator) -> int:
    """Draws a 63-bit integer from ``rng``, to seed what cannot take a generator."""
    return int(torch.randint(0, 2**63 - 1, (), generator=rng))


@contextmanager
def seeded(rng: torch.Generator) -> Iterator[None]:
    """Runs its block with torch's global generator seeded from ``rng``, and restores it afterwards.

    Weight initialisation and dropout know no other generator.
    """
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        torch.manual_seed(draw(rng))
        yield
