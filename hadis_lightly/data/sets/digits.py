"""The handwritten digits that come with scikit-learn."""

from __future__ import annotations

import numpy as np
from sklearn import datasets

from hadis_lightly.data.image_source import (
    ArraySource,
    count_of_classes,
    position_keys,
)


def load_digits() -> ArraySource:
    """Loads scikit-learn's 1,797 handwritten digits, 8 x 8 and grey.

    Their 17 grey levels are spread over 0 to 255.

    Example:
        >>> digits = load_digits()
        >>> digits.images.shape, digits.description
        ((1797, 8, 8, 1), 'digits: all 1,797 images, 8 x 8 grey, 10 classes')
    """
    digits = datasets.load_digits()
    images = np.round(digits.images * (255 / 16)).astype(np.uint8)[..., np.newaxis]
    targets = digits.target.astype(np.int64)
    class_names = tuple(str(name) for name in digits.target_names)
    return ArraySource(
        name="digits",
        class_names=class_names,
        targets=targets,
        keys=position_keys(len(images)),
        description=(
            f"digits: all {len(images):,} images, 8 x 8 grey, "
            f"{count_of_classes(targets, class_names)}"
        ),
        num_channels=1,
        images=images,
    )
