"""Views of whole batches: what goes in, what comes out, and where it is the same."""

from __future__ import annotations

import copy
import inspect
import pickle
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
from lightly.transforms import BYOLTransform, SimCLRTransform, SMoGTransform
from lightly.transforms.byol_transform import BYOLView1Transform, BYOLView2Transform
from PIL import Image
from scipy import stats
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torchvision import transforms as v1
from torchvision.transforms import InterpolationMode, v2
from torchvision.transforms import functional as F

from hadis_lightly.transforms import (
    CIFAR10_NORMALIZE,
    DIGITS_NORMALIZE,
    BatchedViews,
    HaDisCropTransform,
    HaDisTransform,
    view_pipeline,
)

EVERYTHING = {
    "vf_prob": 0.5,
    "rr_prob": 0.5,
    "gaussian_blur": 0.5,
    "solarization_prob": 0.5,
}
AFFINE = {"affine_degrees": 15.0, "affine_translate": 0.08, "affine_shear": 10.0}


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def make_images(
    n: int = 12, height: int = 24, width: int = 20, channels: int = 3, seed: int = 0
) -> Tensor:
    """Smooth random images with a little noise, uint8 ``(n, c, h, w)``."""
    generator = seeded(seed)
    coarse = torch.rand(n, channels, 4, 4, generator=generator)
    images = torch.nn.functional.interpolate(coarse, (height, width), mode="bilinear")
    images = images + 0.03 * torch.randn(images.shape, generator=generator)
    return (images.clamp(0, 1) * 255).round().byte()


def assert_equal(ours: list[Tensor], theirs: list[Tensor]) -> None:
    assert len(ours) == len(theirs)
    assert all(map(torch.equal, ours, theirs))


def assert_close(ours: list[Tensor], theirs: list[Tensor], atol: float) -> None:
    assert len(ours) == len(theirs)
    for x, y in zip(ours, theirs, strict=True):
        torch.testing.assert_close(x, y, atol=atol, rtol=0)


@contextmanager
def seed_of_torch(seed: int) -> Iterator[None]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


# What goes in and comes out.


@pytest.mark.parametrize(
    ("height", "width", "size"),
    [(64, 48, 32), (8, 8, 16), (32, 32, 32), (9, 40, 17), (1, 1, 4), (5, 3, 1)],
)
def test_two_normalised_views_of_images_of_any_size(
    height: int, width: int, size: int
) -> None:
    images = make_images(5, height, width)
    views = BatchedViews(size, generator=seeded(), **EVERYTHING)(images)
    assert isinstance(views, list) and len(views) == 2
    for view in views:
        assert view.shape == (5, 3, size, size)
        assert view.dtype == torch.float32
        assert view.is_contiguous()
        assert view.isfinite().all()
        assert not view.requires_grad
    assert not torch.equal(*views)


def test_without_normalization_pixels_stay_in_unit_range() -> None:
    for settings in (EVERYTHING, AFFINE, {"cj_strength": 2.0}):
        views = BatchedViews(16, normalize=None, generator=seeded(), **settings)
        pixels = torch.cat(views(make_images(50)))
        assert pixels.min() >= 0 and pixels.max() <= 1
        assert pixels.max() > 0.9


def test_normalization_is_the_last_step() -> None:
    images = make_images()
    plain = BatchedViews(16, normalize=None, generator=seeded(), **EVERYTHING)(images)
    views = BatchedViews(
        16, normalize=CIFAR10_NORMALIZE, generator=seeded(), **EVERYTHING
    )(images)
    for x, pixels in zip(views, plain, strict=True):
        expected = F.normalize(pixels, **CIFAR10_NORMALIZE)
        torch.testing.assert_close(x, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("normalize", [DIGITS_NORMALIZE, None])
def test_grey_images(normalize: dict[str, list[float]] | None) -> None:
    images = make_images(6, channels=1)
    views = BatchedViews(16, normalize=normalize, generator=seeded(), **EVERYTHING)
    for view in views(images):
        assert view.shape == (6, 1, 16, 16)
        assert view.isfinite().all()


def test_grey_images_are_jittered_as_grey_colours_are() -> None:
    grey = make_images(20, channels=1)
    made = BatchedViews(16, normalize=None, generator=seeded(), **EVERYTHING)(grey)
    colour = BatchedViews(16, normalize=None, generator=seeded(), **EVERYTHING)(
        grey.expand(-1, 3, -1, -1)
    )
    # The weights of torchvision's grey add up to 0.9999.
    for x, y in zip(made, colour, strict=True):
        difference = (x.expand_as(y) - y).abs().flatten(1).amax(dim=1)
        # But for pixels at the threshold of the solarization.
        assert difference.median() < 1e-3


@pytest.mark.parametrize("n", [0, 1])
@pytest.mark.parametrize("affine", [{}, AFFINE])
def test_batches_of_one_and_of_no_images(n: int, affine: dict[str, float]) -> None:
    images = make_images(3)[:n]
    views = BatchedViews(16, generator=seeded(), **EVERYTHING, **affine)(images)
    assert [view.shape for view in views] == [(n, 3, 16, 16)] * 2


def test_image_of_a_batch_is_seen_by_its_own_views_alone() -> None:
    images = make_images(6)
    views = BatchedViews(16, generator=seeded(), **EVERYTHING, **AFFINE)
    drawn = views.draw(images)
    others = images.clone()
    others[2] = 255 - others[2]
    for x, y in zip(
        views.apply(images, drawn), views.apply(others, drawn), strict=True
    ):
        is_same = (x - y).abs().amax(dim=(1, 2, 3)) < 1e-5
        assert is_same.tolist() == [True, True, False, True, True, True]


@pytest.mark.parametrize(
    "remake",
    [
        lambda x: x.to(memory_format=torch.channels_last),
        lambda x: x.mT.contiguous().mT,
        lambda x: x.repeat_interleave(2, dim=3)[..., ::2],
        lambda x: x.repeat_interleave(2, dim=0)[1::2],
    ],
    ids=["channels last", "transposed", "strided columns", "strided images"],
)
def test_layout_of_the_images_does_not_matter(
    remake: Callable[[Tensor], Tensor],
) -> None:
    images = make_images(8)
    other = remake(images)
    assert torch.equal(images, other) and other.stride() != images.stride()
    expected = BatchedViews(16, generator=seeded(), **EVERYTHING, **AFFINE)(images)
    made = BatchedViews(16, generator=seeded(), **EVERYTHING, **AFFINE)(other)
    assert_close(made, expected, atol=1e-5)


def test_images_are_not_changed() -> None:
    # Of the size of the views, where a copy could have been spared.
    images = make_images(8, 16, 16)
    before = images.clone()
    BatchedViews(16, generator=seeded(), **EVERYTHING, **AFFINE)(images)
    assert torch.equal(images, before)


def test_draws_are_not_changed_when_applied() -> None:
    images = make_images(8)
    views = BatchedViews(16, generator=seeded(), **EVERYTHING, **AFFINE)
    drawn = views.draw(images)
    before = copy.deepcopy(drawn)
    first = views.apply(images, drawn)
    assert all(map(torch.equal, drawn, before))
    assert_equal(views.apply(images, drawn), first)


# Where the draws come from.


def test_seed_of_the_generator_decides_the_views() -> None:
    images = make_images()
    first = BatchedViews(16, generator=seeded(1), **EVERYTHING)(images)
    second = BatchedViews(16, generator=seeded(1), **EVERYTHING)(images)
    third = BatchedViews(16, generator=seeded(2), **EVERYTHING)(images)
    assert_equal(first, second)
    assert not torch.equal(first[0], third[0])


def test_every_call_draws_anew() -> None:
    images = make_images()
    views = BatchedViews(16, generator=seeded(1))
    assert not torch.equal(views(images)[0], views(images)[0])


def test_seed_of_torch_decides_without_a_generator() -> None:
    images = make_images()
    views = BatchedViews(16, **EVERYTHING)
    with seed_of_torch(1):
        first = views(images)
    with seed_of_torch(1):
        second = views(images)
    with seed_of_torch(2):
        third = views(images)
    assert_equal(first, second)
    assert not torch.equal(first[0], third[0])


def test_global_generators_are_left_alone_when_one_is_given() -> None:
    state = torch.get_rng_state()
    state_of_numpy = np.random.get_state()  # noqa: NPY002 - lightly's steps draw there
    BatchedViews(16, generator=seeded(), **EVERYTHING, **AFFINE)(make_images())
    assert torch.equal(torch.get_rng_state(), state)
    after = np.random.get_state()  # noqa: NPY002
    assert all(map(np.array_equal, after, state_of_numpy))


def test_two_views_of_an_image_differ() -> None:
    images = make_images(1).expand(200, -1, -1, -1)
    views = torch.cat(BatchedViews(8, generator=seeded())(images)).flatten(1)
    assert len(views.unique(dim=0)) == 400


# Where the result stays the same.


@pytest.mark.parametrize("affine", [{}, AFFINE])
@pytest.mark.parametrize("views_at_a_time", [1, 7])
def test_number_of_views_worked_on_at_a_time_does_not_matter(
    monkeypatch: pytest.MonkeyPatch, views_at_a_time: int, affine: dict[str, float]
) -> None:
    images = make_images(20)
    views = BatchedViews(16, normalize=None, generator=seeded(), **EVERYTHING, **affine)
    drawn = views.draw(images)
    expected = views.apply(images, drawn)
    assert views._pipeline.views_at_a_time(images) > 40
    per_view = view_pipeline._WORKSPACE["cpu"] // views._pipeline.views_at_a_time(
        images
    )
    budget = 1 if views_at_a_time == 1 else (views_at_a_time + 0.5) * per_view
    monkeypatch.setattr(view_pipeline, "_WORKSPACE", {"cpu": int(budget)})
    assert views._pipeline.views_at_a_time(images) == views_at_a_time
    made = views.apply(images, drawn)
    # But for single pixels: at the threshold of the solarization, and between two
    # others for the rotation, the last bit of a float decides.
    for x, y in zip(made, expected, strict=True):
        is_same = (x - y).abs() <= 1e-6
        assert is_same.float().mean() > 0.999


def test_views_do_not_depend_on_the_rest_of_the_batch() -> None:
    images = make_images(13)
    views = BatchedViews(16, normalize=None, generator=seeded())
    drawn = views.draw(images)
    alone = [
        views.apply(images[i : i + 1], type(drawn)(*(x[:, i : i + 1] for x in drawn)))
        for i in range(13)
    ]
    expected = [torch.cat(rows) for rows in zip(*alone, strict=True)]
    assert_close(views.apply(images, drawn), expected, atol=1e-6)


def test_channels_last_holds_the_same_values() -> None:
    images = make_images()
    expected = BatchedViews(16, generator=seeded(), **EVERYTHING)(images)
    made = BatchedViews(
        16, generator=seeded(), memory_format=torch.channels_last, **EVERYTHING
    )(images)
    assert_equal(made, expected)
    for view in made:
        assert view.is_contiguous(memory_format=torch.channels_last)
        assert not view.is_contiguous()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_views_of_another_precision_are_rounded_at_the_end(dtype: torch.dtype) -> None:
    images = make_images()
    expected = BatchedViews(16, generator=seeded(), **EVERYTHING)(images)
    made = BatchedViews(16, generator=seeded(), dtype=dtype, **EVERYTHING)(images)
    assert_equal(made, [view.to(dtype) for view in expected])


def test_autocast_does_not_touch_the_views() -> None:
    images = make_images()
    expected = BatchedViews(16, generator=seeded(), **EVERYTHING, **AFFINE)(images)
    views = BatchedViews(16, generator=seeded(), **EVERYTHING, **AFFINE)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        x = torch.ones(2, 2)
        assert (x @ x).dtype == torch.bfloat16  # it is on
        made = views(images)
    assert_equal(made, expected)


def test_random_numbers_alone_decide_the_views() -> None:
    images = make_images()
    expected = BatchedViews(16, generator=seeded(), **EVERYTHING, **AFFINE)(images)
    views = BatchedViews(16, generator=seeded(), **EVERYTHING, **AFFINE)
    uniforms = views.uniforms(images)
    assert uniforms.shape[:2] == (2, len(images))
    for _ in range(2):
        assert_equal(views.make(images, uniforms), expected)
    views = BatchedViews(16, generator=seeded(), **EVERYTHING, **AFFINE)
    assert_equal(views.apply(images, views.draw(images)), expected)


@pytest.mark.slow
@pytest.mark.skipif(
    shutil.which("c++") is None and shutil.which("g++") is None,
    reason="needs a C++ compiler",
)
@pytest.mark.parametrize("method", ["apply", "make"])
def test_compiled_views_are_the_same(method: str) -> None:
    images = make_images()
    views = BatchedViews(
        16, normalize=None, generator=seeded(), gaussian_blur=0.5, solarization_prob=0.5
    )
    given = views.draw(images) if method == "apply" else views.uniforms(images)
    eager = getattr(views, method)
    compiled = torch.compile(eager, fullgraph=True)
    for x, y in zip(compiled(images, given), eager(images, given), strict=True):
        is_same = (x - y).abs() <= 1e-5
        # But for single pixels at the threshold of the solarization.
        assert is_same.float().mean() > 0.999


class NoWaiting(TorchDispatchMode):
    """Fails where the host would wait for a value on the device."""

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        if func is torch.ops.aten._local_scalar_dense.default:
            raise AssertionError("a value of a tensor was asked for")
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("ndim", [4, 5])
def test_no_value_of_a_tensor_is_asked_for(ndim: int) -> None:
    images = make_images(8)
    if ndim == 5:
        images = torch.stack([images, images], dim=1)
    views = BatchedViews(16, generator=seeded(), **EVERYTHING, **AFFINE)
    with NoWaiting():
        views(images)
        with pytest.raises(AssertionError, match="a value of a tensor"):
            torch.ones(1).item()


# Against torchvision, one image at a time.


def affine_of_pillow(x: Tensor, drawn: dict[str, Any]) -> Tensor:
    """On floats: torchvision itself mixes the border of those with black."""
    size = x.shape[-1]
    settings = {
        "angle": drawn["angle"],
        "translate": [int(drawn["translate_x"]), int(drawn["translate_y"])],
        "scale": 1.0,
        "shear": [drawn["shear"], 0.0],
    }
    padded = F.pad(x, [size] * 4, padding_mode="edge")
    mapped = F.affine(padded, **settings, interpolation=InterpolationMode.BILINEAR)
    is_inside = F.affine(torch.ones_like(x), **settings)
    return F.center_crop(mapped, [size, size]) * is_inside


def reference(image: Tensor, drawn: dict[str, Any], size: int) -> Tensor:
    """The steps of torchvision with given draws, on floats."""
    place = [int(drawn[name]) for name in ("top", "left", "height", "width")]
    x = F.resized_crop(image.float() / 255, *place, [size, size], antialias=True)
    if any(drawn[name] for name in ("angle", "translate_x", "translate_y", "shear")):
        x = affine_of_pillow(x, drawn)
    x = F.hflip(x) if drawn["horizontal_flip"] else x
    x = F.vflip(x) if drawn["vertical_flip"] else x
    x = F.rotate(x, drawn["rotation"])
    operations = (
        F.adjust_brightness,
        F.adjust_contrast,
        F.adjust_saturation,
        F.adjust_hue,
    )
    for op in drawn["order"]:
        x = operations[op](x, drawn["factors"][op])
    x = F.rgb_to_grayscale(x, 3) if drawn["gray"] else x
    if drawn["sigma"] > 0:
        x = F.gaussian_blur(x, [17, 17], [drawn["sigma"]] * 2)
    return torch.where(x >= drawn["solarize_from"], 1 - x, x)


@pytest.mark.parametrize("affine", [{}, AFFINE], ids=["no affine", "affine"])
def test_all_steps_together_are_those_of_torchvision(affine: dict[str, float]) -> None:
    images = make_images(40)
    views = BatchedViews(16, normalize=None, generator=seeded(), **EVERYTHING, **affine)
    drawn = views.draw(images)
    made = views.apply(images, drawn)
    for number, view in enumerate(made):
        for i, image in enumerate(images):
            row = {k: x[number, i].tolist() for k, x in drawn._asdict().items()}
            difference = (view[i] - reference(image, row, 16)).abs()
            # A pixel at the threshold of the solarization may go either way.
            assert (difference < 1e-4).float().mean() > 0.99


def smooth_images(num: int) -> Tensor:
    generator = seeded(5)
    coarse = torch.rand(num, 3, 3, 3, generator=generator)
    # Some dark, some bright, so that the statistics of the views spread.
    coarse = coarse * torch.rand(num, 1, 1, 1, generator=generator).add(0.2).clamp(
        max=1
    )
    images = torch.nn.functional.interpolate(coarse, (40, 32), mode="bilinear")
    return (images * 255).round().byte()


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"cj_strength": 2.0, "gaussian_blur": 0.5, "rr_prob": 0.5, "rr_degrees": 20.0},
        {"solarization_prob": 0.5, "cj_hue": 0.0, **AFFINE},
    ],
    ids=["defaults", "strong", "affine"],
)
def test_views_are_distributed_like_those_of_single_images(
    settings: dict[str, float],
) -> None:
    images = smooth_images(300)
    transform = HaDisTransform(24, normalize=CIFAR10_NORMALIZE, **settings)
    with seed_of_torch(0):
        np.random.seed(0)  # noqa: NPY002 - lightly's steps draw there
        singles = [
            view
            for image in images
            for view in transform(Image.fromarray(image.permute(1, 2, 0).numpy()))
        ]
    batched = BatchedViews(
        24, normalize=CIFAR10_NORMALIZE, generator=seeded(1), **settings
    )
    ours, theirs = torch.cat(batched(images)), torch.stack(singles)
    assert ours.shape == theirs.shape
    for statistic in (
        lambda x: x.mean(dim=(1, 2, 3)),
        lambda x: x.std(dim=(1, 2, 3)),
        lambda x: x.mean(dim=(2, 3)).std(dim=1),  # colours
        lambda x: x.diff(dim=3).abs().mean(dim=(1, 2, 3)),  # details
    ):
        assert stats.ks_2samp(statistic(ours), statistic(theirs)).pvalue > 1e-3


# Made of other transforms.


def test_signature_begins_with_that_of_the_single_transform() -> None:
    of_singles = list(inspect.signature(HaDisTransform).parameters.values())
    ours = list(inspect.signature(BatchedViews).parameters.values())
    assert ours[: len(of_singles)] == of_singles
    others = {
        parameter.name: parameter.default for parameter in ours[len(of_singles) :]
    }
    assert others == {
        "generator": None,
        "dtype": torch.float32,
        "memory_format": torch.contiguous_format,
    }


def test_every_setting_reaches_the_views() -> None:
    settings = {
        "input_size": 8,
        "normalize": CIFAR10_NORMALIZE,
        "cj_prob": 0.1,
        "cj_bright": 0.11,
        "cj_contrast": 0.12,
        "cj_sat": 0.13,
        "cj_hue": 0.14,
        "min_scale": 0.15,
        "random_gray_scale": 0.16,
        "hf_prob": 0.17,
        "cj_strength": 0.18,
        "vf_prob": 0.19,
        "rr_prob": 0.21,
        "rr_degrees": 22.0,
        "gaussian_blur": 0.23,
        "sigmas": (0.24, 0.25),
        "solarization_prob": 0.26,
        "affine_degrees": 27.0,
        "affine_translate": 0.28,
        "affine_shear": 29.0,
    }
    assert set(settings) == set(inspect.signature(HaDisTransform).parameters)
    expected = BatchedViews.from_transform(HaDisTransform(**settings))
    assert BatchedViews(**settings).views == expected.views
    for name in settings:  # and each of them makes a difference
        others = {key: value for key, value in settings.items() if key != name}
        assert BatchedViews(**others).views != expected.views


@pytest.mark.parametrize("settings", [{}, EVERYTHING | AFFINE])
def test_made_of_our_transform_it_is_the_same(settings: dict[str, float]) -> None:
    images = make_images()
    expected = BatchedViews(16, generator=seeded(), **settings)(images)
    made = BatchedViews.from_transform(HaDisTransform(16, **settings), seeded())
    assert_equal(made(images), expected)


def test_views_of_byol_have_each_its_own_law() -> None:
    transform = BYOLTransform(
        BYOLView1Transform(input_size=16), BYOLView2Transform(input_size=16)
    )
    views = BatchedViews.from_transform(transform, generator=seeded())
    assert views.input_size == 16
    images = make_images(1).expand(2000, -1, -1, -1)
    drawn = views.draw(images)
    assert (drawn.sigma[0] > 0).all()
    assert (drawn.sigma[1] > 0).float().mean() == pytest.approx(0.1, abs=0.03)
    assert not (drawn.solarize_from[0] <= 1).any()
    is_solarized = (drawn.solarize_from[1] <= 1).float().mean()
    assert is_solarized == pytest.approx(0.2, abs=0.04)
    x0, x1 = views(make_images())
    assert x0.shape == x1.shape == (12, 3, 16, 16)


def test_views_of_byol_change_places_with_their_transforms() -> None:
    images = make_images(40)
    one = BYOLView1Transform(input_size=16, normalize=None)
    # Neither colour nor blur, so that it can be told from the other by its look.
    two = v2.Compose([v2.RandomResizedCrop(16, scale=(1, 1)), v2.RandomGrayscale(1)])
    colours = []
    for transforms in ([one, two], [two, one]):
        transform = BYOLTransform(*transforms)
        views = BatchedViews.from_transform(transform, seeded())(images)
        colours.append([float(view.std(dim=1).mean()) for view in views])
    (a, b), (c, d) = colours
    assert b < 1e-6 < a and c < 1e-6 < d


def test_of_many_views_each_is_its_own() -> None:
    images = make_images(6)
    transform = SimCLRTransform(input_size=16)
    transform.transforms = transform.transforms[:1] * 5
    views = BatchedViews.from_transform(transform, generator=seeded())(images)
    assert len(views) == 5
    assert len(torch.cat(views).flatten(1).unique(dim=0)) == 30


# Crops that workers made.


def test_crops_are_not_cropped_again() -> None:
    crops = torch.stack([make_images(5, 16, 16), make_images(5, 16, 16, seed=1)], dim=1)
    nothing = {"cj_prob": 0.0, "random_gray_scale": 0.0, "hf_prob": 0.0}
    views = BatchedViews(16, normalize=None, generator=seeded(), **nothing)(crops)
    for number, view in enumerate(views):
        torch.testing.assert_close(
            view, crops[:, number].float() / 255, atol=1e-6, rtol=0
        )


@pytest.mark.parametrize("size", [(20, 20), (9, 12)])
def test_crops_of_another_size_are_resized(size: tuple[int, int]) -> None:
    crops = torch.stack([make_images(5, *size), make_images(5, *size, seed=1)], dim=1)
    nothing = {"cj_prob": 0.0, "random_gray_scale": 0.0, "hf_prob": 0.0}
    views = BatchedViews(16, normalize=None, generator=seeded(), **nothing)(crops)
    for number, view in enumerate(views):
        expected = F.resize(crops[:, number].float() / 255, [16, 16], antialias=True)
        torch.testing.assert_close(view, expected, atol=1e-5, rtol=0)


def test_crops_get_all_other_steps() -> None:
    # As if the crops were whole images of one view each.
    crops = torch.stack([make_images(8, 16, 16), make_images(8, 16, 16, seed=1)], dim=1)
    views = BatchedViews(16, generator=seeded(), **EVERYTHING, **AFFINE)
    drawn = views.draw(crops)
    made = views.apply(crops, drawn)
    for number in range(2):
        alone = views.apply(crops[:, number], drawn)[number]
        torch.testing.assert_close(made[number], alone, atol=1e-5, rtol=0)
    assert (drawn.sigma > 0).any() and drawn.horizontal_flip.any()


def test_crops_of_our_transform_fit() -> None:
    crop = HaDisCropTransform(input_size=16)
    images = make_images(4)
    with seed_of_torch(0):
        crops = torch.stack([crop(F.to_pil_image(image)) for image in images])
    assert crops.shape == (4, 2, 3, 16, 16)
    views = BatchedViews(16, generator=seeded())(crops)
    assert [view.shape for view in views] == [(4, 3, 16, 16)] * 2


# Copies.


@pytest.mark.parametrize(
    "copied", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))]
)
def test_copies_make_the_same_views(copied: Callable[[Any], Any]) -> None:
    images = make_images()
    views = BatchedViews(
        16, dtype=torch.float64, memory_format=torch.channels_last, **EVERYTHING
    )
    with seed_of_torch(0):
        expected = views(images)
    with seed_of_torch(0):
        made = copied(views)(images)
    assert_equal(made, expected)
    assert made[0].is_contiguous(memory_format=torch.channels_last)


# Errors.


@pytest.mark.parametrize("dtype", [torch.float32, torch.int64, torch.bool])
def test_images_must_be_bytes(dtype: torch.dtype) -> None:
    images = torch.zeros(2, 3, 8, 8, dtype=dtype)
    with pytest.raises(TypeError, match=rf"^images must be uint8 .* got {dtype}$"):
        BatchedViews(8)(images)


@pytest.mark.parametrize(
    "shape",
    [
        (),
        (8,),
        (8, 8),
        (3, 8, 8),
        (2, 2, 8, 8),
        (2, 4, 8, 8),
        (2, 8, 8, 3),
        (2, 3, 3, 8, 8),  # three crops for two views
        (2, 2, 2, 3, 8, 8),
    ],
)
def test_images_must_have_four_dimensions_or_five(shape: tuple[int, ...]) -> None:
    images = torch.zeros(shape, dtype=torch.uint8)
    with pytest.raises(ValueError, match=r"^images must have shape ") as caught:
        BatchedViews(8)(images)
    assert str(caught.value).endswith(f"got {shape}")


@pytest.mark.parametrize("shape", [(2, 3, 0, 8), (2, 3, 8, 0), (0, 3, 0, 0)])
def test_images_must_have_pixels(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"^images must have pixels, got shape"):
        BatchedViews(8)(torch.zeros(shape, dtype=torch.uint8))


@pytest.mark.parametrize("call", ["__call__", "draw", "apply"])
def test_images_are_checked_wherever_they_come_in(call: str) -> None:
    views = BatchedViews(8)
    images = make_images(2)
    more = (views.draw(images),) if call == "apply" else ()
    with pytest.raises(TypeError, match="uint8"):
        getattr(views, call)(images.float(), *more)
    with pytest.raises(ValueError, match="shape"):
        getattr(views, call)(images[0], *more)


@pytest.mark.parametrize(
    ("normalize", "channels"), [(CIFAR10_NORMALIZE, 1), (DIGITS_NORMALIZE, 3)]
)
def test_channels_must_be_those_of_normalize(
    normalize: dict[str, list[float]], channels: int
) -> None:
    words = rf"normalize has {4 - channels} channel\(s\) but the images have {channels}"
    with pytest.raises(ValueError, match=words):
        BatchedViews(8, normalize=normalize)(make_images(2, channels=channels))


@pytest.mark.parametrize(
    ("settings", "name"),
    [({"input_size": 24}, "size"), ({"normalize": CIFAR10_NORMALIZE}, "mean")],
)
def test_views_must_have_one_size_and_normalization(
    settings: dict[str, Any], name: str
) -> None:
    transform = BYOLTransform(
        BYOLView1Transform(input_size=16),
        BYOLView2Transform(**({"input_size": 16} | settings)),
    )
    with pytest.raises(ValueError, match=f"^all views must have one {name}, got "):
        BatchedViews.from_transform(transform)


def test_multi_crops_are_not_of_one_size() -> None:
    with pytest.raises(ValueError, match=r"^all views must have one size, got "):
        BatchedViews.from_transform(SMoGTransform())


@pytest.mark.parametrize("transform", [None, 3, BYOLView1Transform(), [1, 2]])
def test_only_multi_view_transforms_are_taken(transform: Any) -> None:
    words = rf"^transform must be a multi-view .*, got {type(transform).__name__}$"
    with pytest.raises(ValueError, match=words):
        BatchedViews.from_transform(transform)


@pytest.mark.parametrize("compose", [v1.Compose, v2.Compose])
def test_compose_is_no_multi_view_transform(compose: Any) -> None:
    # Its steps are not views, though it calls them ``transforms`` too.
    with pytest.raises(ValueError, match=r"^transform must be a multi-view "):
        BatchedViews.from_transform(compose([v2.RandomResizedCrop(8)]))


@pytest.mark.parametrize(
    "settings",
    [
        {"input_size": 0},
        {"input_size": 32.0},
        {"cj_prob": 1.1},
        {"cj_prob": float("nan")},
        {"cj_bright": -0.1},
        {"cj_sat": "strong"},
        {"cj_strength": 6.0},
        {"min_scale": 0.0},
        {"hf_prob": True},
        {"sigmas": (2.0, 0.1)},
        {"solarization_prob": None},
        {"affine_shear": 90},
        {"normalize": {"mean": [0.5], "std": [0.0]}},
        {"normalize": {"mean": [0.5, 0.5], "std": [1.0, 1.0]}},
    ],
)
def test_bad_settings_are_named_as_by_the_single_transform(
    settings: dict[str, Any],
) -> None:
    with pytest.raises(ValueError) as expected:
        HaDisTransform(**settings)
    with pytest.raises(ValueError) as caught:
        BatchedViews(**settings)
    assert str(caught.value) == str(expected.value)


def test_dtype_of_the_views_must_be_floating_point() -> None:
    words = r"^dtype must be floating point, got torch.uint8$"
    with pytest.raises(ValueError, match=words):
        BatchedViews(8, dtype=torch.uint8)
    with pytest.raises(ValueError, match=words):
        BatchedViews.from_transform(HaDisTransform(8), dtype=torch.uint8)


def test_draws_for_other_images_are_refused() -> None:
    images = torch.zeros(4, 3, 8, 8, dtype=torch.uint8)
    views = BatchedViews(8)
    for n in (2, 8):
        drawn = views.draw(images.repeat(2, 1, 1, 1)[:n])
        with pytest.raises(ValueError, match=rf"2 views of 4 images, got \(2, {n}\)"):
            views.apply(images, drawn)


def test_the_default_dtype_plays_no_part() -> None:
    images = torch.randint(256, (4, 3, 8, 8), dtype=torch.uint8)
    views = BatchedViews(8, generator=torch.Generator().manual_seed(0))
    expected = views(images)
    views = BatchedViews(8, generator=torch.Generator().manual_seed(0))
    torch.set_default_dtype(torch.float64)
    try:
        made = views(images)
    finally:
        torch.set_default_dtype(torch.float32)
    for ours, theirs in zip(made, expected, strict=True):
        assert torch.equal(ours, theirs)


def test_products_of_lower_precision_play_no_part() -> None:
    images = torch.randint(256, (4, 3, 24, 24), dtype=torch.uint8)
    views = BatchedViews(16, gaussian_blur=1.0)
    drawn = views.draw(images)
    expected = views.apply(images, drawn)
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        made = views.apply(images, drawn)
    finally:
        torch.set_float32_matmul_precision(before)
    for ours, theirs in zip(made, expected, strict=True):
        assert torch.equal(ours, theirs)
