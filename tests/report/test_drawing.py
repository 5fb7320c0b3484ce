from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from hadis_lightly.report.drawing import draw_gallery
from tests.report.some_data import square


@pytest.mark.parametrize("n_images", [1, 5, 16])
def test_a_gallery_is_as_wide_as_its_images(tmp_path: Path, n_images: int) -> None:
    row = [square(0, 1)] * n_images
    draw_gallery(tmp_path / "a.png", [row, row[:1], []], ["cluster 0\n5 images"] * 3)
    with Image.open(tmp_path / "a.png") as image:
        red = image.convert("RGB").split()[0].point(lambda level: 255 * (level < 100))
    box = red.getbbox()
    assert box is not None and image.width - box[2] < 20
