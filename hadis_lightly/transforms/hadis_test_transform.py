"""The clean transform under which HaDis embeds and clusters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lightly.transforms.torchvision_v2_compatibility import torchvision_transforms as T
from lightly.transforms.utils import IMAGENET_NORMALIZE
from PIL import Image
from torch import Tensor

from hadis_lightly.transforms.normalize import ToNormalizedTensor
from hadis_lightly.transforms.validation import check_image, check_size


class HaDisTestTransform:
    """The clean transform under which images are embedded and clustered: no draws.

    Scales the shorter side to ``input_size``, cuts out the central square and
    normalises; an image that already is that square is only normalised.

    Args:
        input_size: Height and width of the result in pixels.
        normalize: As in :class:`HaDisTransform`.

    Shape:
        PIL image of mode ``RGB`` or ``L`` to float32 ``(c, input_size, input_size)``.

    Raises:
        ValueError: if ``input_size < 1`` or ``normalize`` is malformed.

    Example:
        >>> HaDisTestTransform(input_size=32)(Image.new("RGB", (64, 48))).shape
        torch.Size([3, 32, 32])
    """

    def __init__(
        self,
        input_size: int = 32,
        normalize: Mapping[str, Sequence[float]] | None = IMAGENET_NORMALIZE,
    ) -> None:
        check_size("input_size", input_size)
        self.input_size = input_size
        self._resize_and_crop = T.Compose(
            [T.Resize(size=input_size), T.CenterCrop(size=input_size)]
        )
        self._to_normalized_tensor = ToNormalizedTensor(normalize)

    def __call__(self, image: Image.Image) -> Tensor:
        """Returns the normalised central square of ``image``."""
        check_image(image)
        if image.size != (self.input_size, self.input_size):
            image = self._resize_and_crop(image)
        return self._to_normalized_tensor(image)
