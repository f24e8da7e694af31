"""The random bytes of one start of an actor: one stream behind every source of randomness that a guest has.

It is seeded by (actor, epoch) with a secret of the data directory, so no start repeats another's, tenants cannot
predict it, and a recorded start can be replayed.
"""

from __future__ import annotations

import hashlib
import hmac

__all__ = ["RandomStream", "actor_seed"]

BLOCK = 1024


def actor_seed(data_key: bytes, actor_id: str, epoch: int) -> bytes:
    """HMAC-SHA256(data key, actor id) and the epoch: what the stream of one start is made of."""
    secret = hmac.digest(data_key, actor_id.encode("utf-8"), "sha256")
    return secret + epoch.to_bytes(8, "big")


class RandomStream:
    """SHAKE-256 over the seed and a block counter: as one long squeeze it would have to begin again at every read."""

    __slots__ = ("_at", "_block", "_count", "_seed")

    def __init__(self, seed: bytes) -> None:
        self._seed = seed
        self._count = 0
        self._block = b""
        self._at = 0

    def read(self, n: int) -> bytes:
        """The next `n` bytes; how they are split into reads makes no difference."""
        end = self._at + n
        if end > len(self._block):
            parts = [self._block[self._at :]]
            have = len(parts[0])
            while have < n:
                parts.append(hashlib.shake_256(self._seed + self._count.to_bytes(8, "big")).digest(BLOCK))
                self._count += 1
                have += BLOCK
            self._block, self._at, end = b"".join(parts), 0, n
        data = self._block[self._at : end]
        self._at = end
        return data
