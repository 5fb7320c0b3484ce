"""Plain images and their views, in batches, for a feature bank."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import chain, repeat
from typing import Any, TypeAlias

import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader

from hadis_lightly.data import ImageSource, IndexedDataset, ReproducibleDataset
from hadis_lightly.transforms import BatchedViews, HaDisCropTransform

#: Called with the index of an image, it goes over the images from that one on, in
#: order. For each batch it yields the plain images ``(b, c, h, w)`` and then one view
#: of each after the other, of the same shape.
ViewBatches: TypeAlias = Callable[[int], Iterable[Iterable[Tensor]]]


def views_of_array(
    images: Tensor,
    plain: Callable[[Tensor], Tensor],
    views: BatchedViews,
    n_views: int,
    *,
    seed: int,
    batch_size: int = 64,
) -> ViewBatches:
    """Batches of images of one size that stay on a device.

    A view depends on seed, index of the image and number of the view alone.

    Args:
        images: uint8 ``(n, c, h, w)``.
        plain: From a batch of images to plain images, such as
            :class:`~hadis_lightly.transforms.BatchedTestTransform`.
        views: Makes the views.
        n_views: Number of views V of each image.
        seed: Seed of the views, >= 0.
        batch_size: Images at a time.
    """

    def batches(first: int) -> Iterator[Iterable[Tensor]]:
        for start in range(first, len(images), batch_size):
            batch = images[start : start + batch_size]
            keys = torch.arange(start, start + len(batch), device=images.device)
            made = _views(views, repeat(batch), keys, n_views, seed)
            yield chain([plain(batch)], made)

    return batches


def views_of_source(
    source: ImageSource,
    plain: Callable[[Image.Image], Tensor],
    crops: HaDisCropTransform | None,
    views: BatchedViews,
    *,
    seed: int,
    device: torch.device | str = "cpu",
    batch_size: int = 64,
    num_workers: int = 0,
) -> ViewBatches:
    """Batches of images of any size, each read once for all its views.

    A view depends on seed, index of the image and number of the view alone.

    Args:
        source: The images.
        plain: From an image to the plain image ``(c, h, w)``, such as
            :class:`~hadis_lightly.transforms.HaDisTestTransform`.
        crops: Makes a crop for each view; None for no views.
        views: Makes the views of the crops, on the device.
        seed: Seed of crops and views, >= 0.
        device: Where the views are made.
        batch_size: Images at a time.
        num_workers: Worker processes that read and crop; 0 for none.
    """
    n_views = 0 if crops is None else crops.num_views
    dataset = ReproducibleDataset(
        IndexedDataset(source, PlainAndCrops(plain, crops)), seed
    )

    def batches(first: int) -> Iterator[Iterable[Tensor]]:
        loader: DataLoader[Any] = DataLoader(
            dataset,
            batch_size,
            sampler=[(0, index) for index in range(first, len(source))],
            num_workers=num_workers,
        )
        for (images, cropped), _, keys in loader:
            of_draws = _as_drawn(cropped.to(device), len(views.views))
            made = _views(views, of_draws, keys, n_views, seed)
            yield chain([images.to(device)], made)

    return batches


class PlainAndCrops:
    """The plain image and the crops of an image, for worker processes."""

    def __init__(
        self,
        plain: Callable[[Image.Image], Tensor],
        crops: HaDisCropTransform | None,
    ) -> None:
        self.plain = plain
        self.crops = crops

    def __call__(self, image: Image.Image) -> tuple[Tensor, Tensor]:
        """Returns the plain image ``(c, h, w)`` and the crops ``(v, c, h, w)``."""
        plain = self.plain(image)
        return plain, plain.new_empty(0) if self.crops is None else self.crops(image)


def _as_drawn(crops: Tensor, num_views: int) -> Iterator[Tensor]:
    """Crops ``(b, V, c, h, w)`` as they are drawn, the last one repeated if need be."""
    last = crops.shape[1] - 1
    for start in range(0, last + 1, num_views):
        yield crops[:, torch.arange(start, start + num_views).clamp(max=last)]


def _views(
    views: BatchedViews,
    images: Iterable[Tensor],
    keys: Tensor,
    n_views: int,
    seed: int,
) -> Iterator[Tensor]:
    """The views of a batch, one after the other; drawn a few at a time.

    Args:
        views: Draws them.
        images: The images, or their crops, for the first draw, the second, ...
        keys: Indices of the images.
        n_views: Number of views of each image.
        seed: Seed of the views.
    """
    starts = range(0, n_views, len(views.views))
    for number, (start, drawn_from) in enumerate(zip(starts, images, strict=False)):
        draws = views.keyed_uniforms(drawn_from, keys, seed=seed, epoch=number)
        yield from views.make(drawn_from, draws)[: n_views - start]
