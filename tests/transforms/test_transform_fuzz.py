"""Generated settings and images of the transforms, right ones and wrong ones."""

from __future__ import annotations

import inspect
import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor
from torch.testing import assert_close

from hadis_lightly.transforms import (
    BatchedTestTransform,
    BatchedViews,
    HaDisCropTransform,
    HaDisTestTransform,
    HaDisTransform,
    HaDisViewTransform,
    ToNormalizedTensor,
)

probabilities = st.one_of(st.sampled_from([0.0, 1.0]), st.floats(0, 1))
strengths = st.one_of(st.just(0.0), st.floats(0, 3))
sizes = st.integers(1, 20)
seeds = st.integers(0, 2**32)
# What each setting may be; of all that have a name here something is drawn.
RIGHT: dict[str, st.SearchStrategy[Any]] = {
    "input_size": sizes,
    "cj_prob": probabilities,
    "cj_bright": strengths,
    "cj_contrast": strengths,
    "cj_sat": strengths,
    "cj_hue": st.floats(0, 0.5),
    "min_scale": st.floats(1e-3, 1),
    "random_gray_scale": probabilities,
    "hf_prob": probabilities,
    "cj_strength": st.floats(0, 1),
    "vf_prob": probabilities,
    "rr_prob": probabilities,
    "rr_degrees": st.one_of(
        st.none(),
        st.floats(0, 400),
        st.tuples(st.floats(-200, 0), st.floats(0, 200)),
    ),
    "gaussian_blur": probabilities,
    "sigmas": st.tuples(st.floats(0.05, 1), st.floats(1, 5)),
    "solarization_prob": probabilities,
    "affine_degrees": st.floats(0, 180),
    "affine_translate": probabilities,
    "affine_shear": st.floats(0, 89),
}


@st.composite
def normalizations(draw: st.DrawFn, channels: int) -> dict[str, list[float]] | None:
    if draw(st.booleans()):
        return None
    numbers = st.floats(-10, 10), st.floats(1e-3, 10)
    mean, std = (
        draw(st.lists(x, min_size=channels, max_size=channels)) for x in numbers
    )
    kind = draw(st.sampled_from([list, tuple, np.float32]))
    if kind is np.float32:
        return {"mean": list(np.float32(mean)), "std": list(np.float32(std))}
    return {"mean": kind(mean), "std": kind(std)}


@st.composite
def batches(draw: st.DrawFn) -> Tensor:
    """uint8 images of any size, some of one colour."""
    n, c = draw(st.integers(0, 4)), draw(st.sampled_from([1, 3]))
    h, w = draw(st.integers(1, 40)), draw(st.integers(1, 40))
    generator = torch.Generator().manual_seed(draw(seeds))
    images = torch.randint(256, (n, c, h, w), generator=generator, dtype=torch.uint8)
    if draw(st.booleans()):
        images[: n // 2] = draw(st.sampled_from([0, 255]))
    return images


def as_image(image: Tensor) -> Image.Image:
    pixels = image.permute(1, 2, 0).numpy()
    return Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)


def in_pixels(x: Tensor, normalize: dict[str, list[float]] | None) -> Tensor:
    """Normalised views, ``(..., c, h, w)``, back in pixels from 0 to 1."""
    if normalize is None:
        return x
    mean, std = (
        torch.tensor([float(v) for v in normalize[name]], dtype=torch.float64)
        for name in ("mean", "std")
    )
    return x.double() * std[:, None, None] + mean[:, None, None]


def assert_within(x: Tensor, normalize: dict[str, list[float]] | None) -> None:
    pixels = in_pixels(x, normalize)
    assert torch.isfinite(pixels).all()
    assert pixels.numel() == 0 or (pixels.min() > -1e-4 and pixels.max() < 1 + 1e-4)


def test_every_setting_is_generated() -> None:
    options = set(inspect.signature(HaDisTransform).parameters)
    assert options == set(RIGHT) | {"normalize"}
    assert options < set(inspect.signature(BatchedViews).parameters)


@given(
    options=st.fixed_dictionaries({}, optional=RIGHT), images=batches(), data=st.data()
)
def test_views_are_of_their_size_and_within_the_pixels(
    options: dict[str, Any], images: Tensor, data: st.DataObject
) -> None:
    n, c = images.shape[:2]
    normalize = data.draw(normalizations(c))
    seed, size = data.draw(seeds), options.get("input_size", 32)
    before = images.clone()

    def made() -> BatchedViews:
        generator = torch.Generator().manual_seed(seed)
        return BatchedViews(**options, normalize=normalize, generator=generator)

    views = made()(images)
    assert [tuple(view.shape) for view in views] == [(n, c, size, size)] * 2
    for view in views:
        assert_within(view, normalize)
    assert torch.equal(images, before)
    assert_close(made()(images), views, rtol=0, atol=0)

    transform = HaDisTransform(**options, normalize=normalize)
    generator = torch.Generator().manual_seed(seed)
    copied = BatchedViews.from_transform(transform, generator)(images)
    assert_close(copied, views, rtol=0, atol=0)

    torch.manual_seed(seed)
    for image in images[:1]:
        for view in transform(as_image(image)):
            assert view.shape == (c, size, size) and view.dtype == torch.float32
            assert_within(view, normalize)


@given(
    images=batches(),
    dtype=st.sampled_from(
        [torch.float32, torch.float64, torch.bfloat16, torch.float16]
    ),
    layout=st.sampled_from([torch.contiguous_format, torch.channels_last]),
    order=st.randoms(use_true_random=False),
    seed=seeds,
)
def test_draws_of_keys_belong_to_the_images(
    images: Tensor,
    dtype: torch.dtype,
    layout: torch.memory_format,
    order: Any,
    seed: int,
) -> None:
    views = BatchedViews(8, normalize=None, dtype=dtype, memory_format=layout)
    keys = torch.arange(len(images)) * 7
    made = views.make(images, views.keyed_uniforms(images, keys, seed=seed, epoch=3))
    assert all(view.dtype == dtype for view in made)
    rows = list(range(len(images)))
    order.shuffle(rows)
    uniforms = views.keyed_uniforms(images[rows], keys[rows], seed=seed, epoch=3)
    again = views.make(images[rows], uniforms)
    for one, other in zip(made, again, strict=True):
        assert_close(one[rows].float(), other.float(), rtol=0, atol=1e-5)


@given(images=batches(), size=sizes, data=st.data())
def test_clean_transforms_agree(images: Tensor, size: int, data: st.DataObject) -> None:
    normalize = data.draw(normalizations(images.shape[1]))
    clean = BatchedTestTransform(size, normalize)(images)
    assert clean.shape == (*images.shape[:2], size, size)
    assert_within(clean, normalize)
    single = HaDisTestTransform(size, normalize)
    for image, x in zip(images, clean, strict=True):
        one = single(as_image(image))
        assert one.shape == x.shape
        # Pillow and torch round differently when they resize: two levels at most.
        difference = in_pixels(one, normalize) - in_pixels(x, normalize)
        assert difference.abs().max() < 2.5 / 255


@given(images=batches(), data=st.data())
def test_normalized_tensor_is_its_equation(images: Tensor, data: st.DataObject) -> None:
    c = images.shape[1]
    normalize = data.draw(normalizations(c))
    for image in images:
        made = ToNormalizedTensor(normalize)(as_image(image))
        expected = image.double() / 255
        if normalize is not None:
            mean, std = (
                torch.tensor([float(v) for v in normalize[name]], dtype=torch.float64)
                for name in ("mean", "std")
            )
            expected = (expected - mean[:, None, None]) / std[:, None, None]
        assert_close(made, expected.float(), rtol=1e-6, atol=1e-6)


@given(
    images=batches(),
    size=sizes,
    min_scale=st.floats(1e-3, 1),
    num_views=st.integers(1, 4),
)
def test_crops_hold_nothing_but_the_image(
    images: Tensor, size: int, min_scale: float, num_views: int
) -> None:
    transform = HaDisCropTransform(size, min_scale, num_views)
    for image in images:
        crops = transform(as_image(image))
        assert crops.dtype == torch.uint8
        assert crops.shape == (num_views, len(image), size, size)
        for c in range(len(image)):
            low, high = int(image[c].min()), int(image[c].max())
            assert low <= int(crops[:, c].min()) and int(crops[:, c].max()) <= high
        if num_views == 2:
            views = BatchedViews(size, normalize=None)(crops.unsqueeze(0))
            assert all(view.shape == (1, len(image), size, size) for view in views)


@given(x=st.floats(0, 1), hue=st.floats(0, 0.5))
def test_grey_stays_grey_whatever_its_hue(x: float, hue: float) -> None:
    images = torch.full((1, 3, 6, 6), round(255 * x), dtype=torch.uint8)
    views = BatchedViews(6, cj_prob=1.0, cj_hue=hue, normalize=None)(images)
    for view in views:
        spread = view.amax(dim=1) - view.amin(dim=1)
        assert float(spread.max()) < 2e-3 and math.isfinite(float(view.sum()))


@pytest.mark.parametrize("call", [HaDisTransform, HaDisViewTransform, BatchedViews])
def test_defaults_are_right(call: Any) -> None:
    assert call() is not None
