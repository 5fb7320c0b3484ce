"""The transforms without draws: to a tensor, and to what is embedded and clustered."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms.v2 import functional as F

from hadis_lightly.settings.views import (
    IMAGENET_NORMALIZE,
    Normalize,
    ViewSettings,
)
from hadis_lightly.transforms.batched_color import normalize_channels
from hadis_lightly.transforms.input_checks import CHANNELS, check_batch, check_image

# Of an image that is longer than this, only the part that is kept is scaled: the whole
# of 2 x 60,000 pixels would take gigabytes.
_LONGEST_ASPECT = 8


class ToNormalizedTensor:
    """Turns a PIL image into a normalised float tensor, ``(x / 255 - mean) / std``.

    The same values as lightly's ``ToTensor`` followed by ``Normalize``, looked up in a
    table of the 256 values of a byte: one pass over the pixels instead of five, several
    times faster on small images.

    Args:
        normalize: ``{"mean": [...], "std": [...]}`` with one entry per channel, for
            pixels in 0..1; ``None`` leaves the pixels in 0..1.

    Shape:
        PIL image of mode ``L`` or ``RGB``, ``(h, w)`` pixels, to float32 ``(c, h, w)``.

    Raises:
        TypeError: If the input is not a PIL image.
        ValueError: If its mode is neither ``L`` nor ``RGB``, or its number of channels
            is not that of ``normalize``.

    Example:
        >>> image = Image.new("L", (3, 2), color=255)
        >>> ToNormalizedTensor({"mean": [0.5], "std": [0.25]})(image)
        tensor([[[2., 2., 2.],
                 [2., 2., 2.]]])
    """

    def __init__(self, normalize: Normalize | None) -> None:
        settings = ViewSettings.from_arguments(normalize=normalize)
        self.normalize = settings.normalize
        mean = np.array([settings.mean or [0.0]]).T
        std = np.array([settings.std or [1.0]]).T
        # Computed in float64 and rounded once.
        table = (np.arange(256) / 255.0 - mean) / std
        self._table = table.astype(np.float32)  # (c, 256)

    def __call__(self, image: Image.Image) -> Tensor:
        """Returns the image as a normalised float32 tensor ``(c, h, w)``."""
        check_image(image)
        channels = CHANNELS[image.mode]
        table = self._table
        if self.normalize is None:
            table = table.repeat(channels, axis=0)
        elif len(table) != channels:
            raise ValueError(
                f"normalize has {len(table)} channel(s) but the image has {channels} "
                f"(mode {image.mode})."
            )
        width, height = image.size
        pixels = np.asarray(image).reshape(height, width, channels)
        output = np.empty((channels, height, width), dtype=np.float32)
        for channel, values in enumerate(table):
            # A byte is always in the table; "clip" spares numpy the check.
            np.take(values, pixels[:, :, channel], out=output[channel], mode="clip")
        return torch.from_numpy(output)


class HaDisTestTransform:
    """Scales the shorter side, cuts out the central square and normalises.

    An image that already is that square is only normalised.

    Args:
        input_size: Height and width of the result in pixels.
        normalize: As in :class:`HaDisTransform`.

    Shape:
        PIL image of mode ``RGB`` or ``L`` to float32 ``(c, input_size, input_size)``.

    Raises:
        ValueError: If ``input_size < 1`` or ``normalize`` is malformed.

    Example:
        >>> HaDisTestTransform(input_size=32)(Image.new("RGB", (64, 48))).shape
        torch.Size([3, 32, 32])
    """

    def __init__(
        self, input_size: int = 32, normalize: Normalize | None = IMAGENET_NORMALIZE
    ) -> None:
        ViewSettings.from_arguments(input_size, normalize)
        self.input_size = input_size
        self._to_normalized_tensor = ToNormalizedTensor(normalize)

    def __call__(self, image: Image.Image) -> Tensor:
        """Returns the normalised central square of ``image``."""
        check_image(image)
        if image.size != (self.input_size, self.input_size):
            image = _central_square(image, self.input_size)
        return self._to_normalized_tensor(image)


class BatchedTestTransform:
    """:class:`HaDisTestTransform` for a whole batch, on any device.

    Args:
        input_size: Height and width of the result in pixels.
        normalize: As in :class:`HaDisTransform`.

    Shape:
        uint8 images ``(n, c, h, w)`` to float32 ``(n, c, input_size, input_size)``.

    Raises:
        ValueError: If ``input_size < 1`` or ``normalize`` is malformed.

    Example:
        >>> images = torch.zeros(4, 3, 48, 64, dtype=torch.uint8)
        >>> BatchedTestTransform(input_size=32)(images).shape
        torch.Size([4, 3, 32, 32])
    """

    def __init__(
        self, input_size: int = 32, normalize: Normalize | None = IMAGENET_NORMALIZE
    ) -> None:
        settings = ViewSettings.from_arguments(input_size, normalize)
        self.input_size, self.mean, self.std = input_size, settings.mean, settings.std

    def __call__(self, images: Tensor) -> Tensor:
        """Returns the normalised central squares of the images.

        Raises:
            TypeError: If the images are not uint8.
            ValueError: If their shape or number of channels does not fit.
        """
        check_batch(images, self.mean)
        size = self.input_size
        if _is_long(*images.shape[2:]):
            squares = [_central_square(F.to_pil_image(x), size) for x in images.cpu()]
            stacked = torch.stack([F.pil_to_tensor(square) for square in squares])
            images = stacked.to(images.device)
        elif images.shape[2:] != (size, size):
            # PyTorch 2.14 fails at single pixels of three channels: one at a time.
            planes = images.flatten(0, 1).unsqueeze(1) if size == 1 else images
            planes = F.center_crop(F.resize(planes, [size], antialias=True), [size])
            images = planes.reshape(*images.shape[:2], size, size)
        x = images.float().div_(255)
        normalize_channels(x.transpose(0, 1), self.mean, self.std)
        return x


def _central_square(image: Image.Image, size: int) -> Image.Image:
    """Scales the shorter side to ``size`` and cuts out the central square."""
    if not _is_long(*image.size):
        return F.center_crop(F.resize(image, [size]), [size])  # type: ignore[no-any-return]
    shorter = min(image.size)
    box: list[float] = []
    for length in image.size:
        scaled = size * length // shorter
        start = round((scaled - size) / 2)
        box += [start * length / scaled, (start + size) * length / scaled]
    left, right, top, bottom = box
    part = (left, top, right, bottom)
    return image.resize((size, size), Image.Resampling.BILINEAR, box=part)


def _is_long(height: int, width: int) -> bool:
    return max(height, width) > _LONGEST_ASPECT * min(height, width)
