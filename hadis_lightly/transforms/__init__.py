"""Views: the augmentations HaDis trains on and the plain transform it embeds with."""

from hadis_lightly.settings.views import (
    CIFAR10_NORMALIZE,
    CIFAR100_NORMALIZE,
    DIGITS_NORMALIZE,
    IMAGENET_NORMALIZE,
    ViewSettings,
)
from hadis_lightly.transforms.batched_views import BatchedViews
from hadis_lightly.transforms.hadis_transform import HaDisCropTransform, HaDisTransform
from hadis_lightly.transforms.plain_transforms import (
    BatchedTestTransform,
    HaDisTestTransform,
    ToNormalizedTensor,
)

__all__ = [
    "CIFAR10_NORMALIZE",
    "CIFAR100_NORMALIZE",
    "DIGITS_NORMALIZE",
    "IMAGENET_NORMALIZE",
    "BatchedTestTransform",
    "BatchedViews",
    "HaDisCropTransform",
    "HaDisTestTransform",
    "HaDisTransform",
    "ToNormalizedTensor",
    "ViewSettings",
]
