"""What can be wrong with data; every message is one line that names the culprit."""

from __future__ import annotations


class DataError(ValueError):
    """The data cannot be found, or are not what they should be."""


class ImageReadError(DataError):
    """An image file cannot be read, or several of them.

    Args:
        message: The line that names the file.
        reason: What is wrong with it, without its name; by default the message.
    """

    def __init__(self, message: str, reason: str | None = None) -> None:
        super().__init__(message)
        self.reason = message if reason is None else reason


class ImageSizeError(DataError):
    """Images that would have to be of one size are not."""
