"""Random numbers as a function of a key: no generator, no state, any device."""

from __future__ import annotations

import torch
from torch import Tensor

_MASK = (1 << 64) - 1
# Odd constants of the SplitMix64 generator (Steele, Lea and Flood, 2014).
_GAMMA, _FIRST, _SECOND = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB


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
    stream = _mixed(_mixed(seed & _MASK) + epoch & _MASK)
    key_states = _mix(keys.long() * _signed(_GAMMA) + _signed(stream))  # (n,)
    steps = torch.arange(1, size + 1, device=keys.device) * _signed(_GAMMA)
    bits = _mix(key_states.unsqueeze(1) + steps)  # (n, size)
    return (_shifted(bits, 40)).float() * 2.0**-24


def _mix(z: Tensor) -> Tensor:
    """SplitMix64's mixing of all bits, in integers that wrap around."""
    z = (z ^ _shifted(z, 30)) * _signed(_FIRST)
    z = (z ^ _shifted(z, 27)) * _signed(_SECOND)
    return z ^ _shifted(z, 31)


def _shifted(z: Tensor, bits: int) -> Tensor:
    """Logical shift to the right; ``>>`` of signed integers fills with the sign."""
    return (z >> bits) & ((1 << (64 - bits)) - 1)


def _mixed(z: int) -> int:
    z = (z + _GAMMA) & _MASK
    z = ((z ^ (z >> 30)) * _FIRST) & _MASK
    z = ((z ^ (z >> 27)) * _SECOND) & _MASK
    return z ^ (z >> 31)


def _signed(z: int) -> int:
    """The same 64 bits as a signed integer."""
    return z - (1 << 64) if z >> 63 else z
