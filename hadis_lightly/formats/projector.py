"""TensorBoard's embedding projector."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from hadis_lightly.formats.clustered_images import ClusteredImages
from hadis_lightly.formats.image_files import Progress, read_tile
from hadis_lightly.system import available_cores
from hadis_lightly.text import printable

# Larger textures are beyond many graphics cards.
_SPRITE_SIDE = 8192
_LARGEST_TILE = 64

_CONFIG = """embeddings {{
  tensor_name: "{title}"
  tensor_path: "tensors.tsv"
  metadata_path: "metadata.tsv"
  sprite {{
    image_path: "sprite.png"
    single_image_dim: {side}
    single_image_dim: {side}
  }}
}}
"""


def write_projector(
    images: ClusteredImages, folder: Path, progress: Progress | None = None
) -> Path:
    """Writes a folder for ``tensorboard --logdir``.

    ``tensors.tsv`` has the embeddings, ``metadata.tsv`` the columns of
    :meth:`ClusteredImages.columns`, and ``sprite.png`` a small version of each image,
    64 pixels wide for up to 16,384 images, and smaller for more.

    Args:
        images: The images.
        folder: An empty folder.
        progress: Called with the images done and their number.

    Returns:
        The configuration, ``projector_config.pbtxt``.
    """
    np.savetxt(folder / "tensors.tsv", images.embeddings, "%.5g", "\t")
    columns = images.columns()
    with (folder / "metadata.tsv").open("w", encoding="utf-8", newline="\n") as file:
        for values in (columns, *zip(*columns.values(), strict=True)):
            file.write("\t".join(printable(str(value)) for value in values) + "\n")
    n_columns = math.ceil(math.sqrt(len(images)))
    side = min(_LARGEST_TILE, max(1, _SPRITE_SIDE // n_columns))
    sprite = Image.new("RGB", (n_columns * side, n_columns * side), "white")
    read = partial(read_tile, images.source, side=side)
    with ThreadPoolExecutor(min(8, available_cores())) as pool:
        for row, tile in enumerate(pool.map(read, range(len(images)))):
            line, column = divmod(row, n_columns)
            sprite.paste(tile, (column * side, line * side))
            if progress is not None:
                progress(row + 1, len(images))
    sprite.save(folder / "sprite.png")
    path = folder / "projector_config.pbtxt"
    title = printable(images.title).replace("\\", "\\\\").replace('"', '\\"')
    path.write_text(_CONFIG.format(title=title, side=side), encoding="utf-8")
    return path
