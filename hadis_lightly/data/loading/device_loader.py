"""Batches of uint8 images that stay where the training is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from numpy.typing import ArrayLike
from torch import Tensor

from hadis_lightly.data.loading.row_loader import RowLoader


class DeviceLoader(RowLoader):
    """Batches ``(images, targets, indices)`` of a set that stays on one device.

    Args:
        images: uint8 ``(n, c, h, w)``, moved to the device once.
        targets: Class numbers ``(n,)``; -1 everywhere if left out.
        batch_size: Images per batch and process.
        shuffle: Whether each epoch has a random order of its own.
        drop_last: Whether to leave out a last batch that is not full.
        device: Where the images stay; by default where they are.
        seed: Seed of the orders, which depend on it and on the epoch alone.
        transform: Applied to every batch of images, if given.

    Raises:
        TypeError: if the images are not uint8.
        ValueError: if a shape does not fit, or ``batch_size < 1``.

    Example:
        >>> images = torch.zeros(10, 3, 8, 8, dtype=torch.uint8)
        >>> loader = DeviceLoader(images, batch_size=4, shuffle=True, drop_last=True)
        >>> for batch, targets, indices in loader:
        ...     print(batch.shape, indices.shape)
        torch.Size([4, 3, 8, 8]) torch.Size([4])
        torch.Size([4, 3, 8, 8]) torch.Size([4])
    """

    def __init__(
        self,
        images: Tensor,
        targets: ArrayLike | Tensor | None = None,
        batch_size: int = 256,
        *,
        shuffle: bool = False,
        drop_last: bool = False,
        device: torch.device | str | None = None,
        seed: int = 0,
        transform: Callable[[Tensor], Any] | None = None,
    ) -> None:
        if images.dtype != torch.uint8:
            raise TypeError(f"images must be uint8 (0 to 255), got {images.dtype}")
        if images.ndim != 4:
            raise ValueError(
                f"images must have shape (n, c, h, w), got {tuple(images.shape)}"
            )
        super().__init__(
            len(images),
            targets,
            batch_size,
            shuffle=shuffle,
            drop_last=drop_last,
            device=images.device if device is None else device,
            seed=seed,
        )
        self.images = images.to(self.device)
        self.transform = transform

    def read(self, rows: Tensor, repeats: Tensor, epoch: int) -> Any:
        """The images ``(m, c, h, w)``, or what the transform makes of them."""
        images = self.images.index_select(0, rows)
        return images if self.transform is None else self.transform(images)
