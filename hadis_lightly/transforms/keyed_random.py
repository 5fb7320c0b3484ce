"""Random numbers as a function of a key: no generator, no state, any device."""

from __future__ import annotations

import torch
from torch import Tensor

# Odd constants of the SplitMix64 generator (Steele, Lea and Flood, 2014), as signed
# integers.
_GAMMA, _FIRST, _SECOND = (
    bits - (1 << 64)
    for bits in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB)
)


def keyed_uniforms(seed: int, epoch: int, keys: Tensor, size: int) -> Tensor:
    """Uniform numbers that depend on seed, epoch and key alone.

    A batch has the same draws on any device, in any order, spread over any number of
    processes, and in a resumed run. No generator of PyTorch can be indexed like this.

    Args:
        seed: Seed of the run, >= 0.
        epoch: Number of the epoch, >= 0.
        keys: Integers ``(n,)``, such as indices of images.
        size: Numbers per key.

    Returns:
        float32 ``(n, size)`` in [0, 1), multiples of 2^-24.

    Example:
        >>> numbers = keyed_uniforms(0, 5, torch.tensor([7, 3]), size=2)
        >>> torch.equal(numbers[1:], keyed_uniforms(0, 5, torch.tensor([3]), size=2))
        True
    """
    stream = _mix(_mix(torch.tensor(seed + _GAMMA)) + epoch + _GAMMA)
    key_states = _mix(keys.long() * _GAMMA + stream)  # (n,)
    steps = torch.arange(1, size + 1, device=keys.device) * _GAMMA
    bits = _mix(key_states.unsqueeze(1) + steps)  # (n, size)
    return _shift_right(bits, 40).float() * 2.0**-24


def _mix(z: Tensor) -> Tensor:
    """SplitMix64's mixing of all bits, in integers that wrap around."""
    z = (z ^ _shift_right(z, 30)) * _FIRST
    z = (z ^ _shift_right(z, 27)) * _SECOND
    return z ^ _shift_right(z, 31)


def _shift_right(z: Tensor, bits: int) -> Tensor:
    """Logical shift; ``>>`` of signed integers fills with the sign."""
    return (z >> bits) & ((1 << (64 - bits)) - 1)
