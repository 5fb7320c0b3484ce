"""The transforms without draws: to a tensor, and to what is embedded and clustered."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as F

from hadis_lightly.central_square import central_square, is_long, scaled_side
from hadis_lightly.checks import check_number
from hadis_lightly.settings.views import (
    IMAGENET_NORMALIZE,
    Normalize,
    ViewSettings,
)
from hadis_lightly.transforms.batched_color import normalize_channels
from hadis_lightly.transforms.input_checks import CHANNELS, check_batch, check_image

T = TypeVar("T", bound="_PlainTransform")


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


class _PlainTransform:
    """The central square of images, scaled and normalised."""

    def __init__(
        self,
        input_size: int = 32,
        normalize: Normalize | None = IMAGENET_NORMALIZE,
        *,
        crop: float = 1.0,
        interpolation: str = "bilinear",
    ) -> None:
        settings = ViewSettings.from_arguments(input_size, normalize)
        self.mean, self.std = settings.mean or [], settings.std or []
        check_number("crop", crop, low=0, high=1, above=True)
        if interpolation not in ("bilinear", "bicubic"):
            raise ValueError(
                f"interpolation must be bilinear or bicubic, got {interpolation!r}."
            )
        self.input_size = input_size
        self._scaled = scaled_side(input_size, crop)
        self._interpolation = interpolation
        self._to_normalized_tensor = ToNormalizedTensor(normalize)

    @classmethod
    def from_settings(cls: type[T], settings: ViewSettings) -> T:
        """The transform of ready settings, such as the section ``views`` of a run."""
        return cls(
            settings.size_px,
            settings.normalize,
            crop=1.0 if settings.plain_crop is None else settings.plain_crop,
            interpolation=settings.plain_interpolation or "bilinear",
        )

    def _central_square(self, image: Image.Image) -> Image.Image:
        return central_square(image, self.input_size, self._scaled, self._interpolation)

    def _central_squares(self, images: Tensor) -> Tensor:
        """uint8 ``(n, c, h, w)`` to ``(n, c, input_size, input_size)``."""
        size, scaled = self.input_size, self._scaled
        if tuple(images.shape[2:]) == (size, size) and size == scaled:
            return images
        if is_long(*images.shape[2:]):
            squares = [self._central_square(F.to_pil_image(x)) for x in images.cpu()]
            stacked = torch.stack([F.pil_to_tensor(square) for square in squares])
            return stacked.to(images.device)
        # PyTorch 2.14 fails at single pixels of three channels: one at a time.
        planes = images.flatten(0, 1).unsqueeze(1) if scaled == 1 else images
        interpolation = InterpolationMode(self._interpolation)
        whole = F.resize(planes, [scaled], interpolation, antialias=True)
        cropped: Tensor = F.center_crop(whole, [size])
        return cropped.reshape(*images.shape[:2], size, size)


class HaDisTestTransform(_PlainTransform):
    """Scales the shorter side, cuts out the central square and normalises.

    An image that already is that square is only normalised.

    Args:
        input_size: Height and width of the result in pixels.
        normalize: As in :class:`HaDisTransform`.
        crop: Side of the square that is kept, as a fraction of the shorter side.
        interpolation: ``"bilinear"`` or ``"bicubic"``.

    Shape:
        PIL image of mode ``RGB`` or ``L`` to float32 ``(c, input_size, input_size)``.

    Raises:
        ValueError: If ``input_size < 1``, ``crop`` is not in (0, 1], there is no such
            ``interpolation``, or ``normalize`` is malformed.

    Example:
        >>> HaDisTestTransform(input_size=32)(Image.new("RGB", (64, 48))).shape
        torch.Size([3, 32, 32])
    """

    def __call__(self, image: Image.Image) -> Tensor:
        """Returns the normalised central square of ``image``."""
        check_image(image)
        return self._to_normalized_tensor(self._central_square(image))


class BatchedTestTransform(_PlainTransform):
    """:class:`HaDisTestTransform` for a whole batch, on any device.

    Args:
        input_size: Height and width of the result in pixels.
        normalize: As in :class:`HaDisTransform`.
        crop: As in :class:`HaDisTestTransform`.
        interpolation: As in :class:`HaDisTestTransform`.

    Shape:
        uint8 images ``(n, c, h, w)`` to float32 ``(n, c, input_size, input_size)``.

    Raises:
        ValueError: As in :class:`HaDisTestTransform`.

    Example:
        >>> images = torch.zeros(4, 3, 48, 64, dtype=torch.uint8)
        >>> BatchedTestTransform(input_size=32)(images).shape
        torch.Size([4, 3, 32, 32])
    """

    def __call__(self, images: Tensor) -> Tensor:
        """Returns the normalised central squares of the images.

        Raises:
            TypeError: If the images are not uint8.
            ValueError: If their shape or number of channels does not fit.
        """
        check_batch(images, self.mean)
        x = self._central_squares(images).float().div_(255)
        normalize_channels(x.transpose(0, 1), self.mean, self.std)
        return x
