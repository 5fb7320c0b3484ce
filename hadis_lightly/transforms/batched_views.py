"""Random views of whole batches, on the device that the images are on."""

from __future__ import annotations

from contextlib import nullcontext
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from hadis_lightly.checks import check_integer
from hadis_lightly.precision import full_precision
from hadis_lightly.settings.views import (
    IMAGENET_NORMALIZE,
    Normalize,
    ViewSettings,
)
from hadis_lightly.transforms.hadis_transform import HaDisTransform
from hadis_lightly.transforms.input_checks import check_batch
from hadis_lightly.transforms.keyed_random import keyed_uniforms
from hadis_lightly.transforms.view_distribution import read_views
from hadis_lightly.transforms.view_parameters import (
    NUM_UNIFORMS,
    ViewParameters,
    draw_parameters,
)
from hadis_lightly.transforms.view_pipeline import (
    Views,
    make_planes,
    processing_order,
    views_at_a_time,
)
from hadis_lightly.transforms.view_signature import takes_view_settings


@takes_view_settings
class BatchedViews:
    """The views of :class:`HaDisTransform` for a whole batch, on any device.

    Every view of every image has draws of its own, where torchvision's transforms draw
    once per batch; their distributions are the same.

    Input: uint8 images ``(n, c, h, w)``, c being 1 or 3. Or a crop for each view,
    ``(n, 2, c, h, w)``, as :class:`HaDisCropTransform` makes them: they are not cropped
    again, only resized if need be.

    Output: two float tensors ``(n, c, input_size, input_size)``, normalised; or as many
    views, of as many sizes, as :class:`HaDisTransform` makes.

    For ``torch.compile``, draw the random numbers with :meth:`uniforms` and compile
    :meth:`make`.

    Two things differ from the transform of single images: pixels are not rounded to
    whole levels between the steps, and the blur is a Gaussian with mirrored borders,
    as in torchvision, while Pillow uses boxes and repeated borders. Its standard
    deviation is the one drawn, also below 1 pixel, where torchvision's blurs less.

    Args:
        {view_settings}
        normalize: As in :class:`HaDisTransform`.
        generator: Source of the draws; by default PyTorch's global generator of the
            images' device. One on the CPU gives the same draws on every device.
        dtype: Data type of the views; the computation is always in float32.
        memory_format: Memory format of the views.

    Raises:
        TypeError: If a setting is unknown or of the wrong type; names it.
        ValueError: If a setting is out of range; names it and its value.

    Example:
        >>> images = torch.randint(256, (4, 3, 40, 30), dtype=torch.uint8)
        >>> views = BatchedViews(32, generator=torch.Generator().manual_seed(0))
        >>> x0, x1 = views(images)
        >>> x0.shape, x1.dtype
        (torch.Size([4, 3, 32, 32]), torch.float32)
    """

    def __init__(
        self,
        input_size: int = 32,
        *,
        normalize: Normalize | None = IMAGENET_NORMALIZE,
        generator: torch.Generator | None = None,
        dtype: torch.dtype = torch.float32,
        memory_format: torch.memory_format = torch.contiguous_format,
        **settings: Any,
    ) -> None:
        if not dtype.is_floating_point:
            raise ValueError(f"dtype must be floating point, got {dtype}.")
        #: The distribution of each view.
        self.views = read_views(
            HaDisTransform(input_size, normalize=normalize, **settings)
        )
        if generator is not None and not isinstance(generator, torch.Generator):
            raise TypeError(f"generator must be a torch.Generator, got {generator!r}.")
        self.generator = generator
        self.dtype = dtype
        self.memory_format = memory_format
        self._growth: tuple[Views, int] | None = None

    @classmethod
    def from_settings(cls, settings: ViewSettings, **options: Any) -> BatchedViews:
        """The views of ready settings; options as in :meth:`from_transform`."""
        return cls.from_transform(HaDisTransform.from_settings(settings), **options)

    @classmethod
    def from_transform(
        cls,
        transform: Any,
        generator: torch.Generator | None = None,
        *,
        dtype: torch.dtype = torch.float32,
        memory_format: torch.memory_format = torch.contiguous_format,
    ) -> BatchedViews:
        """The views of a transform of single images, for whole batches.

        Args:
            transform: :class:`HaDisTransform`, or any multi-view transform of lightly
                made of the same steps, such as ``BYOLTransform``. Its views may differ
                in all but normalisation, and be more or fewer than two.
            generator: As in the class.
            dtype: As in the class.
            memory_format: As in the class.

        Raises:
            ValueError: If a step cannot be done for batches; names the step.

        Example:
            >>> views = BatchedViews.from_transform(HaDisTransform(input_size=24))
            >>> [view.shape[2] for view in views(torch.zeros(1, 3, 8, 8).byte())]
            [24, 24]
        """
        made = cls(generator=generator, dtype=dtype, memory_format=memory_format)
        made.views = read_views(transform)
        return made

    def grow_from(self, initial_size: int, epochs: int) -> None:
        """Makes smaller views in the first epochs of a training: they cost less.

        All shrink alike, local ones and their blur too. Our modules call
        :meth:`start_epoch`; networks must take images of several sizes. Not in the
        paper: EfficientNetV2 [0] grows its images so.

        Args:
            initial_size: Side of the largest views in these epochs, in pixels.
            epochs: Number of these epochs.

        Raises:
            ValueError: If a number is out of range, or above the size of the views.

        Example:
            >>> views = BatchedViews(32, n_local_views=2)
            >>> views.grow_from(24, epochs=100)
            >>> for epoch in (0, 100):
            ...     views.start_epoch(epoch)
            ...     print([view.size for view in views.views])
            [24, 24, 12, 12]
            [32, 32, 16, 16]

        - [0]: EfficientNetV2, 2021, https://arxiv.org/abs/2104.00298
        """
        check_integer("initial_size", initial_size, least=1)
        check_integer("epochs", epochs, least=0)
        size = max(view.size for view in self.views)
        if initial_size > size:
            raise ValueError(
                f"initial_size must be at most that of the views, {size}, got "
                f"{initial_size}."
            )
        self._growth = self.views, epochs
        share = initial_size / size
        self._small = tuple(view.shrunk(share) for view in self.views)

    def start_epoch(self, epoch: int) -> None:
        """Makes views of the sizes of this epoch, after :meth:`grow_from`."""
        if self._growth is not None:
            final, epochs = self._growth
            self.views = self._small if epoch < epochs else final

    def __call__(self, images: Tensor) -> list[Tensor]:
        """Returns the views of uint8 images ``(n, c, h, w)``, or of their crops.

        Raises:
            TypeError: If the images are not uint8.
            ValueError: If their shape does not fit.
        """
        return self.make(images, self.uniforms(images))

    def uniforms(self, images: Tensor) -> Tensor:
        """The random numbers that a call draws, ``(num_views, n, NUM_UNIFORMS)``.

        The only draw there is: what follows from them can be compiled.
        """
        check_batch(images, self.views[0].mean, len(self.views))
        device = images.device if self.generator is None else self.generator.device
        shape = (len(self.views), len(images), NUM_UNIFORMS)
        drawn = torch.rand(
            shape, dtype=torch.float32, device=device, generator=self.generator
        )
        return drawn.to(images.device, non_blocking=True)

    def keyed_uniforms(
        self, images: Tensor, keys: Tensor, *, seed: int, epoch: int
    ) -> Tensor:
        """As :meth:`uniforms`, but a function of seed, epoch and key: no generator.

        An image then has the same views in an epoch whatever batch or process it is in,
        and in a run that was interrupted and resumed.

        Args:
            images: The images, ``(n, c, h, w)``.
            keys: An integer for each image, such as its index, ``(n,)``.
            seed: Seed of the run.
            epoch: Number of the epoch.

        Raises:
            ValueError: If there are not as many keys as images.
        """
        if keys.is_floating_point() or keys.shape != images.shape[:1]:
            raise ValueError(
                f"keys must be {len(images)} integers, got {keys.dtype} of shape "
                f"{tuple(keys.shape)}."
            )
        size = len(self.views) * NUM_UNIFORMS
        drawn = keyed_uniforms(seed, epoch, keys.to(images.device), size)
        return drawn.view(len(images), len(self.views), NUM_UNIFORMS).transpose(0, 1)

    @torch.no_grad()
    def make(self, images: Tensor, uniforms: Tensor) -> list[Tensor]:
        """Makes the views of the images from given random numbers.

        Raises:
            ValueError: If there are not as many numbers as the views take.
        """
        parameters = self.parameters(images, uniforms)
        made = []
        for part in _of_one_size(self.views):
            shown = images if images.ndim == 4 else images[:, part]
            drawn = ViewParameters(*(field[part] for field in parameters))
            made += self._make(self.views[part], shown, drawn)
        return made

    def _make(
        self, views_made: Views, images: Tensor, parameters: ViewParameters
    ) -> list[Tensor]:
        """Makes views of one size; each field of the draws is ``(v, n, ...)``."""
        if images.ndim == 5:  # one for each view, as the draws are
            images = images.transpose(0, 1).flatten(0, 1)
        m, size = parameters.top.numel(), views_made[0].size
        views = torch.empty(
            (m, images.shape[1], size, size),
            dtype=self.dtype,
            device=images.device,
            memory_format=self.memory_format,
        )
        drawn = ViewParameters(*(field.flatten(0, 1) for field in parameters))
        rows = processing_order(views_made, drawn)
        step = views_at_a_time(images, size)
        # Within a compiled region nothing global can be set but autocast.
        is_global = not torch.compiler.is_compiling()
        with (
            torch.autocast(images.device.type, enabled=False),
            full_precision() if is_global else nullcontext(),
        ):
            for start in range(0, m, step):
                some = rows[start : start + step]
                of = ViewParameters(*(field[some] for field in drawn))
                chosen = images.index_select(0, some % len(images))
                x = make_planes(views_made, chosen, of)
                views.index_copy_(0, some, x.transpose(0, 1).to(self.dtype))
        return list(views.chunk(len(views_made)))

    def parameters(self, images: Tensor, uniforms: Tensor) -> ViewParameters:
        """The draws made from the random numbers, each field ``(v, n, ...)``."""
        check_batch(images, self.views[0].mean, len(self.views))
        shape = (len(self.views), len(images), NUM_UNIFORMS)
        if uniforms.shape != shape:
            raise ValueError(
                f"uniforms must have shape {shape}, got {tuple(uniforms.shape)}."
            )
        height, width = images.shape[-2:]
        drawn = draw_parameters(self.views, uniforms, height, width)
        if images.ndim == 5:  # cropped already
            drawn = drawn._replace(
                top=torch.zeros_like(drawn.top),
                left=torch.zeros_like(drawn.left),
                height=torch.full_like(drawn.height, height),
                width=torch.full_like(drawn.width, width),
            )
        return drawn


def _of_one_size(views: Views) -> list[slice]:
    """The stretches of views of one size, which are made together."""
    starts = [
        i for i in range(len(views)) if i == 0 or views[i].size != views[i - 1].size
    ]
    return [slice(*ends) for ends in pairwise([*starts, len(views)])]
