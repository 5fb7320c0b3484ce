"""Checks of arguments: the message names the argument and its value."""

from __future__ import annotations

import math
from numbers import Integral, Real


def is_number(value: object) -> bool:
    """Whether ``value`` is a finite number; a bool is not."""
    if not isinstance(value, Real) or isinstance(value, bool):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer too large for a float
        return False


def check_bool(name: str, value: object) -> None:
    """Raises unless ``value`` is True or False.

    Example:
        >>> check_bool("whiten", "no")
        Traceback (most recent call last):
        TypeError: whiten must be True or False, got 'no'.
    """
    if not isinstance(value, bool):
        raise TypeError(f"{name} must be True or False, got {value!r}.")


def check_integer(name: str, value: object, least: int) -> None:
    """Raises unless ``value`` is an integer of at least ``least``.

    Example:
        >>> check_integer("n_init", 0, least=1)
        Traceback (most recent call last):
        ValueError: n_init must be at least 1, got 0.
    """
    if not isinstance(value, Integral) or isinstance(value, bool):
        raise TypeError(f"{name} must be an integer, got {value!r}.")
    if int(value) < least:
        raise ValueError(f"{name} must be at least {least}, got {value!r}.")
    if int(value) >= 2**63:  # does not fit PyTorch's int64
        raise ValueError(f"{name} must be below 2**63, got {value!r}.")


def check_number(
    name: str, value: object, low: float, high: float = math.inf, above: bool = False
) -> None:
    """Raises unless ``value`` is a finite number between ``low`` and ``high``.

    Args:
        name: The caller's argument name.
        value: The value.
        low: Its minimum.
        high: Its maximum.
        above: Whether it must be greater than ``low``.

    Example:
        >>> check_number("temperature", 0.0, 0, above=True)
        Traceback (most recent call last):
        ValueError: temperature must be > 0, got 0.0.
    """
    if not isinstance(value, Real) or isinstance(value, bool):
        raise TypeError(f"{name} must be a number, got {value!r}.")
    is_low = value <= low if above else value < low
    if not is_number(value) or is_low or value > high:  # type: ignore[operator]
        limits = f"{'>' if above else '>='} {low:g}"
        if high != math.inf:
            limits = f"in [{low:g}, {high:g}]"
        elif value == math.inf:
            limits += " and finite"
        raise ValueError(f"{name} must be {limits}, got {value!r}.")


def check_type(name: str, value: object, kind: type, optional: bool = False) -> None:
    """Raises unless ``value`` is of a class, or None if it is ``optional``.

    Example:
        >>> check_type("criterion", 0.5, str)
        Traceback (most recent call last):
        TypeError: criterion must be a str, got float.
    """
    if not isinstance(value, kind) and not (optional and value is None):
        or_none = " or None" if optional else ""
        raise TypeError(
            f"{name} must be a {kind.__name__}{or_none}, got {type(value).__name__}."
        )
