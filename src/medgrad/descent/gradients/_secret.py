"""Random numbers that nobody can foresee or repeat, for noise that must stay secret."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from hashlib import sha3_256, shake_256
from typing import Any

import numpy as np
import torch
from torch import Tensor

KEY_BYTES = 32


class SecretGenerator:
    """A generator whose key comes from the operating system: 256 bits, expanded by SHAKE-256.

    No seed reaches it: neither that of a recipe nor ``torch.manual_seed``. After each draw the key is hashed, so a
    state tells what will be drawn, and nothing of what was: keep the checkpoint of an unfinished run as secret as its
    data. Each process of a team has a key of its own.

    Numbers are rounded as floating point rounds them. A proof of privacy that needs exact ones (Mironov, CCS 2012)
    does not hold for them.
    """

    def __init__(self) -> None:
        self.key = secrets.token_bytes(KEY_BYTES)

    def draw_bytes(self, count: int) -> bytes:
        """Draw so many random bytes."""
        drawn = shake_256(b"draw" + self.key).digest(count)
        self.key = sha3_256(b"next" + self.key).digest()
        return drawn

    def uniform(self, *shape: int) -> Tensor:
        """Draw numbers above 0 and up to 1, in float64 on the CPU."""
        count = int(np.prod(shape, dtype=np.int64))
        whole = np.frombuffer(self.draw_bytes(8 * count), np.uint64) >> np.uint64(11)
        return torch.from_numpy((whole.astype(np.float64) + 1.0) * 2.0**-53).view(shape)

    def normal_like(self, like: Tensor) -> Tensor:
        """Draw a standard normal number for each element of a tensor, in its type and on its device."""
        pairs = self.uniform(2, (like.numel() + 1) // 2)  # Box and Muller, 1958
        radius, angle = (-2 * pairs[0].log()).sqrt(), 2 * torch.pi * pairs[1]
        drawn = torch.cat([radius * angle.cos(), radius * angle.sin()])[: like.numel()]
        return drawn.view(like.shape).to(like)

    def state_dict(self) -> dict[str, Any]:
        """Return the key of the next draw."""
        return {"key": self.key.hex()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a key."""
        key = bytes.fromhex(state["key"])
        if len(key) != KEY_BYTES:
            raise ValueError(f"A key has {KEY_BYTES} bytes, not {len(key)}.")
        self.key = key
