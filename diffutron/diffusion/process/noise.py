"""Counter-based random numbers: a hash of integers, with no state and no order of calls.

SplitMix64 (Steele, Lea and Flood, OOPSLA 2014): its finaliser, applied key by key. The same keys
give the same number on every machine, rank and batch, which is what makes a resumed or resharded
run see the same noise.
"""

import torch
from torch import Tensor

_GAMMA = -7046029254386353131  # 0x9E3779B97F4A7C15 as a signed 64-bit integer
_MIX_1 = -4658895280553007687  # 0xBF58476D1CE4E5B9
_MIX_2 = -7723592293110705685  # 0x94D049BB133111EB


def hash_keys(*keys: int | Tensor, device: torch.device | str | None = None) -> Tensor:
    """64 well-mixed bits (int64) from integer keys, which broadcast against each other."""
    state = torch.zeros((), dtype=torch.int64, device=device)
    for key in keys:
        if isinstance(key, int):
            signed = (key + 2**63) % 2**64 - 2**63
            key = torch.tensor(signed, dtype=torch.int64, device=device)
        state = _mix((state ^ key.to(torch.int64)) + _GAMMA)
    return state


def uniform(*keys: int | Tensor, device: torch.device | str | None = None) -> Tensor:
    """A float64 uniform on the open interval (0, 1) from integer keys, which broadcast."""
    bits = _shift_right(hash_keys(*keys, device=device), 12)
    return (bits.to(torch.float64) + 0.5) * 2.0**-52


def _mix(state: Tensor) -> Tensor:
    state = (state ^ _shift_right(state, 30)) * _MIX_1
    state = (state ^ _shift_right(state, 27)) * _MIX_2
    return state ^ _shift_right(state, 31)


def _shift_right(state: Tensor, bits: int) -> Tensor:
    """Logical shift: torch shifts signed integers arithmetically."""
    return (state >> bits) & ((1 << (64 - bits)) - 1)
