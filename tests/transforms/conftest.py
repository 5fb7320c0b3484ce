from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def random_image() -> Callable[..., Image.Image]:
    """Makes images of random pixels, mode RGB or, with one channel, L."""

    def make(
        width: int = 32, height: int = 32, channels: int = 3, seed: int = 0
    ) -> Image.Image:
        shape = (height, width, channels) if channels == 3 else (height, width)
        rng = np.random.default_rng(seed)
        return Image.fromarray(rng.integers(0, 256, size=shape, dtype=np.uint8))

    return make
