"""One random generator a purpose, so that no draw depends on how many draws were made elsewhere."""

from __future__ import annotations

import hashlib


def derive_seed(seed: int, *purpose: object) -> int:
    """Return a 63-bit seed for (seed, purpose, …): the same on every platform, different for every purpose."""
    text = "\x1f".join([str(seed), *map(str, purpose)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1
