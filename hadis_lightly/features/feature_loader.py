"""Batches of features that have been computed before, in place of images."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from numpy.typing import ArrayLike
from torch import Tensor

from hadis_lightly.checks import check_integer
from hadis_lightly.data import RowLoader
from hadis_lightly.features.neighbours import check_neighbours
from hadis_lightly.transforms.keyed_random import keyed_uniforms


class FeatureLoader(RowLoader):
    """Training batches ``((x0, x1, ...), targets, indices)`` of features of views.

    ``x0`` is a view of each image, and every further ``x`` a view of one of its
    neighbours, no neighbour twice; without neighbours they are views of the image
    itself. The numbers of the views differ, so that an image that is its own neighbour
    is not compared with the same features. What is drawn depends on seed, epoch and
    image alone: not on the batch, the number of processes, or whether the run was
    interrupted. NOTE: Neighbours are not in the paper of HaDis.

    Features keep their dtype on the device, and come as float32.

    Args:
        views: Features of V views of each image, floating point ``(n, V, d)``.
        targets: Class numbers ``(n,)``; -1 everywhere if left out.
        batch_size: Images per batch and process.
        neighbours: Indices of the k neighbours of each image, int64 ``(n, k)``, as of
            :func:`nearest_neighbours`; None for none.
        n_views_per_step: Number of views in a batch, at least 2; at most V and, with
            neighbours, ``k + 1``.
        shuffle: See :class:`~hadis_lightly.data.RowLoader`.
        drop_last: As above.
        device: As above; by default where the views are.
        seed: Seed of the orders and of what is drawn.
        passes: How often an epoch goes over all images, each time with other views.

    Raises:
        ValueError: If a shape does not fit, or a number is out of range.

    Example:
        >>> views = torch.rand(10, 4, 16).half()
        >>> (x0, x1), targets, indices = next(iter(FeatureLoader(views, batch_size=8)))
        >>> x0.shape, x1.dtype, indices.shape
        (torch.Size([8, 16]), torch.float32, torch.Size([8]))
    """

    def __init__(
        self,
        views: Tensor,
        targets: ArrayLike | Tensor | None = None,
        batch_size: int = 256,
        *,
        neighbours: Tensor | None = None,
        n_views_per_step: int = 2,
        shuffle: bool = True,
        drop_last: bool = True,
        device: torch.device | str | None = None,
        seed: int = 0,
        passes: int = 1,
    ) -> None:
        if views.ndim != 3:
            raise ValueError(f"views must be (n, V, d), got {tuple(views.shape)}.")
        n, n_views = views.shape[:2]
        check_integer("n_views_per_step", n_views_per_step, least=2)
        most, of = n_views, "views"
        if neighbours is not None:
            check_neighbours(neighbours, n)
            if neighbours.shape[1] + 1 < most:
                most, of = neighbours.shape[1] + 1, "neighbours and the image"
        if n_views_per_step > most:
            raise ValueError(
                f"n_views_per_step must be at most {most}, the number of {of}, got "
                f"{n_views_per_step}."
            )
        super().__init__(
            n,
            targets,
            batch_size,
            shuffle=shuffle,
            drop_last=drop_last,
            device=views.device if device is None else device,
            seed=seed,
            passes=passes,
        )
        self.views = views.to(self.device)
        self.neighbours = None if neighbours is None else neighbours.to(self.device)
        self.n_views_per_step = n_views_per_step
        self.seed = seed
        #: Called when an epoch begins; returns clusters ``(n,)``, or None. A neighbour
        #: in another cluster gives way to the image itself.
        self.labels: Callable[[], Tensor | None] | None = None
        self._labels: Tensor | None = None

    def __iter__(self) -> Iterator[tuple[Any, Tensor, Tensor]]:
        """Goes over one epoch, or over what is left of it."""
        labels = None if self.labels is None else self.labels()
        self._labels = None if labels is None else labels.to(self.device)
        yield from super().__iter__()

    def read(self, rows: Tensor, repeats: Tensor, epoch: int) -> list[Tensor]:
        """The views of a batch, each float32 ``(m, d)``."""
        n, n_views = self.views.shape[:2]
        n_drawn, keys = self.n_views_per_step, rows + n * repeats
        images = rows.unsqueeze(1)  # (m, 1)
        k = 0 if self.neighbours is None else self.neighbours.shape[1]
        draws = keyed_uniforms(self.seed, epoch, keys, n_views + k)
        views = _distinct(draws[:, :n_views], n_drawn)
        if self.neighbours is None:
            images = images.expand(-1, n_drawn)
        else:
            others = self.neighbours[rows].gather(
                1, _distinct(draws[:, n_views:], n_drawn - 1)
            )
            if self._labels is not None:
                is_near = self._labels[others] == self._labels[images]
                others = torch.where(is_near, others, images)
            images = torch.cat([images, others], dim=1)
        pairs = zip(images.unbind(1), views.unbind(1), strict=True)
        return [self.views[image, view].float() for image, view in pairs]


class PlainFeatureLoader(RowLoader):
    """Batches ``(features, targets, indices)`` of plain images, for clustering.

    Args:
        features: Floating point ``(n, d)``. They keep their dtype on the device, and
            come as float32.
        targets: Class numbers ``(n,)``; -1 everywhere if left out.
        batch_size: Images per batch.
        device: Where the features stay; by default where they are.

    Raises:
        ValueError: If a shape does not fit, or ``batch_size < 1``.
    """

    def __init__(
        self,
        features: Tensor,
        targets: ArrayLike | Tensor | None = None,
        batch_size: int = 4096,
        *,
        device: torch.device | str | None = None,
    ) -> None:
        if features.ndim != 2:
            raise ValueError(f"features must be (n, d), got {tuple(features.shape)}.")
        super().__init__(
            len(features),
            targets,
            batch_size,
            shuffle=False,
            drop_last=False,
            device=features.device if device is None else device,
            seed=0,
        )
        self.features = features.to(self.device)

    def read(self, rows: Tensor, repeats: Tensor, epoch: int) -> Tensor:
        """The features of a batch, float32 ``(m, d)``."""
        return self.features[rows].float()


def _distinct(draws: Tensor, number: int) -> Tensor:
    """Different columns for each row, all equally likely, int64 ``(m, number)``."""
    return draws.argsort(dim=1, stable=True)[:, :number]
