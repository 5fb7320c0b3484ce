"""Text and data made of anything, fit to be shown and written."""

from __future__ import annotations

import math
from collections.abc import Mapping
from numbers import Integral, Real
from typing import Any


def printable(text: str) -> str:
    r"""Escapes every invisible character: newlines, controls, half surrogates.

    Example:
        >>> printable("a\nb"), printable("naïve 猫")
        ('a\\nb', 'naïve 猫')
    """
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode("ascii")
        for char in text
    )


def in_utf8(text: str) -> str:
    r"""Escapes what UTF-8 cannot hold: the bytes of a file name that is not UTF-8.

    Example:
        >>> in_utf8("a\udcff.png")
        'a\\udcff.png'
    """
    if text.isprintable():  # which half surrogates are not
        return text
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def plain(value: Any) -> Any:
    r"""The same for JSON: None for NaN, escapes for half surrogates, text for objects.

    Example:
        >>> plain({"a": (float("nan"), "\udcff")})
        {'a': [None, '\\udcff']}
    """
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, Mapping):
        return {in_utf8(str(key)): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set)):
        return [plain(item) for item in value]
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, Real):
        return float(value) if math.isfinite(value) else None
    return in_utf8(str(value))


def first_line(error: BaseException) -> str:
    r"""First line of an error's message.

    Example:
        >>> first_line(RuntimeError("no such kernel.\nThis happened in C++."))
        'no such kernel.'
    """
    lines = str(error).strip().splitlines()
    return lines[0].strip() if lines else type(error).__name__


def describe_error(error: BaseException) -> str:
    """An error's message in one printable line, without the name of its file.

    Example:
        >>> describe_error(FileNotFoundError(2, "No such file or directory", "a.png"))
        'No such file or directory'
    """
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return printable(" ".join(str(error).split())) or type(error).__name__
