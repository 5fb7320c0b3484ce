"""Images that somebody has in memory, or in a data set of their own, as a source."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from hadis_lightly.data.errors import ImageReadError
from hadis_lightly.data.files.pixels import image_of_array, plain_image
from hadis_lightly.data.files.reader import reduce_image
from hadis_lightly.data.image_source import ArraySource, ImageSource, position_keys
from hadis_lightly.text import describe_error

# Nobody says that a data set may be read by several threads. A global lock, because
# sources are pickled for worker processes.
_ONE_AT_A_TIME = threading.Lock()


@dataclass(frozen=True, eq=False)
class DatasetSource(ImageSource):
    """A source that takes each image from a list or a map-style data set.

    Args:
        dataset: Gives PIL images, uint8 arrays ``(h, w)`` or ``(h, w, c)``, or uint8
            tensors ``(c, h, w)``; or tuples that begin with one, or dictionaries that
            hold one. The same image each time: without random transforms.
        rows: Where the ``n`` images are in it, int64 ``(n,)``.
        min_side: See :class:`FolderSource`.

    The other arguments are those of :class:`ImageSource`.
    """

    dataset: Any
    rows: NDArray[np.int64]
    min_side: int = 0

    def read(self, index: int) -> Image.Image:
        """Returns the image at ``index``, upright, as 8-bit ``RGB`` or ``L``.

        Raises:
            TypeError: if it is no image, naming its place.
            ImageReadError: if it cannot be read.
        """
        place = int(self.rows[index])
        with _ONE_AT_A_TIME:
            sample = self.dataset[place]
        try:
            image = plain_image(_image_in(sample), self.num_channels)
        except TypeError as error:
            raise TypeError(f"image {place}: {error}") from None
        except (OSError, ValueError, SyntaxError) as error:  # as decoders fail
            reason = describe_error(error)
            raise ImageReadError(f"cannot read image {place}: {reason}", reason) from (
                error
            )
        return reduce_image(image, self.min_side)

    def _rows(self, indices: NDArray[np.int64]) -> dict[str, Any]:
        return {"rows": self.rows[indices]}


def _image_in(sample: Any) -> Image.Image:
    """The image that a sample is, begins with, or holds."""
    if isinstance(sample, tuple) and sample:
        sample = sample[0]
    if isinstance(sample, Mapping):
        images = (v for v in sample.values() if isinstance(v, Image.Image))
        sample = next(images, sample)
    if isinstance(sample, Tensor) and sample.ndim == 3:
        sample = sample.movedim(0, -1).numpy(force=True)
    if isinstance(sample, np.ndarray):
        return image_of_array(sample)
    if isinstance(sample, Image.Image):
        return sample
    raise TypeError(
        "must be a PIL image, a uint8 array (h, w) or (h, w, c), or a uint8 tensor "
        f"(c, h, w), without a transform to floats; got {type(sample).__name__}."
    )


def source_in_memory(images: Any, num_channels: int | None = None) -> ImageSource:
    """A source of images that are no files.

    Args:
        images: uint8 ``(n, h, w)`` or ``(n, h, w, c)``, ``c`` being 1, 3 or 4; a uint8
            tensor ``(n, h, w)`` or ``(n, c, h, w)``; a source; or whatever gives
            images by index, see :class:`DatasetSource`.
        num_channels: 1 for grey, 3 for colour; by default that of the array, else 3.

    Raises:
        TypeError: if ``images`` are something else, or floats.
        ValueError: if the shape is another, there are none, or ``num_channels`` does
            not go with a source.

    Example:
        >>> source = source_in_memory(np.zeros((5, 8, 6), np.uint8))
        >>> source.description, source.read(0).mode
        ('5 images in memory, no labels', 'L')
    """
    if isinstance(images, ImageSource):
        if num_channels not in (None, images.num_channels):
            raise ValueError(
                f"data.num_channels is {num_channels}, but the images of "
                f"{images.name!r} have {images.num_channels}."
            )
        return images
    if isinstance(images, Tensor):
        images = images.movedim(1, -1) if images.ndim == 4 else images
        images = images.numpy(force=True)
    is_sequence = hasattr(images, "__len__") and hasattr(images, "__getitem__")
    if not is_sequence or isinstance(images, (str, bytes, Mapping)):
        raise TypeError(
            "images must be a path, paths, a uint8 array (n, h, w) or (n, h, w, c), "
            f"a list of images or a data set, got {type(images).__name__}."
        )
    n = len(images)
    if n == 0:
        raise ValueError("there are no images: got none.")
    common: dict[str, Any] = {
        "name": "memory",
        "class_names": None,
        "targets": np.full(n, -1, np.int64),
        "keys": position_keys(n),
        "description": f"{n:,} image{'s' * (n > 1)} in memory, no labels",
    }
    if isinstance(images, np.ndarray):
        images = images[..., np.newaxis] if images.ndim == 3 else images
        if images.dtype != np.uint8:
            raise TypeError(
                f"an array of images must be uint8 (0 to 255), got {images.dtype}."
            )
        if images.ndim != 4 or images.shape[3] not in (1, 3, 4) or 0 in images.shape:
            raise ValueError(
                "an array of images must have shape (n, h, w) or (n, h, w, c), c 1, 3 "
                f"or 4, got {images.shape}."
            )
        channels = images.shape[3]
        if channels < 4 and num_channels in (None, channels):
            pixels = np.ascontiguousarray(images)
            return ArraySource(**common, num_channels=channels, images=pixels)
    return DatasetSource(
        **common, num_channels=num_channels or 3, dataset=images, rows=np.arange(n)
    )
