"""Views: the augmentations HaDis trains on and the plain transform it embeds with."""

from lightly.transforms.utils import IMAGENET_NORMALIZE

from hadis_lightly.transforms.batched_test_transform import BatchedTestTransform
from hadis_lightly.transforms.batched_views import BatchedViews
from hadis_lightly.transforms.crop_transform import HaDisCropTransform
from hadis_lightly.transforms.hadis_test_transform import HaDisTestTransform
from hadis_lightly.transforms.hadis_transform import HaDisTransform, HaDisViewTransform
from hadis_lightly.transforms.normalize import (
    CIFAR10_NORMALIZE,
    CIFAR100_NORMALIZE,
    DIGITS_NORMALIZE,
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
    "HaDisViewTransform",
    "ToNormalizedTensor",
]
