"""Images that have been decoded once: their pixels, in memory or in a cache file."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hadis_lightly.data.files.array_cache import ArrayCache


@dataclass(frozen=True, eq=False)
class DecodedImages:
    """The pixels of ``n`` images of any size, one after the other.

    Args:
        pixels: uint8 ``(bytes,)``: the pixels ``(h, w, c)`` of each image.
        starts: Where each image starts, int64 ``(n,)``.
        sizes: Height and width of each image, int32 ``(n, 2)``.
        num_channels: 1 or 3.
        path: File of the pixels, if they are not in memory.
    """

    pixels: NDArray[np.uint8]
    starts: NDArray[np.int64]
    sizes: NDArray[np.int32]
    num_channels: int
    path: Path | None = None

    @classmethod
    def side_by_side(
        cls, pixels: memoryview | Path, sizes: NDArray[np.int32], num_channels: int
    ) -> DecodedImages:
        """Images of these heights and widths, without gaps: in memory or in a file."""
        lengths = pixel_bytes(sizes, num_channels)
        starts = np.cumsum(lengths) - lengths
        if isinstance(pixels, Path):
            return cls(_mapped(pixels), starts, sizes, num_channels, pixels)
        in_memory = np.frombuffer(pixels, np.uint8)
        return cls(in_memory, starts, sizes, num_channels)

    def read(self, index: int) -> Image.Image:
        """The image at ``index``, of mode ``RGB`` or ``L``."""
        height, width = self.sizes[index].tolist()
        start, num_bytes = int(self.starts[index]), height * width * self.num_channels
        mode = "L" if self.num_channels == 1 else "RGB"
        pixels = self.pixels[start : start + num_bytes]
        return Image.frombytes(mode, (width, height), pixels.tobytes())

    def rows(self, indices: NDArray[np.int64]) -> DecodedImages:
        """The images at ``indices``."""
        return replace(self, starts=self.starts[indices], sizes=self.sizes[indices])

    def stacked(self) -> NDArray[np.uint8] | None:
        """All images as one array ``(n, h, w, c)`` that is not a copy, if possible.

        It is if they have one size and lie side by side; else None.
        """
        if not len(self.sizes) or (self.sizes != self.sizes[0]).any():
            return None
        height, width = self.sizes[0].tolist()
        num_bytes, start = height * width * self.num_channels, int(self.starts[0])
        if (np.diff(self.starts) != num_bytes).any():
            return None
        pixels = self.pixels[start : start + num_bytes * len(self.sizes)]
        return pixels.reshape(-1, height, width, self.num_channels)

    def __getstate__(self) -> dict[str, Any]:
        # Another process opens the file, instead of being sent the pixels.
        return self.__dict__ | ({} if self.path is None else {"pixels": None})

    def __setstate__(self, state: dict[str, Any]) -> None:
        if state["pixels"] is None:
            state = state | {"pixels": _mapped(state["path"])}
        self.__dict__.update(state)


def pixel_bytes(sizes: NDArray[np.int32], num_channels: int) -> NDArray[np.int64]:
    """Bytes of the pixels of images of these heights and widths, ``(n,)``."""
    areas: NDArray[np.int64] = sizes.astype(np.int64).prod(axis=1)
    return areas * num_channels


def _mapped(path: Path) -> NDArray[np.uint8]:
    return np.memmap(path, np.uint8, "c") if path.stat().st_size else np.empty(0, "u1")


class PixelCache(ArrayCache):
    """Files of decoded pixels that several processes and runs share."""

    suffix = "pixels"
