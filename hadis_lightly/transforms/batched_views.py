"""Random views of whole batches, on the device that the images are on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import torch
from lightly.transforms.utils import IMAGENET_NORMALIZE
from torch import Tensor
from torchvision import transforms as v1
from torchvision.transforms import v2

from hadis_lightly.precision import full_precision
from hadis_lightly.transforms.hadis_transform import HaDisTransform
from hadis_lightly.transforms.keyed_uniforms import keyed_uniforms
from hadis_lightly.transforms.validation import check_batch, check_keys
from hadis_lightly.transforms.view_parameters import (
    NUM_UNIFORMS,
    ViewParameters,
    draw_parameters,
)
from hadis_lightly.transforms.view_pipeline import ViewPipeline
from hadis_lightly.transforms.view_settings import view_settings


class BatchedViews:
    """The views of :class:`HaDisTransform` for a whole batch, on any device.

    Every view of every image has draws of its own, from the law of torchvision's
    transforms. (torchvision's own transforms draw once for all images of a batch.)

    Input: uint8 images ``(n, c, h, w)``, c being 1 or 3. Or a crop for each view,
    ``(n, 2, c, h, w)``, as :class:`HaDisCropTransform` makes them: they are not cropped
    again, only resized if need be.

    Output: two float tensors ``(n, c, input_size, input_size)``, normalised.

    For ``torch.compile`` the random numbers can be drawn apart, by :meth:`uniforms`,
    and :meth:`make` be compiled.

    It differs from the transform of single images in that pixels are not rounded to
    whole levels between the steps, and in the blur: a true Gaussian with mirrored
    borders, as torchvision has it, where Pillow has boxes and repeated borders.

    Takes the settings of :class:`HaDisTransform`, which describes them, and:

    Args:
        generator: Where the draws come from; by default PyTorch's global generator of
            the images' device. One on the CPU gives the same draws on every device.
        dtype: Of the views. The work is done in float32 all the same.
        memory_format: Of the views: ``torch.contiguous_format`` or
            ``torch.channels_last``.

    Raises:
        ValueError: if a setting lies outside its range, naming it and its value.

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
        cj_prob: float = 0.8,
        cj_bright: float = 0.4,
        cj_contrast: float = 0.4,
        cj_sat: float = 0.4,
        cj_hue: float = 0.1,
        min_scale: float = 0.08,
        random_gray_scale: float = 0.2,
        hf_prob: float = 0.5,
        normalize: Mapping[str, Sequence[float]] | None = IMAGENET_NORMALIZE,
        cj_strength: float = 1.0,
        vf_prob: float = 0.0,
        rr_prob: float = 0.0,
        rr_degrees: float | tuple[float, float] | None = None,
        gaussian_blur: float = 0.0,
        sigmas: tuple[float, float] = (0.1, 2.0),
        solarization_prob: float = 0.0,
        affine_degrees: float = 0.0,
        affine_translate: float = 0.0,
        affine_shear: float = 0.0,
        generator: torch.Generator | None = None,
        *,
        dtype: torch.dtype = torch.float32,
        memory_format: torch.memory_format = torch.contiguous_format,
    ) -> None:
        transform = HaDisTransform(
            input_size=input_size,
            cj_prob=cj_prob,
            cj_bright=cj_bright,
            cj_contrast=cj_contrast,
            cj_sat=cj_sat,
            cj_hue=cj_hue,
            min_scale=min_scale,
            random_gray_scale=random_gray_scale,
            hf_prob=hf_prob,
            normalize=normalize,
            cj_strength=cj_strength,
            vf_prob=vf_prob,
            rr_prob=rr_prob,
            rr_degrees=rr_degrees,
            gaussian_blur=gaussian_blur,
            sigmas=sigmas,
            solarization_prob=solarization_prob,
            affine_degrees=affine_degrees,
            affine_translate=affine_translate,
            affine_shear=affine_shear,
        )
        self._set_up(transform.transforms, generator, dtype, memory_format)

    @classmethod
    def from_transform(
        cls,
        transform: Any,
        generator: torch.Generator | None = None,
        *,
        dtype: torch.dtype = torch.float32,
        memory_format: torch.memory_format = torch.contiguous_format,
    ) -> BatchedViews:
        """Makes the views of a transform of single images for whole batches.

        Args:
            transform: :class:`HaDisTransform`, or any multi-view transform of lightly
                made of the same steps, such as ``BYOLTransform``; its views may differ
                in everything but their size, and be more or fewer than two.
            generator: As in the class; so are the following.
            dtype: Of the views.
            memory_format: Of the views.

        Raises:
            ValueError: If a step cannot be done for batches; it names the step.

        Example:
            >>> views = BatchedViews.from_transform(HaDisTransform(input_size=24))
            >>> [view.shape[2] for view in views(torch.zeros(1, 3, 8, 8).byte())]
            [24, 24]
        """
        transforms: Any = getattr(transform, "transforms", None)
        is_list = isinstance(transforms, (list, tuple)) and len(transforms) > 0
        # Of a Compose these are the steps of one view.
        if not is_list or isinstance(transform, (v1.Compose, v2.Compose)):
            raise ValueError(
                "transform must be a multi-view transform with a list of transforms, "
                f"got {type(transform).__name__}"
            )
        made = cls.__new__(cls)
        made._set_up(transforms, generator, dtype, memory_format)
        return made

    def _set_up(
        self,
        transforms: Sequence[Any],
        generator: torch.Generator | None,
        dtype: torch.dtype,
        memory_format: torch.memory_format,
    ) -> None:
        if generator is not None and not isinstance(generator, torch.Generator):
            raise TypeError(f"generator must be a torch.Generator, got {generator!r}")
        if not isinstance(dtype, torch.dtype) or not dtype.is_floating_point:
            raise ValueError(f"dtype must be floating point, got {dtype}")
        if memory_format not in (torch.contiguous_format, torch.channels_last):
            raise ValueError(
                "memory_format must be torch.contiguous_format or torch.channels_last, "
                f"got {memory_format}"
            )
        self.views = tuple(view_settings(transform) for transform in transforms)
        self._pipeline = ViewPipeline(self.views)
        self.input_size = self._pipeline.size
        self.generator = generator
        self.dtype = dtype
        self.memory_format = memory_format

    def __call__(self, images: Tensor) -> list[Tensor]:
        """Returns the views of uint8 images ``(n, c, h, w)``, or of their crops.

        Raises:
            TypeError: If the images are not uint8.
            ValueError: If their shape does not fit.
        """
        return self.make(images, self.uniforms(images))

    def draw(self, images: Tensor) -> ViewParameters:
        """Draws what is to be done to each of the images."""
        return self._parameters(images, self.uniforms(images))

    def uniforms(self, images: Tensor) -> Tensor:
        """The random numbers that a call draws, ``(num_views, n, NUM_UNIFORMS)``.

        The only draw there is: what follows from them can be compiled.
        """
        self._check(images)
        source = images.device if self.generator is None else self.generator.device
        drawn = torch.rand(
            (len(self.views), len(images), NUM_UNIFORMS),
            dtype=torch.float32,
            device=source,
            generator=self.generator,
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
        self._check(images)
        check_keys(keys, len(images))
        size = len(self.views) * NUM_UNIFORMS
        drawn = keyed_uniforms(seed, epoch, keys.to(images.device), size)
        return drawn.view(len(images), len(self.views), NUM_UNIFORMS).transpose(0, 1)

    def make(self, images: Tensor, uniforms: Tensor) -> list[Tensor]:
        """Makes the views of the images from given random numbers.

        Raises:
            ValueError: If they are not those of so many images.
        """
        self._check(images)
        shape = (len(self.views), len(images), NUM_UNIFORMS)
        if uniforms.shape != shape:
            raise ValueError(
                f"uniforms must have shape {shape}, got {tuple(uniforms.shape)}"
            )
        return self.apply(images, self._parameters(images, uniforms))

    @torch.no_grad()
    def _parameters(self, images: Tensor, uniforms: Tensor) -> ViewParameters:
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

    @torch.no_grad()
    def apply(self, images: Tensor, parameters: ViewParameters) -> list[Tensor]:
        """Makes the views of the images from given draws.

        Raises:
            ValueError: If there are not as many draws as images.
        """
        self._check(images)
        n, c = len(images), images.shape[-3]
        if parameters.top.shape != (len(self.views), n):
            raise ValueError(
                f"parameters must be those of {len(self.views)} views of {n} images, "
                f"got {tuple(parameters.top.shape)}"
            )
        if images.ndim == 5:  # one for each view, as the draws are
            images = images.transpose(0, 1).flatten(0, 1)
        m, size = len(self.views) * n, self.input_size
        views = torch.empty(
            (m, c, size, size),
            dtype=self.dtype,
            device=images.device,
            memory_format=self.memory_format,
        )
        drawn = ViewParameters(*(field.flatten(0, 1) for field in parameters))
        rows = self._pipeline.order(drawn)
        step = self._pipeline.views_at_a_time(images)
        # Within a compiled region nothing global can be set but autocast.
        is_global = not torch.compiler.is_compiling()
        with (
            torch.autocast(images.device.type, enabled=False),
            full_precision() if is_global else nullcontext(),
        ):
            for start in range(0, m, step):
                some = rows[start : start + step]
                of = ViewParameters(*(field[some] for field in drawn))
                x = self._pipeline.make(images.index_select(0, some % len(images)), of)
                views.index_copy_(0, some, x.transpose(0, 1).to(self.dtype))
        return list(views.chunk(len(self.views)))

    def _check(self, images: Tensor) -> None:
        check_batch(images, len(self.views), self._pipeline.mean)
