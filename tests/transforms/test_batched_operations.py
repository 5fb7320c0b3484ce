"""Every operation on batches equals torchvision's on single images."""

from __future__ import annotations

import itertools

import pytest
import torch
from PIL import ImageFilter, ImageOps
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as F

from hadis_lightly.transforms.batched_color import (
    adjust_hue,
    blur,
    grayscale,
    jitter,
    num_before_hue,
    solarize,
)
from hadis_lightly.transforms.batched_geometry import (
    affine_map,
    crop_and_resize,
    flip,
    rotate,
)

ONE_LEVEL = 1 / 255


def make_images(
    n: int, size: tuple[int, int] = (24, 20), channels: int = 3, seed: int = 0
) -> Tensor:
    """Smooth random images with some noise and some flat ones, uint8 (n, c, h, w)."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(n, channels, 4, 4, generator=generator)
    images = torch.nn.functional.interpolate(coarse, size, mode="bicubic")
    images = images + 0.1 * torch.randn(images.shape, generator=generator)
    images[0] = 0.5  # neither contrast nor hue
    return (images.clamp(0, 1) * 255).round().byte()


def planes_of(images: Tensor) -> Tensor:
    return (images.float() / 255).transpose(0, 1).contiguous()


def images_of(planes: Tensor) -> Tensor:
    return planes.transpose(0, 1)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [8, 24, 40])  # smaller than, about and above the crops
def test_crop_and_resize_is_that_of_torchvision(size: int, channels: int) -> None:
    images = make_images(6, channels=channels)
    top = torch.tensor([0, 3, 10, 0, 5, 23])
    left = torch.tensor([0, 2, 0, 7, 4, 19])
    height = torch.tensor([24, 9, 14, 1, 17, 1])
    width = torch.tensor([20, 18, 3, 13, 11, 1])
    flips = torch.tensor([0, 1, 0, 1, 0, 1]).bool()
    made = crop_and_resize(
        255 * planes_of(images),
        vertical=(top.float(), height.float(), ~flips),
        horizontal=(left.float(), width.float(), flips),
        size=size,
    )
    for i, image in enumerate(images):
        expected = F.resized_crop(
            image.float() / 255,
            *(int(x[i]) for x in (top, left, height, width)),
            [size, size],
            antialias=True,
        )
        expected = F.hflip(expected) if flips[i] else F.vflip(expected)
        torch.testing.assert_close(images_of(made)[i], expected, atol=1e-5, rtol=0)
        # And what torchvision makes of uint8, which it rounds to levels.
        rounded = F.resized_crop(
            image,
            *(int(x[i]) for x in (top, left, height, width)),
            [size, size],
            antialias=True,
        )
        rounded = F.hflip(rounded) if flips[i] else F.vflip(rounded)
        difference = (images_of(made)[i] - rounded.float() / 255).abs().max()
        assert difference <= ONE_LEVEL


def reference_jitter(image: Tensor, factors: list[float], order: list[int]) -> Tensor:
    """Torchvision's ColorJitter with given draws."""
    operations = (
        F.adjust_brightness,
        F.adjust_contrast,
        F.adjust_saturation,
        F.adjust_hue,
    )
    for op in order:
        image = operations[op](image, factors[op])
    return image


@pytest.mark.parametrize("is_sorted", [True, False])
def test_jitter_in_every_order_is_that_of_torchvision(is_sorted: bool) -> None:
    order = torch.tensor(list(itertools.permutations(range(4))))
    images = make_images(len(order), (16, 16))
    generator = torch.Generator().manual_seed(1)
    factors = 0.2 + 1.6 * torch.rand(len(order), 4, generator=generator)
    factors[:, 3] = torch.rand(len(order), generator=generator) - 0.5
    factors[5:7] = torch.tensor([1.0, 1.0, 1.0, 0.0])
    if is_sorted:
        rows = num_before_hue(factors, order, [True] * 4).argsort()
        order, factors = order[rows], factors[rows]
    made = images_of(jitter(planes_of(images), factors, order, [True] * 4))
    for i, image in enumerate(images):
        expected = reference_jitter(
            image.float() / 255, factors[i].tolist(), order[i].tolist()
        )
        torch.testing.assert_close(made[i], expected, atol=2e-5, rtol=0)


@pytest.mark.parametrize("op", range(4))
def test_each_part_of_the_jitter_on_uint8(op: int) -> None:
    images = make_images(8, (16, 16))
    factors = torch.tensor([1.0, 1.0, 1.0, 0.0]).repeat(8, 1)
    factors[:, op] = (
        torch.linspace(-0.5, 0.5, 8) if op == 3 else torch.linspace(0, 2, 8)
    )
    order = torch.arange(4).repeat(8, 1)
    active = [op == number for number in range(4)]
    made = images_of(jitter(planes_of(images), factors, order, active))
    for i, image in enumerate(images):
        expected = reference_jitter(image, factors[i].tolist(), [op])
        # torchvision cuts off the fraction of the result, and before of the grey.
        levels = 2 if op in (1, 2) else 1
        assert (made[i] - expected.float() / 255).abs().max() <= levels * ONE_LEVEL


def test_jitter_of_grey_images_has_brightness_and_contrast_only() -> None:
    images = make_images(8, (16, 16), channels=1)
    factors = torch.tensor([0.6, 1.5, 0.1, 0.3]).repeat(8, 1)
    order = torch.tensor([[2, 3, 1, 0], [1, 0, 2, 3]]).repeat(4, 1)
    made = images_of(jitter(planes_of(images), factors, order, [True] * 4))
    for i, image in enumerate(images):
        expected = image.float() / 255
        for operation in order[i].tolist():
            if operation == 0:
                expected = F.adjust_brightness(expected, 0.6)
            if operation == 1:
                expected = F.adjust_contrast(expected, 1.5)
        torch.testing.assert_close(made[i], expected, atol=1e-5, rtol=0)


def test_hue_of_pure_and_grey_colours() -> None:
    colours = torch.tensor(list(itertools.product([0.0, 0.5, 1.0], repeat=3)))
    image = colours.T.reshape(3, 1, 27)
    for shift in (-0.5, -0.1, 0.0, 1 / 3, 0.5):
        made = adjust_hue(image.unsqueeze(1).clone(), torch.tensor([shift]))
        expected = F.adjust_hue(image, shift)
        torch.testing.assert_close(made[:, 0], expected, atol=1e-5, rtol=0)


def test_grayscale_is_that_of_torchvision() -> None:
    images = make_images(4)
    mask = torch.tensor([True, False, True, True])
    made = images_of(grayscale(planes_of(images), mask))
    for i, image in enumerate(images):
        expected = F.rgb_to_grayscale(image, 3) if mask[i] else image
        # torchvision cuts off the fractions of the grey of uint8 images.
        assert (made[i] - expected.float() / 255).abs().max() <= ONE_LEVEL


@pytest.mark.parametrize("size", [5, 16, 32])
def test_blur_is_that_of_torchvision(size: int) -> None:
    images = make_images(6, (size, size))
    # torchvision samples a Gaussian at whole pixels: right from 1 upwards.
    sigma = torch.tensor([0.0, 1.0, 1.1, 1.4, 1.7, 2.0])
    made = images_of(blur(planes_of(images), sigma, max_sigma=2.0))
    for i, image in enumerate(images):
        expected = image.float() / 255
        if sigma[i] > 0:
            width = 2 * min(8, size - 1) + 1
            expected = F.gaussian_blur(expected, [width, width], [float(sigma[i])] * 2)
        torch.testing.assert_close(made[i], expected, atol=1e-5, rtol=0)


def test_blur_is_close_to_that_of_pillow_inside() -> None:
    # Pillow, which lightly's GaussianBlur uses, has three boxes for a Gaussian.
    images = make_images(4, (32, 32))
    sigma = torch.tensor([0.5, 1.0, 1.5, 2.0])
    made = images_of(blur(planes_of(images), sigma, max_sigma=2.0))
    for i, image in enumerate(images):
        pillow = F.to_pil_image(image).filter(ImageFilter.GaussianBlur(float(sigma[i])))
        difference = (made[i] - F.to_tensor(pillow)).abs()
        assert difference[:, 8:-8, 8:-8].mean() < ONE_LEVEL


def edge_spread(edges: Tensor) -> Tensor:
    """Standard deviation in pixels of what blurred rows ``(..., size)``, 0 to 1."""
    steps = edges.double().diff(dim=-1)
    places = torch.arange(steps.shape[-1]) - (steps.shape[-1] - 1) / 2
    return (steps * places.square()).sum(dim=-1).sqrt()


@pytest.mark.parametrize("max_sigma", [2.0, 5.0])
def test_blur_spreads_an_edge_by_sigma_however_small(max_sigma: float) -> None:
    sigma = torch.cat([torch.tensor([0.01, 0.05]), torch.linspace(0.1, 2, 77)])
    edge = (torch.arange(64) >= 32).float().expand(1, len(sigma), 64, 64)
    made = blur(edge.clone(), sigma, max_sigma)[0]
    spread = edge_spread(made[:, 32])
    assert (spread / sigma - 1).abs().max() < 1e-3
    assert (made.diff(dim=-1) >= -1e-6).all()  # no weight is negative
    assert (made[1:] - made[:-1]).abs().max() < 0.02  # continuous in sigma
    for i in (6, 10, 18, 38, 78):  # 0.2 to 2; at 0.1 it does nothing
        image = F.to_pil_image(edge[:, i])
        pillow = F.to_tensor(image.filter(ImageFilter.GaussianBlur(float(sigma[i]))))
        # Its pixels are whole levels of 255.
        assert edge_spread(pillow[0, 32]) == pytest.approx(float(spread[i]), abs=0.03)


@pytest.mark.parametrize("size", [1, 2, 3])
def test_blur_of_a_few_pixels_keeps_what_is_even(size: int) -> None:
    x = torch.full((3, 4, size, size), 0.5)
    made = blur(x.clone(), torch.tensor([0.0, 0.1, 0.7, 9.0]), max_sigma=9.0)
    torch.testing.assert_close(made, x)


def test_solarize_is_that_of_pillow() -> None:
    images = make_images(4)
    images[1, 0, 0, :4] = torch.tensor([126, 127, 128, 129])
    solarize_from = torch.tensor([127.5 / 255, 127.5 / 255, 2.0, 0.0])
    made = images_of(solarize(planes_of(images), solarize_from))
    for i, threshold in enumerate([128, 128, 256, 0]):
        expected = ImageOps.solarize(F.to_pil_image(images[i]), threshold)
        torch.testing.assert_close(made[i], F.to_tensor(expected), atol=1e-6, rtol=0)


def test_affine_map_is_that_of_torchvision_on_pillow() -> None:
    images = make_images(6, (16, 16))
    angle = torch.tensor([0.0, 10.0, -7.0, 0.0, 4.0, 90.0])
    shift = torch.tensor([[0, 0], [2, -1], [0, 3], [-4, 0], [1, 1], [0, 0]])
    shear = torch.tensor([0.0, 5.0, -3.0, 8.0, 0.0, 0.0])
    made = affine_map(
        planes_of(images), angle, shift[:, 0].float(), shift[:, 1].float(), shear
    )
    for i, image in enumerate(images):
        expected = F.affine(
            F.to_pil_image(image),
            angle=float(angle[i]),
            translate=shift[i].tolist(),
            scale=1.0,
            shear=[float(shear[i]), 0.0],
            interpolation=InterpolationMode.BILINEAR,
        )
        expected = F.to_tensor(expected)
        torch.testing.assert_close(
            images_of(made)[i], expected, atol=ONE_LEVEL + 1e-6, rtol=0
        )


@pytest.mark.parametrize("size", [15, 16])
def test_rotation_is_that_of_torchvision_on_pillow(size: int) -> None:
    images = make_images(6, (size, size))
    angle = torch.tensor([0.0, 13.0, -33.0, 90.0, 180.0, 270.0])
    made = images_of(rotate(planes_of(images), angle))
    for i, image in enumerate(images):
        expected = F.to_tensor(F.rotate(F.to_pil_image(image), float(angle[i])))
        is_equal = (made[i] - expected).abs().amax(dim=0) < 1e-6
        # A pixel that lies just between two others may go to either.
        assert is_equal.float().mean() > 0.98
        if angle[i] % 90 == 0:
            assert is_equal.all()


def test_flip_mirrors_the_chosen_images() -> None:
    images = make_images(4, (6, 6))
    horizontal = torch.tensor([True, False, True, False])
    vertical = torch.tensor([True, True, False, False])
    made = images_of(flip(planes_of(images), horizontal, vertical))
    expected = images.float() / 255
    torch.testing.assert_close(made[0], F.vflip(F.hflip(expected[0])))
    torch.testing.assert_close(made[1], F.vflip(expected[1]))
    torch.testing.assert_close(made[2], F.hflip(expected[2]))
    torch.testing.assert_close(made[3], expected[3])
