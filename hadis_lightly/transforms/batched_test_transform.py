"""The clean transform for whole batches, on the device that the images are on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lightly.transforms.utils import IMAGENET_NORMALIZE
from torch import Tensor
from torchvision.transforms.v2 import functional as F

from hadis_lightly.transforms.batched_color import normalize_channels
from hadis_lightly.transforms.validation import check_bytes, check_normalize, check_size


class BatchedTestTransform:
    """:class:`HaDisTestTransform` for a whole batch, on any device.

    Args:
        input_size: Height and width of the result in pixels.
        normalize: As in :class:`HaDisTransform`.

    Shape:
        uint8 images ``(n, c, h, w)`` to float32 ``(n, c, input_size, input_size)``.

    Raises:
        ValueError: if ``input_size < 1`` or ``normalize`` is malformed.

    Example:
        >>> import torch
        >>> images = torch.zeros(4, 3, 48, 64, dtype=torch.uint8)
        >>> BatchedTestTransform(input_size=32)(images).shape
        torch.Size([4, 3, 32, 32])
    """

    def __init__(
        self,
        input_size: int = 32,
        normalize: Mapping[str, Sequence[float]] | None = IMAGENET_NORMALIZE,
    ) -> None:
        check_size("input_size", input_size)
        if normalize is not None:
            check_normalize(normalize)
        self.input_size = input_size
        self.normalize = normalize

    def __call__(self, images: Tensor) -> Tensor:
        """Returns the normalised central squares of the images.

        Raises:
            TypeError: if the images are not uint8.
            ValueError: if their shape does not fit, or they have another number of
                channels than ``normalize``.
        """
        check_bytes(images)
        shape = tuple(images.shape)
        if images.ndim != 4 or shape[1] not in (1, 3) or 0 in shape[2:]:
            raise ValueError(
                "images must have shape (n, c, h, w) with c 1 or 3, and pixels, got "
                f"{shape}"
            )
        size = self.input_size
        if tuple(images.shape[2:]) != (size, size):
            # PyTorch 2.14 fails at single pixels of three channels: one at a time.
            planes = images.flatten(0, 1).unsqueeze(1) if size == 1 else images
            planes = F.center_crop(F.resize(planes, [size], antialias=True), [size])
            images = planes.reshape(*shape[:2], size, size)
        x = images.float().div_(255)
        if self.normalize is None:
            return x
        mean, std = self.normalize["mean"], self.normalize["std"]
        if len(mean) != x.shape[1]:
            raise ValueError(
                f"normalize has {len(mean)} channel(s) but the images have {x.shape[1]}"
            )
        normalize_channels(x.transpose(0, 1), mean, std)
        return x
