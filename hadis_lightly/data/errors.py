"""What can be wrong with data; every message is one line that names the culprit."""


class DataError(ValueError):
    """The data cannot be found, or are not what they should be."""


class ImageReadError(DataError):
    """An image file cannot be read."""


class ImageSizeError(DataError):
    """Images that would have to be of one size are not."""
