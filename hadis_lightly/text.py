"""Text that can be shown and written anywhere, made of names that can hold anything."""

from __future__ import annotations


def printable(text: str) -> str:
    r"""Escapes what is no visible character: newlines, controls, half surrogates.

    Example:
        >>> printable("a\nb")
        'a\\nb'
        >>> printable("naïve 猫")
        'naïve 猫'
    """
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode("ascii")
        for char in text
    )


def one_line(text: str) -> str:
    r"""Makes one printable line of a message that may have several.

    Example:
        >>> one_line("bad\n  header\x00")
        'bad header\\x00'
    """
    return printable(" ".join(text.split()))


def in_utf8(text: str) -> str:
    r"""Text that can be written as UTF-8, also from a file name that is not.

    Example:
        >>> in_utf8("a\udcff.png")
        'a\\udcff.png'
    """
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def first_line(error: BaseException) -> str:
    r"""What an error says, in one line.

    Example:
        >>> first_line(RuntimeError("no such kernel.\nThis happened in C++."))
        'no such kernel.'
    """
    lines = str(error).strip().splitlines()
    return lines[0].strip() if lines else type(error).__name__
